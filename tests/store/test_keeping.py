"""Rollouts, consents, start rates and learnt times: kept, bounded, read again only when changed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from store_samples import NOW, after, an_applied

from metalwright.errors import StoreError
from metalwright.model.operation import STAGE_SAMPLES_MAX
from metalwright.model.rollout import Rollout, RolloutState
from metalwright.store import Store
from metalwright.store.keeping import CONSENTS_MAX, STAGE_KEYS_MAX


def a_rollout(key: str = "r1") -> Rollout:
    return Rollout(
        id=key * 32,
        pool="ci",
        holder="Pool/ci",
        template="debian",
        target_digest="d" * 64,
        revision="c" * 40,
        began_at=NOW,
        waves=(("n1",), ("n2", "n10")),
        wave_began_at=after(1),
        failed=("n1",),
        why="ünïcode",
    )


def test_a_rollout_is_remembered_until_it_is_over(opened: Callable[[], Store]) -> None:
    store = opened()
    first, second = a_rollout("r1"), a_rollout("r2")
    store.save_rollouts([second, first], NOW)
    assert opened().memory().rollouts == {first.id: first, second.id: second}
    assert list(store.memory().rollouts) == [first.id, second.id]
    on = replace(first, wave=1, state=RolloutState.PAUSED, soaking_since=after(9))
    over = replace(second, state=RolloutState.DONE)
    store.save_rollouts([on, over], after(9))
    assert store.memory().rollouts == {first.id: on}
    assert opened().memory().rollouts == {first.id: on}
    store.save_rollouts([replace(on, state=RolloutState.SUPERSEDED)], after(20))
    assert store.memory().rollouts == {}


def test_a_rollout_that_is_over_is_pruned_by_its_age(store: Store) -> None:
    running, over = a_rollout("r1"), replace(a_rollout("r2"), state=RolloutState.DONE)
    store.save_rollouts([running, over], NOW)
    assert store.prune(after(-1)) == 0
    assert store.prune(after(1)) == 1
    assert list(store.memory().rollouts) == [running.id]


def test_what_did_not_change_is_the_same_value(opened: Callable[[], Store]) -> None:
    mine, other = opened(), opened()
    mine.save_rollouts([a_rollout()], NOW)
    mine.consent(["k1"], NOW)
    mine.take_starts({"fleet": NOW})
    mine.learn({"boot/fake/debian": [1.5]}, NOW)
    first = mine.memory()
    mine.save_rollouts([a_rollout()], after(1))
    assert mine.memory() is first, "the same rollout again is no change"
    other.adopt({"n1": an_applied()}, "ada", NOW)
    second = mine.memory()
    assert second.rollouts is first.rollouts
    assert second.consents is first.consents
    assert second.starts is first.starts
    assert second.stage_times is first.stage_times
    assert second == opened().memory()


def test_writing_nothing_changes_nothing(store: Store) -> None:
    first = store.memory()
    store.save_rollouts([], NOW)
    store.consent([], NOW)
    store.take_starts({})
    store.learn({}, NOW)
    store.learn({"boot/fake/-": []}, NOW)
    assert store.memory() is first


def test_consents_that_lapsed_are_forgotten_by_everybody(opened: Callable[[], Store]) -> None:
    store, other = opened(), opened()
    store.consent(["k1", "k2", "k3"], NOW)
    assert other.memory().consents == {"k1", "k2", "k3"}
    store.lapse(["k1", "k3", "unknown"])
    assert store.memory().consents == other.memory().consents == {"k2"}
    store.lapse([])
    store.consent(["k1"], after(1))
    assert other.memory().consents == {"k1", "k2"}


def test_consents_are_a_set_of_which_the_newest_stay(opened: Callable[[], Store]) -> None:
    store = opened()
    store.consent(["k1", "k2", "k1"], NOW)
    store.consent(["k3"], NOW)
    store.consent(["k1"], after(1))
    assert store.memory().consents == {"k1", "k2", "k3"}
    store.consent([f"m{number}" for number in range(CONSENTS_MAX - 2)], after(2))
    remembered = opened().memory().consents
    assert len(remembered) == CONSENTS_MAX
    assert {"k1", "k3"} <= remembered, "k1 was given again, so k2 is the oldest"
    assert "k2" not in remembered
    store.consent([f"n{number}" for number in range(CONSENTS_MAX + 5)], after(3))
    assert len(store.memory().consents) == CONSENTS_MAX
    assert "n4" not in store.memory().consents
    assert "n5" in store.memory().consents


def test_start_rates_are_instants_and_go_when_they_are_long_past(
    opened: Callable[[], Store],
) -> None:
    store = opened()
    store.take_starts({"pdu=p1": NOW, "fleet": after(0.5)})
    store.take_starts({"pdu=p1": after(60)})
    assert opened().memory().starts == {"fleet": after(0.5), "pdu=p1": after(60)}
    store.prune(after(1))
    assert store.memory().starts == {"pdu=p1": after(60)}


def test_an_intent_and_its_token_are_durable_together(store: Store) -> None:
    def interrupted() -> None:
        with store.batch():
            store.take_starts({"fleet": NOW})
            assert store.memory().starts == {"fleet": NOW}
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert store.memory().starts == {}


def test_times_are_sorted_and_only_the_newest_are_kept(opened: Callable[[], Store]) -> None:
    store = opened()
    store.learn({"boot/fake/debian": [3.25, 1.0], "wipe/fake/-": [0.1]}, NOW)
    store.learn({"boot/fake/debian": [2]}, NOW)
    times = store.memory().stage_times
    assert times["boot/fake/debian"].samples_s == (1.0, 2.0, 3.25)
    assert times == opened().memory().stage_times
    store.learn({"boot/fake/debian": [9.0] * (STAGE_SAMPLES_MAX - 1)}, NOW)
    kept = store.memory().stage_times["boot/fake/debian"].samples_s
    assert kept == (2.0, *[9.0] * (STAGE_SAMPLES_MAX - 1)), "1.0 and 3.25 came first"


def test_of_too_many_keys_the_longest_unused_go(opened: Callable[[], Store]) -> None:
    store = opened()
    store.learn({"boot/fake/old": [1.0], "boot/fake/used": [1.0]}, NOW)
    store.memory()
    later = NOW + timedelta(days=1)
    store.learn({f"boot/fake/t{number}": [1.0] for number in range(STAGE_KEYS_MAX - 2)}, later)
    assert len(store.memory().stage_times) == STAGE_KEYS_MAX
    store.learn({"boot/fake/used": [2.0], "boot/fake/new": [1.0]}, later)
    times = store.memory().stage_times
    assert len(times) == STAGE_KEYS_MAX
    assert "boot/fake/old" not in times
    assert times["boot/fake/used"].samples_s == (1.0, 2.0)
    assert times == opened().memory().stage_times


@pytest.mark.parametrize("wrong", [-0.1, math.inf, math.nan])
def test_what_is_no_time_is_refused(store: Store, wrong: float) -> None:
    with pytest.raises(StoreError, match="no times of a stage: boot/fake/-"):
        store.learn({"boot/fake/-": [1.0, wrong]}, NOW)
    assert store.memory().stage_times == {}
