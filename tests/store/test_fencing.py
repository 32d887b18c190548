"""One process drives with a store: whoever claimed it last."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from store_samples import NOW, admitted, after, an_applied, an_operation, ended, pending_again
from test_keeping import a_rollout

from metalwright.errors import FencedError, StoreError
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observation, Observed
from metalwright.model.operation import OperationState
from metalwright.store import Store
from metalwright.store.connect import begin_writing, open_engine

FLEET = {"fleet": 2}
RUNNING = admitted(an_operation("o1", "n1"))
STEPS: dict[str, Callable[[Store], object]] = {
    "create": lambda store: store.create([an_operation("o2", "n2")], NOW, None),
    "admit": lambda store: store.admit(admitted(an_operation("o3", "n3")), FLEET, NOW),
    "save": lambda store: store.save(replace(RUNNING, effects=1), "outcome", NOW),
    "retry": lambda store: store.retry(pending_again(RUNNING), NOW),
    "finish": lambda store: store.finish(ended(RUNNING, OperationState.FAILED), None, NOW),
    "record": lambda store: store.record_unchanged({"n2": an_applied(revision="r")}, NOW),
    "rollouts": lambda store: store.save_rollouts([a_rollout()], NOW),
    "consent": lambda store: store.consent(["k"], NOW),
    "lapse": lambda store: store.lapse(["given"]),
    "starts": lambda store: store.take_starts({"fleet": NOW}),
    "learn": lambda store: store.learn({"boot/fake/-": [1.0]}, NOW),
}
BESIDE: dict[str, Callable[[Store], object]] = {
    "adopt": lambda store: store.adopt({"n9": None}, "ada", NOW),
    "forget": lambda store: store.forget("n2", "ada", NOW),
    "retry_failed": lambda store: store.retry_failed(["n4"], "ada", NOW),
    "hold": lambda store: store.hold(["n2"], "fan", "ada", NOW),
    "drop_holds": lambda store: store.drop_holds(["n4"], NOW, "git has it"),
    "resume": lambda store: store.resume(["n4"], "ada", NOW),
    "cancel": lambda store: store.cancel(["n1"], "ada", NOW),
    "quarantine": lambda store: store.quarantine("n2", "failed", NOW),
    "observed": lambda store: store.save_observed(
        Observed(nodes=FrozenDict(n1=Observation(node="n1", at=NOW)))
    ),
    "fact": lambda store: store.put_fact("cycle", "{}", NOW),
    "prune": lambda store: store.prune(after(100)),
}


@pytest.fixture
def first(opened: Callable[[], Store]) -> Store:
    """A store that drives, with one operation that runs and one that waits."""
    store = opened()
    assert store.claim("one, process 1", NOW) == 1
    store.adopt({f"n{number}": an_applied() for number in range(1, 5)}, "ada", NOW)
    store.create([an_operation("o1", "n1"), an_operation("o3", "n3")], NOW, None)
    store.create([an_operation("o4", "n4")], NOW, None)
    store.finish(ended(an_operation("o4", "n4"), OperationState.FAILED), None, NOW)
    store.hold(["n4"], "fan", "ada", NOW)
    store.consent(["given"], NOW)
    assert store.admit(RUNNING, FLEET, NOW)
    return store


def everything(store: Store) -> object:
    return (store.memory(), store.journal(None, 99), store.observed(), store.fact("cycle"))


@pytest.mark.parametrize("step", [*STEPS, *BESIDE])
def test_a_store_that_was_superseded_writes_nothing(
    first: Store, opened: Callable[[], Store], step: str
) -> None:
    second = opened()
    assert second.claim("two, process 2", after(60)) == 2
    before = everything(second)
    with pytest.raises(FencedError, match="two, process 2 drives with this store since 2026-11-20"):
        (STEPS | BESIDE)[step](first)
    with pytest.raises(FencedError), first.batch():
        (STEPS | BESIDE)[step](first)
    assert everything(second) == everything(first) == before, "and may still look"
    (STEPS | BESIDE)[step](second)
    assert everything(second) != before, "it is the step that counts"


@pytest.mark.parametrize("step", STEPS)
def test_a_store_that_never_claimed_writes_no_steps_where_somebody_drives(
    first: Store, opened: Callable[[], Store], step: str
) -> None:
    beside = opened()
    before = everything(first)
    with pytest.raises(FencedError, match="another process drives with this store"):
        STEPS[step](beside)
    assert everything(first) == before
    STEPS[step](first)
    assert everything(first) != before


@pytest.mark.parametrize("step", BESIDE)
def test_operators_work_beside_the_one_who_drives(
    first: Store, opened: Callable[[], Store], step: str
) -> None:
    before = everything(first)
    BESIDE[step](opened())
    assert everything(first) != before
    first.confirm()
    assert first.save(replace(RUNNING, effects=1), "outcome", NOW)


def test_a_claim_in_the_middle_of_a_batch_waits_for_its_end(
    first: Store, opened: Callable[[], Store]
) -> None:
    second = opened()
    claiming = threading.Thread(target=second.claim, args=("two", NOW))
    with first.batch():
        assert first.save(replace(RUNNING, effects=1), "outcome", NOW)
        claiming.start()
        claiming.join(0.3)
        assert claiming.is_alive(), "the batch is whole, or not at all"
    claiming.join(30)
    with pytest.raises(FencedError), first.batch():
        first.save(replace(RUNNING, effects=2), "outcome", NOW)
    operation = second.memory().nodes["n1"].operation
    assert operation is not None
    assert operation.effects == 1
    with pytest.raises(StoreError, match="within a batch"), second.batch():
        second.claim("two", NOW)


def test_confirm_says_who_drives_now(first: Store, opened: Callable[[], Store]) -> None:
    first.confirm()
    second = opened()
    with pytest.raises(StoreError, match="was not claimed"):
        second.confirm()
    second.claim("two", after(60))
    second.confirm()
    with pytest.raises(FencedError, match=r"two drives .* since 2026-11-20 08:01:00 UTC"):
        first.confirm()
    assert first.claim("one again", after(61)) == 3
    first.confirm()
    with pytest.raises(FencedError, match="one again"):
        second.confirm()


def test_where_nobody_claimed_anyone_writes_steps(opened: Callable[[], Store]) -> None:
    stores = opened(), opened()
    stores[0].adopt({"n1": None}, "ada", NOW)
    assert stores[0].create([an_operation("o1", "n1")], NOW, None)
    assert stores[1].admit(RUNNING, FLEET, NOW)
    assert stores[0].save(replace(RUNNING, effects=1), "outcome", NOW)


def test_a_store_that_was_restored_does_not_take_an_old_driver_for_the_new_one(
    first: Store, opened: Callable[[], Store], url: str
) -> None:
    engine = open_engine(url)
    with begin_writing(engine) as connection:
        # As in a copy from before the claim of the first one.
        connection.exec_driver_sql(
            "UPDATE meta SET epoch = 0, claimed_at = NULL, claimed_by = NULL"
        )
    engine.dispose()
    assert opened().claim("two", after(60)) == 1
    with pytest.raises(FencedError):
        first.confirm()
    with pytest.raises(FencedError):
        first.put_fact("cycle", "{}", NOW)
