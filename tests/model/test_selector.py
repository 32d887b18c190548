"""The selector language: what it selects, what it refuses, and that no text can hurt it."""

import time
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalwright.model.noderange import RANGE_NODES_MAX
from metalwright.model.selector import (
    SELECTOR_DEPTH_MAX,
    SELECTOR_LENGTH_MAX,
    SelectorError,
    parse_selector,
)

NODE = {
    "name": "r640-07",
    "driver": "ipmi",
    "lifecycle": "managed",
    "pool": "ci",
    "model": "PowerEdge R640",
    "rack": "a01",
    "unit": "7",
    "cpus": 64,
    "gpus": 0,
}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("*", True),
        ("not *", False),
        ("rack = a01", True),
        ("rack=a01", True),
        ("rack = a02", False),
        ("rack != a02", True),
        ("rack != a01", False),
        ("model = 'PowerEdge R640'", True),
        ('model = "PowerEdge R640"', True),
        ("model = PowerEdge", False),
        ("rack in (a01, a02)", True),
        ("rack in (a02,a03)", False),
        ("rack in (a[01-03])", True),
        ("rack in (b[01-03], a01)", True),
        ("rack not in (a01, a02)", False),
        ("rack not in (a02)", True),
        ("r640-07", True),
        ("r640-08", False),
        ("r640-[01-48]", True),
        ("r640-[01-06,08-48]", False),
        ("not r640-[01-06]", True),
        ("cpus = 64", True),
        ("cpus >= 64", True),
        ("cpus > 64", False),
        ("cpus < 100", True),
        ("cpus <= 9", False),
        ("gpus > -1", True),
        ("unit > 6", True),  # a label that is a number compares as one, not as text
        ("unit < 10", True),
        ("rack > 0", False),  # a text compares with no number
        ("not rack > 0", True),
        # A key that the node lacks: every comparison is false but `!=` and `not in`.
        ("hall = north", False),
        ("hall != north", True),
        ("hall in (north)", False),
        ("hall not in (north)", True),
        ("hall > 1", False),
        ("hall < 1", False),
        # `and` binds tighter than `or`, `not` tighter than both.
        ("* or * and not *", True),
        ("(* or *) and not *", False),
        ("not * and * or *", True),
        ("not (* or *)", False),
        ("not * or *", True),
        ("not not *", True),
        ("rack = a01 and not r640-[01-04] and cpus >= 32", True),
        ("rack = 'and'", False),
    ],
)
def test_selects(text: str, selected: bool) -> None:
    assert parse_selector(text).matches(NODE["name"], NODE) is selected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "column 1"),
        ("   ", "the end"),
        ("and", "not 'and'"),
        ("rack =", "a value should be here, not the end"),
        ("rack = and", "a value"),
        ("rack = a[01-02]", "a value"),
        ("rack == a01", "column 7"),
        ("rack in a01", "'('"),
        ("rack in ()", "a value"),
        ("rack in (a01", "')'"),
        ("rack in (a01,)", "a value"),
        ("rack not (a01)", "'in'"),
        ("(rack = a01", "')'"),
        ("rack = a01)", "'and', 'or' or the end"),
        ("a01 a02", "column 5"),
        ("rack = a01 and", "the end"),
        ("* *", "not '*'"),
        ("cpus > many", "a whole number after '>'"),
        ("cpus > '1_000'", "a whole number"),
        ("cpus > \u0663", "unexpected"),
        ("cpus > '\u0663'", "a whole number"),
        ("model = 'open", 'unexpected "\'"'),
        ("rack = a01 & gpus > 1", "unexpected '&'"),
        ("r640-[01-04] = a01", "after the node range"),
        ("r640-[04-01]", "runs backwards"),
        ("x[1-99999999]", f"a range may have {RANGE_NODES_MAX}"),
        ("x[1-60000] or y[1-60000]", f"may name {RANGE_NODES_MAX} nodes in all"),
        ("R640-07", "not a node name"),
        ("*" * (SELECTOR_LENGTH_MAX + 1), "4096 characters"),
        ("not " * (SELECTOR_DEPTH_MAX + 1) + "*", "levels deep"),
        ("(" * 2_000 + "*" + ")" * 2_000, "levels deep"),
    ],
)
def test_refuses_and_says_where(text: str, told: str) -> None:
    with pytest.raises(SelectorError) as caught:
        parse_selector(text)
    assert told in str(caught.value)


@pytest.mark.parametrize("word", [" or ", " and "])
def test_a_selector_of_a_thousand_terms_is_evaluated_without_a_deep_stack(word: str) -> None:
    terms = word.join(["*"] * 680)
    assert len(terms) <= SELECTOR_LENGTH_MAX
    assert parse_selector(terms).matches("n1", {})
    assert parse_selector("*or" * 1_365 + "*").matches("n1", {})


def test_a_label_may_not_pose_as_the_nodes_own_word() -> None:
    """What a key means is decided where the attributes are made; here the key is just looked up."""
    assert parse_selector("name = r640-07").matches("other", NODE)
    assert not parse_selector("other").matches("r640-07", {"name": "other"})


TEXT = st.one_of(
    st.text(max_size=200),
    st.text(alphabet="ab01 ()[],=<>!*'\"-/", max_size=200),
    st.lists(
        st.sampled_from(
            [
                *("rack", "=", "a01", "and", "or", "not", "in", "(", ")", ",", "*", "!=", ">="),
                *("<", "5", "'x y'", "r640-[01-04]", "x[1-9/2]", "[", "]"),
            ]
        ),
        max_size=40,
    ).map(" ".join),
)


@given(TEXT)
def test_no_text_does_anything_but_parse_or_be_refused(text: str) -> None:
    try:
        selector = parse_selector(text)
    except SelectorError:
        return
    assert selector.matches("n1", NODE) in (True, False)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a", "1", ",", "[", "]", "1,", "[1", "1]", " ", "-", "'", "(", "not "]),
        min_size=1,
        max_size=4,
    )
)
def test_the_longest_text_is_answered_at_once(parts: list[str]) -> None:
    pattern = "".join(parts)
    text = (pattern * (SELECTOR_LENGTH_MAX // len(pattern) + 1))[:SELECTOR_LENGTH_MAX]
    begin = time.process_time()
    with suppress(SelectorError):
        parse_selector(text).matches("n1", NODE)
    assert time.process_time() - begin < 1.0


def _expressions() -> st.SearchStrategy[tuple[str, bool]]:
    """A selector and, independently of the parser, whether it selects `NODE`."""
    leaf = st.sampled_from([("*", True), ("rack = a01", True), ("rack = a02", False)])
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            inner.map(lambda one: (f"not ({one[0]})", not one[1])),
            st.tuples(inner, inner).map(
                lambda two: (f"({two[0][0]}) and ({two[1][0]})", two[0][1] and two[1][1])
            ),
            st.tuples(inner, inner).map(
                lambda two: (f"({two[0][0]}) or ({two[1][0]})", two[0][1] or two[1][1])
            ),
        ),
        max_leaves=12,
    )


@given(_expressions())
def test_set_algebra_is_that_of_boolean_logic(case: tuple[str, bool]) -> None:
    text, selected = case
    assert parse_selector(text).matches(NODE["name"], NODE) is selected
