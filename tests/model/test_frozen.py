"""A frozen mapping: everything a `dict` answers, nothing that changes it."""

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from metalwright.model.frozen import FrozenDict


@pytest.mark.parametrize(
    "change",
    [
        lambda frozen: frozen.__setitem__("a", 2),
        lambda frozen: frozen.__delitem__("a"),
        lambda frozen: frozen.clear(),
        lambda frozen: frozen.pop("a"),
        lambda frozen: frozen.popitem(),
        lambda frozen: frozen.setdefault("b", 1),
        lambda frozen: frozen.update({"a": 2}),
        lambda frozen: frozen.__ior__({"a": 2}),
    ],
)
def test_every_way_to_change_it_is_closed(change: Callable[[FrozenDict[str, int]], Any]) -> None:
    frozen = FrozenDict({"a": 1})
    with pytest.raises(TypeError, match="frozen"):
        change(frozen)
    assert frozen == {"a": 1}


def test_it_keeps_nothing_of_what_it_was_made_from() -> None:
    source = {"a": 1}
    frozen = FrozenDict(source)
    source["a"] = 2
    assert frozen["a"] == 1


def test_equal_mappings_hash_equal_in_any_order() -> None:
    assert hash(FrozenDict(a=1, b=2)) == hash(FrozenDict(b=2, a=1))
    assert len({FrozenDict(a=1), FrozenDict(a=1), FrozenDict(a=2)}) == 2


@pytest.mark.parametrize(
    "remake", [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))]
)
def test_a_copy_is_frozen_too(remake: Callable[[Any], Any]) -> None:
    again = remake(FrozenDict(a=(1, 2)))
    assert again == {"a": (1, 2)}
    assert isinstance(again, FrozenDict)


def test_a_change_is_a_new_value() -> None:
    frozen = FrozenDict(a=1)
    assert frozen | {"b": 2} == {"a": 1, "b": 2}
    assert frozen == {"a": 1}
    assert json.dumps(frozen) == '{"a": 1}'
