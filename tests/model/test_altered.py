"""A value with other fields is what `dataclasses.replace` makes of it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, replace
from datetime import UTC, datetime

import pytest

from metalwright.model.altered import altered
from metalwright.model.identity import IdentityCheck, Match
from metalwright.model.observed import ErrorKind, Observation, ObservationError


def test_it_is_what_replace_makes() -> None:
    at = datetime(2026, 11, 20, tzinfo=UTC)
    error = ObservationError(kind=ErrorKind.TIMEOUT, message="no answer")
    first = Observation(node="n1", at=at, error=error)
    other = altered(first, node="n2", failures=3)
    assert other == replace(first, node="n2", failures=3)
    assert hash(other) == hash(replace(first, node="n2", failures=3))
    assert first == Observation(node="n1", at=at, error=error)
    assert altered(first) == first
    assert altered(first) is not first
    assert other.error is error


def test_what_comes_of_it_is_frozen_too() -> None:
    check = altered(IdentityCheck(match=Match.SAME), message="of course")
    with pytest.raises(FrozenInstanceError):
        check.message = "perhaps"  # type: ignore[misc]


def test_a_field_that_there_is_not_is_refused() -> None:
    with pytest.raises(TypeError, match="no field 'colour'"):
        altered(IdentityCheck(match=Match.SAME), colour="red")  # type: ignore[call-arg]


def test_a_value_that_checks_itself_is_refused() -> None:
    with pytest.raises(TypeError, match="by its constructor"):
        altered(_Checked(count=1), count=-1)


@dataclass(frozen=True, slots=True)
class _Checked:
    count: int

    def __post_init__(self) -> None:
        assert self.count > 0
