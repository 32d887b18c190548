"""Lines about requests: floods are counted, and cost nobody else his line."""

from __future__ import annotations

from pathlib import Path

import pytest

from metalwright.boot.limits import HOUR_S, STRANGERS_FACTOR, Notes
from metalwright.model.boots import Noted

from .boot_world import FACTS, world

MOST = 20


class Journal:
    """What was written, and a clock."""

    def __init__(self) -> None:
        self.lines: list[Noted] = []
        self.now = 0.0
        self.notes = Notes(self.lines.extend, MOST, lambda: self.now)

    def refuse(self, source: int, node: str = "") -> None:
        line = Noted(node=node, event="refused", detail="unknown")
        self.notes.note(f"refused {source}", line)

    def hour(self) -> list[Noted]:
        self.lines.clear()
        self.now += HOUR_S
        self.notes.tick()
        return self.lines


@pytest.fixture
def journal() -> Journal:
    return Journal()


def test_every_node_of_a_rollout_has_its_reports(journal: Journal) -> None:
    assert all(journal.notes.reports(f"n{number}", "running") for number in range(300))
    assert journal.hour() == [], "nothing was refused, and nothing is counted"


def test_no_flood_costs_a_machine_its_line(journal: Journal) -> None:
    for number in range(1_000):
        journal.refuse(number)
    assert len(journal.lines) == MOST * STRANGERS_FACTOR
    assert journal.notes.reports("n1", "failed")
    journal.refuse(1, node="n1")
    assert journal.lines[-1].node == "n1"
    assert [(each.event, each.detail) for each in journal.hour()] == [
        (
            "refused",
            f"{1_000 - MOST * STRANGERS_FACTOR} more in the last hour, not written one by one",
        )
    ]


def test_a_machine_that_repeats_itself_is_counted_and_its_failure_is_written(
    journal: Journal,
) -> None:
    assert sum(journal.notes.reports("n1", "running") for _ in range(MOST + 5)) == MOST
    assert journal.notes.reports("n1", "failed")
    assert journal.notes.reports("n2", "running")
    (counted,) = journal.hour()
    assert (counted.node, counted.event) == ("n1", "reported")
    assert counted.detail == "running: 5 more in the last hour, not written one by one"
    assert journal.notes.reports("n1", "running"), "another hour"
    assert journal.hour() == []


def test_what_was_served_is_not_told_as_refused(journal: Journal) -> None:
    for number in range(MOST * STRANGERS_FACTOR + 7):
        journal.notes.note(f"served n{number}", Noted(node=f"n{number}", event="served", detail=""))
    assert [each.event for each in journal.hour()] == ["served"]


def test_one_source_is_counted_for_itself(journal: Journal) -> None:
    for _ in range(MOST + 3):
        journal.refuse(1)
    journal.refuse(2)
    assert len(journal.lines) == MOST + 1
    assert [each.detail[:2] for each in journal.hour()] == ["3 "]


def test_a_report_is_written_beside_a_flood(tmp_path: Path) -> None:
    with world(tmp_path, refusals_per_hour_max=1, unknown_per_s_max=1_000.0) as lab:
        lab.adopt()
        lab.operate(lab.template())
        path = lab.boot()
        for number in range(STRANGERS_FACTOR * 2):
            lab.client.get(f"/b/{number}/kernel")
            lab.script(mac=f"52-54-00-00-01-{number:02}", serial="X", uuid="")
        assert lab.report(path, "running", facts=FACTS).status_code == 200
        assert lab.report(path, "failed", message="no network").status_code == 200
        assert lab.events("reported") == ["running", "failed: no network"]
