"""The mutation table is whole and up to date, and a sample of it is tried each time.

All of it is tried by `make mutate`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from mutants import MUTANTS, SEEDS, Mutant
from run import BEGIN, DOCUMENT, END, ROOT, SOURCE, applied, try_one

MUTANTS_MIN = 40
SAMPLE_EVERY = 11


def test_there_are_enough_and_each_is_named_once() -> None:
    names = [mutant.bug for mutant in MUTANTS]
    assert len(set(names)) == len(names) >= MUTANTS_MIN


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.bug)
def test_each_still_fits_the_code_and_has_tests(mutant: Mutant) -> None:
    text = (SOURCE / mutant.file).read_text(encoding="utf-8")
    changed = applied(mutant, text)
    assert changed != text
    compile(changed, mutant.file, "exec")
    for selection in mutant.caught_by.split():
        assert (ROOT / selection.partition("::")[0]).exists()


def test_the_manual_lists_exactly_these() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    rows = text[text.index(BEGIN) : text.index(END)].splitlines()[3:]
    listed = [tuple(cell.strip() for cell in row.split("|")[1:5]) for row in rows]
    assert [row[:2] for row in listed] == [(each.bug, f"`{each.file}`") for each in MUTANTS]
    assert all(re.fullmatch(r"`test_\w+\.py`.*", row[2]) for row in listed)
    assert {row[0]: int(row[3]) for row in listed if row[3]} == SEEDS


@pytest.mark.parametrize("mutant", MUTANTS[::SAMPLE_EVERY], ids=lambda mutant: mutant.bug)
def test_a_sample_is_caught(mutant: Mutant, tmp_path: Path) -> None:
    found = try_one(mutant, tmp_path)
    assert found.caught_by, found.said


def test_a_change_that_is_none_survives(tmp_path: Path) -> None:
    """The machinery itself: what changes nothing must not be called caught."""
    harmless = Mutant(
        bug="none",
        file="model/digest.py",
        before="from __future__ import annotations",
        after="from __future__ import annotations  # the same",
        caught_by="tests/model/test_digest.py",
    )
    assert try_one(harmless, tmp_path).caught_by == ""
