"""Whether the process before is dead for certain, and what is waited for where it is not."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from metalwright.daemon import Fleet, driven_by, open_fleet
from metalwright.daemon.calls import Calls
from metalwright.daemon.clock import SteadyClock, system_clock
from metalwright.daemon.reconcile import Reconciler
from metalwright.daemon.right import CONFIRMED_MAX
from metalwright.daemon.takeover import locked, take_over
from metalwright.errors import FencedError, LockedError
from metalwright.model.operation import Operation, OperationState
from metalwright.model.plan import BlockedReason
from metalwright.settings import Settings
from metalwright.store import DatabaseLock, FleetLock, Marks, Store
from metalwright.store.marks import Count, Reached

from .conftest import WAIT_S, Rig


def waits_s(fleet: Fleet) -> float:
    """For how long calls that the process before left behind are waited for."""
    assert fleet.engine is not None
    return fleet.engine.alone_after_s


def test_who_held_the_same_lock_file_is_dead(rig: Rig) -> None:
    for waits in (True, False, False):
        with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
            assert bool(waits_s(fleet)) is waits, "nobody is known to have been before the first"


def test_who_held_a_lock_file_that_was_removed_may_still_live(rig: Rig) -> None:
    settings = rig.settings()
    with ExitStack() as stack:
        first = stack.enter_context(open_fleet(settings, drive=True, wake=lambda: None))
        (settings.state_dir / "fleet.lock").unlink()
        second = stack.enter_context(open_fleet(settings, drive=True, wake=lambda: None))
        longest_s = CONFIRMED_MAX.total_seconds() + settings.execute.effect_timeout_s
        assert waits_s(second) == longest_s
        with pytest.raises(FencedError):
            first.confirm()
    with open_fleet(settings, drive=True, wake=lambda: None) as third:
        assert waits_s(third) == 0.0


def test_the_lock_is_kept_until_the_last_call_has_come_back(tmp_path: Path) -> None:
    store_url, path = f"sqlite:///{tmp_path / 'store.sqlite'}", tmp_path / "fleet.lock"
    begun, end = threading.Event(), threading.Event()

    def call() -> None:
        begun.set()
        end.wait(WAIT_S)

    calls = Calls(1)
    with ExitStack() as stack:
        stack.enter_context(locked(FleetLock(path), store_url, Marks(tmp_path, store_url), calls))
        stack.callback(calls.shutdown, wait=False, cancel_futures=True)
        calls.submit(call)
        never = calls.submit(call)
        begun.wait(WAIT_S)
    assert never.cancelled()
    with pytest.raises(LockedError):
        FleetLock(path).acquire()
    end.set()
    calls.shutdown(wait=True)
    with FleetLock(path) as free:
        assert free.is_held


def test_a_fleet_whose_machines_are_still_being_told_is_not_driven_by_another(rig: Rig) -> None:
    slow = rig.config.read_text().replace(
        "speed = 5000", 'speed = 1\nfaults = [{node = "*", fault = "slow", delay_s = 3.0}]'
    )
    rig.adopt_all()
    rig.loan("n1")
    rig.config.write_text(slow)
    deadline = time.monotonic() + WAIT_S
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        reconciler = Reconciler(fleet)
        while not any(line.event == "intent" for line in fleet.store.journal("n1", 9)):
            assert time.monotonic() < deadline
            reconciler.cycle()
            time.sleep(0.05)
    with pytest.raises(LockedError), open_fleet(rig.settings(), drive=True, wake=lambda: None):
        pass
    while driven_by(rig.settings()) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        assert waits_s(fleet) == 0.0


def test_a_lock_without_an_identity_vouches_for_nobody(tmp_path: Path) -> None:
    clock = SteadyClock()
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        for _ in range(2):
            lock = DatabaseLock("postgresql+psycopg://nobody@127.0.0.1/none")
            assert not take_over(store, clock, "me", lock.identity)
        with FleetLock(tmp_path / "fleet.lock") as held:
            assert not take_over(store, clock, "me", held.identity)
            assert take_over(store, clock, "me", held.identity)
        assert held.identity == "", "it is not held"


def test_a_clock_goes_on_from_the_last_line_before_it_is_asked(tmp_path: Path) -> None:
    clock = SteadyClock()
    later = clock() + timedelta(hours=2)
    with Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store:
        store.adopt({"n1": None}, "ada", later)
        take_over(store, clock, "me")
        assert clock() >= later


def copy_of(rig: Rig) -> Path:
    """The store as an operator copies it beside a daemon."""
    copy = rig.home / f"copy-{len(list(rig.home.iterdir()))}.sqlite"
    with sqlite3.connect(store_of(rig)) as connection:
        connection.execute("VACUUM INTO ?", (str(copy),))
    connection.close()
    return copy


def store_of(rig: Rig) -> Path:
    return rig.settings().state_dir / "metalwright.sqlite"


def restore(rig: Rig, copy: Path) -> None:
    """As the manual says it: no daemon runs, and the files of the write-ahead log go too."""
    for file in store_of(rig).parent.glob("metalwright.sqlite*"):
        file.unlink()
    shutil.copy(copy, store_of(rig))


def powered(fleet: Fleet, name: str) -> int:
    return fleet.drivers["fake"]._fleet.node(name).power_ons  # type: ignore[attr-defined]


def test_what_a_clock_that_was_days_ahead_wrote_is_moved_back_at_take_over(rig: Rig) -> None:
    rig.adopt_all()
    rig.loan("n1")
    ahead = SteadyClock(lambda: system_clock() + timedelta(days=2))
    deadline = time.monotonic() + WAIT_S
    with open_fleet(rig.settings(), drive=True, wake=lambda: None, clock=ahead) as fleet:
        reconciler = Reconciler(fleet)
        while not fleet.store.operations("n1", 1):
            assert time.monotonic() < deadline
            reconciler.cycle()
            time.sleep(0.05)
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        (operation,) = fleet.store.operations("n1", 1)
        assert operation.created_at <= fleet.clock()
        line = next(line for line in fleet.store.journal("n1", 9) if "ahead of" in line.detail)
        assert line.at <= fleet.clock()


def test_an_old_copy_of_the_store_starts_nothing(rig: Rig) -> None:
    """Copied before n1 was lent, and while n2 was being brought up; both are done long since."""
    rig.adopt_all()
    before = copy_of(rig)
    rig.start()
    rig.wait_settled(rig.loan("n1"))
    rig.stop()
    restore(rig, before)
    rig.start()
    last = rig.wait(lambda result: len(rig.results) > 3, "some cycles")
    rig.stop()
    assert last.plan is not None
    assert {line.reason for line in last.plan.blocked} == {BlockedReason.NOT_ADOPTED}
    assert len(last.plan.blocked) == 4
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        assert fleet.told == "", "it is said once; from there on it is a store like any other"
        assert powered(fleet, "n1") == 1, "by the loan, and by nobody since"
        line = fleet.store.journal("n1", 1)[0]
        assert line.event == "released"
        assert "the store is an older copy" in line.detail
    rig.adopt_all()
    rig.start()
    rig.wait(lambda result: bool(result.plan and result.plan.totals.as_desired == 4), "adopted")


def test_an_operation_of_an_old_copy_is_ended_and_its_machine_left_alone(rig: Rig) -> None:
    rig.adopt_all()
    settings = rig.settings()
    wakes = {"drive": True, "wake": lambda: None}
    with open_fleet(settings, **wakes) as fleet:
        reconciler = Reconciler(fleet)
        reconciler.follow_head()
        rig.loan("n1")
        while not fleet.store.slots():
            reconciler.cycle()
        fleet.store.hold(["n3"], "fan", "ada", fleet.clock())
        assert fleet.engine is not None
        fleet.engine.drain(10.0)
        begun = copy_of(rig)
        fleet.note()
    with open_fleet(settings, **wakes) as fleet:
        assert fleet.told == ""
        assert fleet.store.memory().nodes["n1"].operation is not None, "it goes on"
        fleet.store.finish(ended_of(fleet), None, fleet.clock())
        fleet.note()
    restore(rig, begun)
    with open_fleet(settings, **wakes) as fleet:
        assert "1 transactions of the daemon are not in it" in fleet.told
        assert "1 unfinished operations were ended without touching a machine" in fleet.told
        assert "4 nodes are not adopted any more" in fleet.told
        assert "`mw adopt NODE`" in fleet.told
        assert fleet.told.endswith("held or in quarantine in that copy: n3")
        assert (dict(fleet.store.slots()), dict(fleet.store.memory().nodes)) == ({}, {})
        assert fleet.store.operations("n1", 1)[0].state is OperationState.CANCELLED
    restore(rig, begun)
    with open_fleet(settings, **wakes) as fleet:
        assert fleet.told, "the same copy once more is as old as it was"


def test_what_a_cycle_wrote_is_noted_before_the_next_one(rig: Rig) -> None:
    """Also of a daemon that is killed: nobody but the cycle notes it here."""
    rig.adopt_all()
    copy = copy_of(rig)
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        reconciler = Reconciler(fleet)
        reconciler.follow_head()
        rig.loan("n1")
        while not fleet.store.slots():
            reconciler.cycle()
        reconciler.cycle()
    restore(rig, copy)
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        assert "4 nodes are not adopted any more" in fleet.told


def ended_of(fleet: Fleet) -> Operation:
    operation = fleet.store.memory().nodes["n1"].operation
    assert operation is not None
    return replace(operation, state=OperationState.SUPERSEDED, ended_at=fleet.clock())


def test_a_crash_while_an_old_copy_is_let_go_of_changes_nothing(rig: Rig) -> None:
    rig.adopt_all()
    settings = rig.settings()
    copy = copy_of(rig)
    with open_fleet(settings, drive=True, wake=lambda: None) as fleet:
        fleet.store.record_unchanged(
            {"n1": replace(fleet.store.memory().nodes["n1"].applied, revision="1" * 40)},
            fleet.clock(),
        )
        fleet.note()
    restore(rig, copy)
    with Store.open(settings.store) as store:
        store.claim("one that died right after its claim", SteadyClock()())
    with open_fleet(settings, drive=True, wake=lambda: None) as fleet:
        assert "4 nodes are not adopted any more" in fleet.told
    marks = Marks(settings.state_dir, settings.store)
    with Store.open(settings.store) as store:
        assert marks.older(store.reached()) == ""
        marks.keep(Reached(store.reached().store_id, Count(0, 99, 99)))  # as another machine's
        assert marks.older(store.reached()) == "", "and has let go of it already"


def test_a_store_that_takes_the_place_of_another_starts_nothing(rig: Rig) -> None:
    rig.adopt_all()
    settings = rig.settings()
    with open_fleet(settings, drive=True, wake=lambda: None) as fleet:
        assert fleet.told == ""
    for file in store_of(rig).parent.glob("metalwright.sqlite*"):
        file.unlink()
    rig.adopt_all()
    with open_fleet(settings, drive=True, wake=lambda: None) as fleet:
        assert "another store was driven at its address" in fleet.told
        assert dict(fleet.store.memory().nodes) == {}


def test_who_stands_by_knows_an_old_copy_too(rig: Rig) -> None:
    """Each of two machines has a state directory; here the lock keeps the second one waiting."""
    rig.adopt_all()
    first = rig.settings()
    second = first.model_copy(update={"state_dir": rig.home / "second", "store_url": first.store})
    copy = copy_of(rig)
    with open_fleet(first, drive=True, wake=lambda: None) as fleet:
        fleet.store.record_unchanged(
            {"n1": replace(fleet.store.memory().nodes["n1"].applied, revision="1" * 40)},
            fleet.clock(),
        )
        second.state_dir.mkdir()
        (second.state_dir / "fleet.lock").symlink_to(first.state_dir / "fleet.lock")
        with pytest.raises(LockedError):
            stack_of(second)
    restore(rig, copy)
    with open_fleet(second, drive=True, wake=lambda: None) as fleet:
        assert "4 nodes are not adopted any more" in fleet.told


def stack_of(settings: Settings) -> None:
    with open_fleet(settings, drive=True, wake=lambda: None):
        pass
