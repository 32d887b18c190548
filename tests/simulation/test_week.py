"""A smaller week: every limit, bound and lane holds, and no slot is idle while work waits."""

from __future__ import annotations

from datetime import timedelta

import pytest
from week import FLEET_LIMIT, RACK_LIMIT, T0, USE_MIN, Attempt, Figures, Week, lower_bound_s


@pytest.fixture(scope="module")
def figures() -> Figures:
    return Week(seed=7, nodes=4_000, days=0.8).run()


def test_no_limit_is_exceeded_by_the_attempts_as_they_were(figures: Figures) -> None:
    """Counted from their beginnings and ends alone, not from what the ledger believed."""
    changes = []
    for attempt in figures.attempts:
        assert attempt.until is not None
        for scope in attempt.scopes:
            changes += [(attempt.since, 1, scope), (attempt.until, 0, scope)]
    held: dict[str, int] = {}
    for _, begins, scope in sorted(changes):
        held[scope] = held.get(scope, 0) + (1 if begins else -1)
        limit = {"fleet": FLEET_LIMIT, "lane/retry": 20}.get(scope, RACK_LIMIT)
        assert held[scope] <= limit, scope
    assert figures.overshoot == 0


def test_every_wait_ends_within_its_bound(figures: Figures) -> None:
    assert figures.bound > 3_000
    assert figures.late == 0


def test_sick_machines_keep_to_their_lane_and_come_to_an_end(figures: Figures) -> None:
    assert figures.operations["retried"] > 100
    assert figures.operations["failed"] > 0
    assert 0 < figures.lane_most <= 20
    assert figures.operations.total() - figures.operations["retried"] > 4_000


def test_a_rollout_takes_little_longer_than_any_schedule_would(figures: Figures) -> None:
    (rollout,) = figures.rollouts
    assert rollout.operations > 3_500
    # The last attempts weigh more in twenty rounds of slots than in the fifty of a whole week.
    assert 1.0 <= rollout.ratio <= 1.12
    assert figures.use >= USE_MIN


def test_the_lower_bound_is_the_longest_of_work_and_job() -> None:
    def attempt(since_s: float, until_s: float, *scopes: str) -> Attempt:
        def at(second: float):
            return T0 + timedelta(seconds=second)

        return Attempt(("fleet", *scopes), at(since_s), at(until_s))

    limits = {"fleet": 2, "rack": 1}
    end = T0 + timedelta(seconds=100)
    racks = [attempt(0, 30, "rack"), attempt(30, 60, "rack"), attempt(0, 20)]
    assert lower_bound_s(racks, limits, T0, end) == 60
    assert lower_bound_s([attempt(0, 90), attempt(0, 200)], limits, T0, end) == 100
    assert lower_bound_s([attempt(0, 40)] * 5, limits, T0, end) == 100
