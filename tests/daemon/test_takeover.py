"""Whether the process before is dead for certain, and what is waited for where it is not."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from metalwright.daemon import Fleet, open_fleet
from metalwright.daemon.clock import SteadyClock
from metalwright.daemon.right import CONFIRMED_MAX
from metalwright.daemon.takeover import take_over
from metalwright.errors import FencedError
from metalwright.store import DatabaseLock, FleetLock, Store

from .conftest import Rig


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
