"""The steady clock: table tests of walls that are set, and of machines that are suspended."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta

import pytest

from metalwright.daemon.clock import JUMP_S, SLEW, ClockJump, SteadyClock, system_clock

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = 3_600.0


class Times:
    """A wall clock that can be set, and a monotonic one that can stand still."""

    def __init__(self) -> None:
        self.wall_s = self.monotonic_s = 0.0
        self.jumps: list[ClockJump] = []
        self.clock = SteadyClock(self.wall, lambda: self.monotonic_s, told=self.jumps.append)

    def wall(self) -> datetime:
        return NOON + timedelta(seconds=self.wall_s)

    def pass_s(self, seconds: float) -> None:
        self.wall_s += seconds
        self.monotonic_s += seconds

    def read_s(self) -> float:
        return (self.clock() - NOON).total_seconds()


def test_it_starts_at_the_wall_and_goes_with_it() -> None:
    times = Times()
    assert times.read_s() == 0
    for _ in range(100):
        times.pass_s(0.25)
        assert times.read_s() == times.wall_s
    assert times.jumps == []


@pytest.mark.parametrize("jump_s", [2 * HOUR, -2 * HOUR, 6.0, -6.0, 365 * 24 * HOUR, -3 * HOUR])
@pytest.mark.parametrize("step_s", [0.01, 1.0, 60.0])
def test_a_jump_is_followed_slowly_and_told_once(jump_s: float, step_s: float) -> None:
    times = Times()
    times.read_s()
    times.wall_s += jump_s
    before, went_s = times.read_s(), 0.0
    assert before == 0, "no time has passed"
    for _ in range(50):
        times.pass_s(step_s)
        went_s += step_s
        now = times.read_s()
        rate = (now - before) / step_s
        assert 1 - SLEW - 1e-3 <= rate <= 1 + SLEW + 1e-3
        assert (now > went_s) == (jump_s > 0) or abs(now - times.wall_s) < 1e-3
        before = now
    (told,) = times.jumps
    assert told.by.total_seconds() == jump_s
    assert ("forward" if jump_s > 0 else "back") in str(told)
    assert f"{abs(jump_s):.0f} s" in str(told)


def test_a_jump_is_made_up_for_in_ten_times_its_length() -> None:
    for jump_s in (300.0, -300.0):
        times = Times()
        times.wall_s += jump_s
        times.read_s()
        for _ in range(3_001):
            times.pass_s(1)
            times.read_s()
        assert times.read_s() == pytest.approx(times.wall_s, abs=1e-3)
        assert len(times.jumps) == 1


def test_small_steps_of_the_wall_are_no_jumps() -> None:
    times = Times()
    for step in itertools.chain([0.4, -0.4] * 50):
        times.pass_s(1)
        times.wall_s += step
        times.read_s()
    assert times.jumps == []


def test_a_suspended_machine_has_lived_through_nothing() -> None:
    times = Times()
    times.pass_s(10)
    times.read_s()
    times.wall_s += 8 * HOUR  # asleep: the monotonic clock stood still
    assert times.read_s() == 10
    times.pass_s(100)
    assert times.read_s() == pytest.approx(10 + 100 * (1 + SLEW))
    assert [str(jump) for jump in times.jumps] == ["the wall clock was set forward by 28800 s"]


def test_a_jump_back_and_forth_between_two_readings_is_none() -> None:
    times = Times()
    times.wall_s += 2 * HOUR
    times.wall_s -= 2 * HOUR
    times.pass_s(1)
    assert times.read_s() == 1
    assert times.jumps == []


def test_each_of_two_jumps_is_told() -> None:
    times = Times()
    for jump_s in (2 * HOUR, -2 * HOUR):
        times.read_s()
        times.wall_s += jump_s
        times.pass_s(1)
        times.read_s()
    assert [jump.by.total_seconds() for jump in times.jumps] == [
        pytest.approx(2 * HOUR, abs=JUMP_S),
        pytest.approx(-2 * HOUR, abs=JUMP_S),
    ]


def test_it_never_goes_back_and_keeps_its_rate_whatever_the_wall_does() -> None:
    dice = random.Random(20261121)
    for _ in range(50):
        times = Times()
        before = times.read_s()
        for _ in range(200):
            if dice.random() < 0.1:
                times.wall_s += dice.uniform(-1e5, 1e5)
            if dice.random() < 0.1:
                times.wall_s += dice.uniform(0, 1e4)  # suspended
            elapsed_s = dice.choice([0.0, 0.001, 1.0, 3_600.0])
            times.pass_s(elapsed_s)
            now = times.read_s()
            assert (1 - SLEW) * elapsed_s - 1e-3 <= now - before <= (1 + SLEW) * elapsed_s + 1e-3
            assert now >= before
            before = now


def test_a_monotonic_clock_that_goes_back_is_no_time_passed() -> None:
    times = Times()
    times.pass_s(10)
    assert times.read_s() == 10
    times.monotonic_s -= 5
    assert times.read_s() == 10
    times.monotonic_s += 5
    assert times.read_s() == 10


def test_without_slew_it_never_follows() -> None:
    now = [0.0]
    wall = [NOON]
    clock = SteadyClock(lambda: wall[0], lambda: now[0], slew=0)
    wall[0] = NOON + timedelta(hours=2)
    now[0] = 60.0
    assert clock() == NOON + timedelta(minutes=1)


def test_it_goes_on_from_where_an_earlier_process_was() -> None:
    times = Times()
    times.clock.go_on_from(NOON + timedelta(hours=2))
    assert times.read_s() == 2 * HOUR
    assert [str(jump) for jump in times.jumps] == ["the wall clock was set back by 7200 s"]
    times.pass_s(100)
    assert times.read_s() == pytest.approx(2 * HOUR + 100 * (1 - SLEW))
    assert len(times.jumps) == 1


@pytest.mark.parametrize("reached", [timedelta(hours=-2), timedelta(0), timedelta(days=2)])
def test_it_does_not_go_on_from_the_past_nor_from_an_absurd_future(reached: timedelta) -> None:
    times = Times()
    times.clock.go_on_from(NOON + reached)
    assert times.read_s() == 0
    assert times.jumps == []


@pytest.mark.parametrize("slew", [-0.1, 1.0, 2.0])
def test_a_slew_that_would_stop_or_turn_it_is_refused(slew: float) -> None:
    with pytest.raises(ValueError, match="slew"):
        SteadyClock(slew=slew)


def test_the_real_ones_agree() -> None:
    clock = SteadyClock()
    assert abs((system_clock() - clock()).total_seconds()) < 1
    assert clock() <= clock()
