"""A store that was restored from an old copy, in the middle of a rollout, starts nothing."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sim_oracles import Violation
from sim_room import CallLog
from sim_scenario import Event, Recipe, Scenario, generate
from sim_world import World

from metalwright.store import Store

ORACLE = "an old store starts nothing"


class Restored(World):
    """A world in which the store's file is copied, and the copy put in its place later."""

    knows = True
    lost = False

    def _happen(self, event: Event) -> None:
        if event.kind == "copy the store":
            _copy(self.home / "store.sqlite", self.home / "copy.sqlite")
        elif event.kind == "restore the store":
            self.crash(20.0)
            self.time.at(self.time.now_s + 10.0, self._restore)
        elif event.kind == "adopt":
            self.lost = False
            with Store.open(self.settings.store) as store:
                assert not store.memory().nodes or not self.knows
                store.adopt(dict.fromkeys(self.shape.names), "ada", self.clock.wall())
        else:
            super()._happen(event)

    def _restore(self) -> None:
        _copy(self.home / "copy.sqlite", self.home / "store.sqlite")
        if not self.knows:
            for mark in self.home.glob("*.mark"):
                mark.unlink()
        self.witness.restored(len(self._books.lines(0)))
        self.lost = True
        self.room.on_call.append(self._called)

    def _called(self, log: CallLog) -> None:
        if self.lost:
            self.witness.broken(ORACLE, f"{log.node}: {log.effect.kind}")


class Forgetful(Restored):
    """Nothing but the store itself is left to tell how far it was driven."""

    knows = False


def _copy(source: Path, target: Path) -> None:
    with _open(source) as one, _open(target) as other:
        one.backup(other)


@contextmanager
def _open(path: Path) -> Iterator[sqlite3.Connection]:
    database = sqlite3.connect(path)
    try:
        yield database
    finally:
        database.close()


def scenario() -> Scenario:
    """Two turn-overs: the copy is made in the middle of the first, restored after the second."""
    every = {"rest/p0": "t1", "rest/p1": "t0"}
    events = (
        Event(at_s=5.0, kind="commit", what={"set": every}),
        Event(at_s=12.0, kind="copy the store"),
        Event(at_s=200.0, kind="commit", what={"set": {"rest/p0": "t0", "template/t0": 5}}),
        Event(at_s=400.0, kind="restore the store"),
        Event(at_s=1_000.0, kind="adopt"),
    )
    plain = generate(7, Recipe(nodes=(8, 8), changes=(1, 1), speed=(30.0,)))
    return replace(plain, pools=2, fleet_limit=4, rack_limit=None, calls_max=1_000, events=events)


def violations(world: type[World], home: Path) -> list[Violation]:
    where = home / world.__name__
    where.mkdir()
    try:
        return world(scenario(), where).run().violations
    finally:
        shutil.rmtree(where)


def test_an_old_copy_starts_nothing_until_somebody_says_what_is_there(home: Path) -> None:
    assert violations(Restored, home) == []


def test_without_the_mark_beside_it_an_old_copy_is_driven_on(home: Path) -> None:
    found = violations(Forgetful, home)
    assert {each.oracle for each in found} & {ORACLE}
