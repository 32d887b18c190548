"""Nothing is told to a BMC by a process whose right to drive was not confirmed a moment ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from metalwright.daemon.right import CONFIRMED_MAX, Right
from metalwright.errors import FencedError, StoreError
from metalwright.store import FleetLock

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


class Clock:
    now = START

    def __call__(self) -> datetime:
        return self.now


def test_a_confirmation_is_good_for_a_while(tmp_path: Path) -> None:
    clock = Clock()
    with FleetLock(tmp_path / "fleet.lock") as lock:
        right = Right(lock, clock)
        assert not right.is_confirmed()
        right.confirm()
        clock.now += CONFIRMED_MAX
        assert right.is_confirmed()
        clock.now += timedelta(microseconds=1)
        assert not right.is_confirmed(), "the process may have been stopped for long"
        right.confirm()
        assert right.is_confirmed()


@pytest.mark.parametrize("jump", [timedelta(hours=1), -timedelta(hours=1)])
def test_while_the_machine_was_suspended_the_steady_clock_stood_still(
    tmp_path: Path, jump: timedelta
) -> None:
    clock, wall = Clock(), Clock()
    with FleetLock(tmp_path / "fleet.lock") as lock:
        right = Right(lock, clock, wall)
        right.confirm()
        wall.now += jump
        assert not right.is_confirmed(), "another process may have taken over meanwhile"
        right.confirm()
        assert right.is_confirmed()


def test_a_lock_that_is_lost_ends_it_at_once(tmp_path: Path) -> None:
    with FleetLock(tmp_path / "fleet.lock") as lock:
        right = Right(lock, Clock())
        right.confirm()
        (tmp_path / "fleet.lock").unlink()
        with pytest.raises(FencedError, match="was removed"):
            right.confirm()
        assert not right.is_confirmed()


class Asking:
    """A lock that looks, while it is asked, whether the right is still confirmed."""

    right: Right
    lost = False

    def __init__(self) -> None:
        self.seen: list[bool] = []

    def confirm(self) -> None:
        self.seen.append(self.right.is_confirmed())
        if self.lost:
            raise StoreError("the lock is lost")


def test_what_was_confirmed_stays_good_while_the_lock_is_asked_again() -> None:
    lock = Asking()
    right = lock.right = Right(lock, Clock())
    right.confirm()
    right.confirm()
    assert lock.seen == [False, True], "an effect between two lines of a cycle is sent"
    lock.lost = True
    with pytest.raises(FencedError):
        right.confirm()
    assert not right.is_confirmed()
