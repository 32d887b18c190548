"""Node ranges: unfold and fold are each other's inverse, and no range is a bomb."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metalwright.model.noderange import RANGE_NODES_MAX, NodeRangeError, fold, unfold

NAME = st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?", fullmatch=True)
NUMBERED = st.builds(
    lambda stem, number, width: stem + str(number).zfill(width),
    st.sampled_from(["r640-", "rack1-u", "", "x."]),
    st.integers(0, 3_000),
    st.integers(1, 4),
)


def unfold_all(text: str) -> set[str]:
    """The names of a comma-separated list of ranges."""
    return {name for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text) for name in unfold(part)}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("r640-07", ("r640-07",)),
        ("r640-[07]", ("r640-07",)),
        ("n[1-3]", ("n1", "n2", "n3")),
        ("n[08-11]", ("n08", "n09", "n10", "n11")),
        ("n[1,3-4]", ("n1", "n3", "n4")),
        ("n[1-9/4]", ("n1", "n5", "n9")),
        ("n[2,2,2]", ("n2",)),
        ("[1-2]", ("1", "2")),
        ("a[1-2]-u[1-2]", ("a1-u1", "a1-u2", "a2-u1", "a2-u2")),
        ("n[1-2].example.net", ("n1.example.net", "n2.example.net")),
    ],
)
def test_unfolds(text: str, names: tuple[str, ...]) -> None:
    assert unfold(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "",
        "n 1",
        "n1\n",
        "N1",
        "n1,n2",
        "n[1-3",
        "n1-3]",
        "n[]",
        "n[,]",
        "n[1,]",
        "n[a-c]",
        "n[3-1]",
        "n[1-3/0]",
        "n[1--3]",
        "n[1][2]",
        "n[01-100]",  # which width? say n[01-99] and n100
        "@group",
        "n*",
        "!n1",
        "n[1-2][1-2][1-2][1-2]",
        "n[" + "1," * 600 + "1]",
        "n[1-9999999999999999999]",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(NodeRangeError):
        unfold(text)


@pytest.mark.parametrize(
    "text",
    [
        "x[1-99999999]",
        "x[1-999999999999999999]",
        "x[0-999999999999999999/2]",
        "x[1-5000]y[1-5000]",
        "x[1-999]y[1-999]z[1-999]",
        f"x[0-{RANGE_NODES_MAX}]",
    ],
)
def test_a_bomb_is_sized_and_not_unfolded(text: str) -> None:
    begin = time.process_time()
    with pytest.raises(NodeRangeError, match=f"may have {RANGE_NODES_MAX}"):
        unfold(text)
    assert time.process_time() - begin < 0.1


def test_the_largest_range_is_allowed() -> None:
    assert len(unfold(f"x[1-{RANGE_NODES_MAX}]")) == RANGE_NODES_MAX


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["spare-1"], "spare-1"),
        (["gateway"], "gateway"),
        (["n1", "n2", "n3"], "n[1-3]"),
        (["n3", "n1", "n1"], "n[1,3]"),
        (["r640-09", "r640-10", "r640-11"], "r640-[09-11]"),
        (["n9", "n10"], "n10,n9"),  # widths differ, so they are not one range
        (["spare-1", "r640-01", "r640-02"], "r640-[01-02],spare-1"),
    ],
)
def test_folds(names: list[str], text: str) -> None:
    assert fold(names) == text


@given(NAME)
def test_a_name_is_a_range_of_itself(name: str) -> None:
    assert unfold(name) == (name,)


@given(st.sets(st.one_of(NAME, NUMBERED), max_size=60))
def test_folding_loses_and_adds_nothing(names: set[str]) -> None:
    assert unfold_all(fold(names)) == names


@given(st.text(alphabet="ab019-,/[]. \n@!", max_size=60))
def test_no_text_does_anything_but_unfold_or_be_refused(text: str) -> None:
    try:
        names = unfold(text)
    except NodeRangeError:
        return
    assert 1 <= len(names) <= RANGE_NODES_MAX
    assert len(set(names)) == len(names)
