"""What `mw demo` changes in the example is there to be changed."""

from __future__ import annotations

import pytest

from metalwright.cli.demo import EDIT, SHORTER, example_inventory


@pytest.mark.parametrize(
    ("name", "before", "after"), [*SHORTER, ("templates/rhel-like.yaml", *EDIT)]
)
def test_the_lines_that_the_demonstration_edits_are_in_the_example(
    name: str, before: str, after: str
) -> None:
    text = (example_inventory() / name).read_text(encoding="utf-8")
    assert text.count(before) == 1
    assert before != after
