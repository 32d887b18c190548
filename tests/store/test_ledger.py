"""The ledger against a model of it, under any order of calls, outdated and failing ones too."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from postgres import TEMPLATE, Server
from store_samples import (
    NOW,
    admitted,
    after,
    an_applied,
    an_operation,
    ended,
    pending_again,
)

from metalwright.model.operation import Operation, OperationState
from metalwright.store import Store

NODES = ("n1", "n2", "n3", "n4", "n5")
RACK = {"n1": "a01", "n2": "a01", "n3": "a01", "n4": "a02", "n5": "a02"}
ENDS = (OperationState.ACTIVE, OperationState.FAILED, OperationState.SUPERSEDED)


class UndoError(Exception):
    """Leaves a batch."""


class LedgerMachine(RuleBasedStateMachine):
    """Two openings of one store; what either does, both see."""

    def __init__(self, database: Callable[[], AbstractContextManager[str]]) -> None:
        super().__init__()
        self.closing = ExitStack()
        url = self.closing.enter_context(database())
        openings = (self.closing.enter_context(Store.open(url)) for _ in range(2))
        self.stores = next(openings), next(openings)
        self.current: dict[str, Operation] = {}
        self.old: list[Operation] = []
        self.failed: dict[str, Operation] = {}
        self.carries: dict[str, Any] = {}
        self.limits = {"fleet": 2, "label/rack=a01": 1, "label/rack=a02": 2}
        self.held: dict[str, tuple[str, ...]] = {}
        self.made = 0

    def teardown(self) -> None:
        self.closing.close()

    @initialize()
    def adopt(self) -> None:
        self.stores[0].adopt(dict.fromkeys(NODES, an_applied()), "ada", NOW)
        self.carries = dict.fromkeys(NODES, an_applied())

    def scopes(self, node: str) -> tuple[str, ...]:
        return ("fleet", f"label/rack={RACK[node]}")

    def count(self, scope: str) -> int:
        return sum(scope in scopes for scopes in self.held.values())

    def remember_old(self, node: str) -> None:
        self.old = [*self.old[-20:], self.current[node]]

    @rule(which=st.integers(0, 1), nodes=st.lists(st.sampled_from(NODES), min_size=1, max_size=3))
    def create(self, which: int, nodes: list[str]) -> None:
        wanted = []
        for node in nodes:
            self.made += 1
            wanted.append(an_operation(f"o{self.made}", node, created_at=after(self.made)))
        made = self.stores[which].create(wanted, NOW, None)
        expected = []
        for operation in wanted:
            if operation.node not in self.current:
                self.current[operation.node] = operation
                expected.append(operation)
        assert list(made) == expected

    @rule(which=st.integers(0, 1), node=st.sampled_from(NODES))
    def admit(self, which: int, node: str) -> None:
        operation = self.current.get(node)
        if operation is None:
            return
        scopes = self.scopes(node)
        fits = all(self.count(scope) < self.limits[scope] for scope in scopes)
        can = operation.state is OperationState.PENDING and fits
        running = admitted(operation)
        limits = {scope: self.limits[scope] for scope in scopes}
        assert self.stores[which].admit(running, limits, NOW) is can
        if can:
            self.remember_old(node)
            self.current[node], self.held[running.id] = running, scopes
            self.carries[node] = None

    @rule(which=st.integers(0, 1), node=st.sampled_from(NODES), effects=st.integers(0, 3))
    def save(self, which: int, node: str, effects: int) -> None:
        operation = self.current.get(node)
        if operation is None or operation.state is not OperationState.RUNNING:
            return
        stepped = replace(operation, effects=effects)
        assert self.stores[which].save(stepped, "outcome", NOW)
        self.current[node] = stepped

    @rule(which=st.integers(0, 1), node=st.sampled_from(NODES))
    def retry(self, which: int, node: str) -> None:
        operation = self.current.get(node)
        if operation is None or operation.state is not OperationState.RUNNING:
            return
        waits = pending_again(operation)
        assert self.stores[which].retry(waits, NOW)
        self.remember_old(node)
        self.current[node] = waits
        del self.held[waits.id]

    @rule(which=st.integers(0, 1), node=st.sampled_from(NODES), state=st.sampled_from(ENDS))
    def finish(self, which: int, node: str, state: OperationState) -> None:
        operation = self.current.get(node)
        if operation is None:
            return
        done = ended(operation, state)
        applied = an_applied(at=after(self.made)) if state is OperationState.ACTIVE else None
        assert self.stores[which].finish(done, applied, NOW)
        self.remember_old(node)
        del self.current[node]
        self.held.pop(done.id, None)
        if state is OperationState.ACTIVE:
            self.carries[node] = applied
            self.failed.pop(node, None)
        elif state is OperationState.FAILED:
            self.failed[node] = done

    @rule(which=st.integers(0, 1), pick=st.integers(0, 20))
    def outdated(self, which: int, pick: int) -> None:
        """What belongs to an earlier attempt, or to an operation that is over, changes nothing."""
        if not self.old:
            return
        operation = self.old[pick % len(self.old)]
        now = self.current.get(operation.node)
        if now is not None and now.id == operation.id and now.fence == operation.fence:
            return
        store = self.stores[which]
        running = replace(operation, state=OperationState.RUNNING)
        assert not store.save(running, "outcome", NOW)
        assert not store.finish(ended(operation, OperationState.ACTIVE), an_applied(), NOW)
        if now is None or now.id != operation.id:
            assert not store.retry(pending_again(operation), NOW)
            assert not store.admit(admitted(operation), {"fleet": 100}, NOW)

    @rule(which=st.integers(0, 1), node=st.sampled_from(NODES))
    def rolled_back(self, which: int, node: str) -> None:
        """A cycle that fails at its end has changed nothing."""
        store, operation = self.stores[which], self.current.get(node)
        try:
            with store.batch():
                store.create([an_operation("never", node)], NOW, "f" * 40)
                if operation is not None:
                    done = ended(operation, OperationState.CANCELLED)
                    assert store.finish(done, None, NOW)
                store.memory()
                raise UndoError
        except UndoError:
            pass

    @rule(fleet=st.integers(1, 3), rack=st.integers(1, 3))
    def change_limits(self, fleet: int, rack: int) -> None:
        self.limits |= {"fleet": fleet, "label/rack=a01": rack}

    @rule(which=st.integers(0, 1))
    def mend(self, which: int) -> None:
        assert set(self.stores[which].retry_failed(NODES, "ada", NOW)) == set(self.failed)
        self.failed.clear()

    @invariant()
    def both_remember_the_same(self) -> None:
        if not self.carries:
            return
        for store in self.stores:
            memory = store.memory()
            for node in NODES:
                remembered = memory.nodes[node]
                assert remembered.operation == self.current.get(node)
                assert remembered.failed == self.failed.get(node)
                assert remembered.applied == self.carries[node]
            counts = {scope: self.count(scope) for scope in self.limits if self.count(scope)}
            assert memory.slots == counts

    @invariant()
    def slots_are_the_running_ones(self) -> None:
        held: dict[str, set[str]] = {}
        for scope, holders in self.stores[0].slots().items():
            for operation_id in holders.values():
                held.setdefault(operation_id, set()).add(scope)
        assert held == {key: set(scopes) for key, scopes in self.held.items()}

    @invariant()
    def the_journal_has_no_gaps(self) -> None:
        lines = self.stores[1].journal(None, 10_000)
        assert [line.seq for line in lines] == list(range(len(lines), 0, -1))


@contextmanager
def a_file() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        yield f"sqlite:///{Path(directory) / 'store.sqlite'}"


def run(database: Callable[[], AbstractContextManager[str]], examples_max: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        lambda: LedgerMachine(database),
        settings=settings(
            max_examples=examples_max,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        ),
    )


def test_the_ledger_is_its_model() -> None:
    run(a_file, 25)


@pytest.mark.live
def test_the_ledger_is_its_model_on_postgresql(server: Server) -> None:
    run(lambda: server.database(TEMPLATE), 10)
