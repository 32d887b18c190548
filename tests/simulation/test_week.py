"""A smaller week: every limit, bound and lane holds, and no slot is idle while work waits."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from week_figures import USE_MIN, Attempt, Figures, Use, lower_bound_s, most_held
from week_fleet import RETRY_LIMIT, T0
from week_loop import Week


@pytest.fixture(scope="module")
def figures() -> Figures:
    return Week(seed=7, nodes=4_000, days=0.8).run()


def test_no_limit_is_exceeded_by_the_attempts_as_they_were(figures: Figures) -> None:
    assert len(figures.attempts) > 4_000
    assert figures.overshoot == 0


def test_every_wait_ends_within_its_bound(figures: Figures) -> None:
    assert figures.bound > 3_000
    assert figures.late == 0


def test_sick_machines_keep_to_their_lane_and_come_to_an_end(figures: Figures) -> None:
    assert figures.operations["retried"] > 100
    assert figures.operations["failed"] > 0
    assert 0 < figures.retries_most <= RETRY_LIMIT
    assert figures.operations.total() - figures.operations["retried"] > 4_000


def test_a_rollout_takes_little_longer_than_any_schedule_would(figures: Figures) -> None:
    (rollout,) = figures.rollouts
    assert rollout.operations > 3_500
    # The last attempts weigh more in twenty rounds of slots than in the fifty of a whole week.
    assert 1.0 <= rollout.ratio <= 1.12
    assert figures.use >= USE_MIN


def attempt(since_s: float, until_s: float, *scopes: str) -> Attempt:
    def at(second: float) -> datetime:
        return T0 + timedelta(seconds=second)

    return Attempt(("fleet", *scopes), at(since_s), at(until_s))


def test_the_lower_bound_is_the_longest_of_work_and_job() -> None:
    limits = {"fleet": 2, "rack": 1}
    end = T0 + timedelta(seconds=100)
    racks = [attempt(0, 30, "rack"), attempt(30, 60, "rack"), attempt(0, 20)]
    assert lower_bound_s(racks, limits, T0, end) == 60
    assert lower_bound_s([attempt(0, 90), attempt(0, 200)], limits, T0, end) == 100
    assert lower_bound_s([attempt(0, 40)] * 5, limits, T0, end) == 100


def test_what_is_above_a_limit_is_counted_and_what_follows_at_once_is_not() -> None:
    limit = {"fleet": 2, "rack": 1}.__getitem__
    one_after_the_other = [attempt(0, 30, "rack"), attempt(30, 60, "rack"), attempt(0, 60)]
    most, above = most_held(one_after_the_other, limit)
    assert (most["fleet"], most["rack"], above) == (2, 1, 0)
    assert most_held([*one_after_the_other, attempt(29, 31, "rack")], limit)[1] == 4


def test_a_slot_that_is_idle_while_work_waits_is_told() -> None:
    use = Use(fleet_limit=2, rack_limit=1)
    use.let_pass(100)  # nothing waits
    use.want("a", 1)
    use.want("b", 2)
    use.hold("c", 1)
    use.let_pass(10)  # a slot of the fleet is idle
    use.want("a", -1)
    use.hold("a", 1)
    use.let_pass(10)  # none is
    assert (use.held_s, use.could_s) == (30, 40)
