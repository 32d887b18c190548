"""Two daemons, three nodes, two limits: every interleaving there is, on the real store.

The negative controls leave one safeguard out each, and the exploration has to find the way to the
damage: an exploration that finds nothing in a broken protocol would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from admission_protocol import NODES, Protocol, call_of
from exploration import Explored, explore
from explored_ledger import ExploredLedger

from metalwright.model.operation import Applied, Operation
from metalwright.store import Store

STATES_MAX = 400_000


class WithoutFence:
    """The store with the fence left out: every write carries the fence that happens to be right."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _fenced(self, operation: Operation, raised: int = 0) -> Operation:
        stored = self._store.operation(operation.id)
        assert stored is not None
        return replace(operation, fence=stored.fence + raised)

    def create(self, *arguments: Any) -> Any:
        return self._store.create(*arguments)

    def admit(self, operation: Operation, *arguments: Any) -> bool:
        return self._store.admit(self._fenced(operation, 1), *arguments)

    def save(self, operation: Operation, *arguments: Any) -> bool:
        return self._store.save(self._fenced(operation), *arguments)

    def retry(self, operation: Operation, *arguments: Any) -> bool:
        return self._store.retry(self._fenced(operation, 1), *arguments)

    def finish(self, operation: Operation, applied: Applied | None, *arguments: Any) -> bool:
        return self._store.finish(self._fenced(operation), applied, *arguments)


@contextmanager
def a_ledger(
    wrap: Callable[[Store], Any] = lambda store: store, *, claims: bool = True
) -> Iterator[ExploredLedger]:
    ledger = ExploredLedger(NODES, call_of, wrap, claims=claims)
    try:
        yield ledger
    finally:
        ledger.close()


def test_no_interleaving_exceeds_a_limit_repeats_an_intent_or_never_ends() -> None:
    with a_ledger() as ledger:
        found = explore(Protocol(ledger), STATES_MAX)
        print(f"\n{found.states:,} states, {found.transitions:,} transitions, {found.goals} goals,")
        print(f"{len(ledger)} contents of the store, {ledger.writes:,} distinct calls of it")
    assert not found.broken, str(found)
    assert found.stuck == 0, "there are states from which nothing leads to an end"
    assert found.goals > 0
    assert found.states > 100_000


def damage(found: Explored) -> str:
    """The way to it, printed: it is the reason why the safeguard is there."""
    assert found.trace, str(found)
    print("\n" + "\n".join((*found.trace, f"=> {found.broken}")))
    return found.broken


def test_without_claim_and_fence_a_late_answer_is_taken_for_another_attempts() -> None:
    with a_ledger(WithoutFence, claims=False) as ledger:
        found = explore(Protocol(ledger), STATES_MAX)
    assert "but by now it is" in damage(found)


def test_without_a_claim_a_daemon_that_was_slow_makes_an_operation_again() -> None:
    with a_ledger(claims=False) as ledger:
        found = explore(Protocol(ledger), STATES_MAX)
    assert "two operations for one change" in damage(found)


def test_a_call_that_outlives_its_daemon_by_long_is_what_no_store_can_stop() -> None:
    with a_ledger() as ledger:
        found = explore(Protocol(ledger, calls_end_first=False), STATES_MAX)
    assert "at work are" in damage(found)


class CountsEarly:
    """A limit that is compared before the transaction, and not again within it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def admit(self, operation: Operation, limits: Any, *arguments: Any) -> bool:
        unlimited = {scope: limit + 1 for scope, limit in limits.items()}
        return self._store.admit(operation, unlimited, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


@pytest.mark.parametrize("claims", [True, False])
def test_a_limit_that_the_store_does_not_keep_is_exceeded(claims: bool) -> None:
    with a_ledger(CountsEarly, claims=claims) as ledger:
        found = explore(Protocol(ledger), STATES_MAX)
    assert "at work are" in damage(found)
