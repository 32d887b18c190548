"""The slot ledger against a model of it that is small enough to be believed.

The model knows nothing of SQL, fences or transactions: a table of nodes, the operation of each, and
the slots that it holds. Two openings of one store are driven by the same rules, one of them with
values that the other has long overtaken, and either may die at any instant.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from model_samples import APPLIED, START, an_empty_store, an_operation, at

from metalwright.errors import FencedError, StoreError
from metalwright.model.operation import (
    TERMINAL,
    Applied,
    Effect,
    EffectKind,
    JournalEntry,
    LocalHold,
    Operation,
    OperationState,
    Stage,
    Verb,
)
from metalwright.store import Store

RACK_OF = {"n1": "a01", "n2": "a01", "n3": "a01", "n4": "a02", "n5": "a02"}
NODES = tuple(RACK_OF)
ENDS = sorted(TERMINAL)
UNFINISHED = (OperationState.PENDING, OperationState.RUNNING)
GIVES_BACK = {"retry", *(state.value for state in TERMINAL)}
WRITERS = st.integers(0, 1)
MOSTLY = st.sampled_from([True, True, True, True, False])
PICKS = st.integers(0, 4)
OLD_MAX = 30


@dataclass
class ModelNode:
    """What the store should remember of one node."""

    applied: Applied | None
    former: Applied | None = None
    operation: Operation | None = None
    failed: Operation | None = None
    failures: int = 0
    hold: LocalHold | None = None
    slots: dict[str, int] = field(default_factory=dict)


class KilledError(Exception):
    """The process dies here."""


def scopes_of(node: str) -> tuple[str, ...]:
    return ("fleet", f"label/rack={RACK_OF[node]}")


def begun(operation: Operation) -> Operation:
    intent = Effect(kind=EffectKind.SOFT_POWER_OFF, operation_id=operation.id)
    return replace(
        operation,
        state=OperationState.RUNNING,
        stage=Stage.POWER_OFF,
        attempt=operation.attempt + 1,
        fence=operation.fence + 1,
        intent=intent,
        intent_at=at(1),
        stage_deadline_at=at(300),
    )


def pending_again(operation: Operation) -> Operation:
    return replace(
        operation,
        state=OperationState.PENDING,
        stage=None,
        intent=None,
        fence=operation.fence + 1,
        not_before=at(60),
    )


def over(operation: Operation, state: OperationState) -> Operation:
    return replace(operation, state=state, ended_at=at(9))


def held_by_journal(lines: list[JournalEntry]) -> dict[str, dict[int, str]]:
    """Scope, number and operation of every slot that a journal, oldest first, says is held."""
    held: dict[str, dict[int, str]] = {}
    for line in lines:
        if line.event == "admitted":
            for part in line.detail.split(", "):
                scope, _, number = part.rpartition("#")
                holders = held.setdefault(scope, {})
                assert int(number) not in holders, line
                assert line.operation_id is not None
                holders[int(number)] = line.operation_id
        elif line.event in GIVES_BACK:
            for holders in held.values():
                for number in [n for n, each in holders.items() if each == line.operation_id]:
                    del holders[number]
    return {scope: holders for scope, holders in held.items() if holders}


class LedgerModel(RuleBasedStateMachine):
    """Two openings of one store beside the model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory(prefix="metalwright-ledger-")
        self.url = an_empty_store(Path(self.directory.name))
        self.stores = [Store.open(self.url), Store.open(self.url)]
        self.nodes: dict[str, ModelNode] = {}
        self.limits = {"fleet": 2, "label/rack=a01": 1, "label/rack=a02": 2}
        self.old: list[Operation] = []
        self.fences: dict[str, int] = {}
        self.clock = 0
        self.driver: int | None = None
        self.superseded: set[int] = set()

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        self.directory.cleanup()

    @initialize()
    def first_adoption(self) -> None:
        self.stores[0].adopt(dict.fromkeys(NODES, APPLIED), "ada", START)
        self.nodes = {node: ModelNode(applied=APPLIED) for node in NODES}
        self.create(which=0, drives=True, nodes=list(NODES), verb=Verb.REBOOT)

    # What the rules speak of.

    def held(self) -> dict[str, dict[int, str]]:
        found: dict[str, dict[int, str]] = {}
        for node in self.nodes.values():
            for scope, number in node.slots.items():
                assert node.operation is not None
                assert number not in found.setdefault(scope, {}), "one slot has two holders"
                found[scope][number] = node.operation.id
        return found

    def operation_of(self, node: str, *states: OperationState) -> Operation | None:
        known = self.nodes.get(node)
        if known is None or known.operation is None or known.operation.state not in states:
            return None
        return known.operation

    def picked(self, pick: int, *states: OperationState) -> Operation | None:
        """One of the operations in these states, so that most rules have something to do."""
        found = [each for node in NODES if (each := self.operation_of(node, *states)) is not None]
        return found[pick % len(found)] if found else None

    def writer(self, which: int, drives: bool) -> int:
        """The store that a step is written with: mostly the one that may."""
        return self.driver if drives and self.driver is not None else which

    def limits_of(self, node: str) -> dict[str, int]:
        return {scope: self.limits[scope] for scope in scopes_of(node)}

    def leave_behind(self, operation: Operation) -> None:
        self.old = [*self.old[1 - OLD_MAX :], operation]

    def is_fenced(self, which: int, write: Callable[[Store], object], *, step: bool = True) -> bool:
        """Whether the write is refused: any one of a store that drove and does so no more, and a
        step of an operation where another one drives.
        """
        if which not in self.superseded and (not step or self.driver in (None, which)):
            return False
        with pytest.raises(FencedError):
            write(self.stores[which])
        return True

    # The rules.

    @rule(which=WRITERS, what=st.sampled_from(["claim", "crash", "crash within"]), pick=PICKS)
    def a_process(self, which: int, what: str, pick: int) -> None:
        """Takes over, is killed between two transactions, or within one."""
        if what == "claim":
            self.claim(which)
        elif what == "crash":
            self.crash(which)
        else:
            self.crash_within(which, NODES[pick])

    @rule(
        which=WRITERS,
        node=st.sampled_from(NODES),
        what=st.sampled_from(["hold", "resume", "resume", "cancel", "adopt", "rebuild", "forget"]),
    )
    def an_operator(self, which: int, node: str, what: str) -> None:
        """Brakes, and who belongs to the fleet."""
        match what:
            case "hold":
                self.hold(which, node)
            case "resume":
                self.resume(which, node)
            case "cancel":
                self.ask_for_the_end(which, node)
            case "forget":
                self.forget(which, node)
            case _:
                self.adopt(which, node, what == "adopt")

    def claim(self, which: int) -> None:
        """The other one drives no more."""
        self.stores[which].claim(f"daemon {which}", START)
        if self.driver is not None:
            self.superseded.add(self.driver)
        self.superseded.discard(which)
        self.driver = which

    def hold(self, which: int, node: str) -> None:
        if self.is_fenced(
            which, lambda store: store.hold([node], "a fan", "ada", START), step=False
        ):
            return
        held = self.stores[which].hold([node], "a fan", "ada", START)
        assert held == ((node,) if node in self.nodes else ())
        if held:
            self.nodes[node].hold = LocalHold(reason="a fan", by="ada", at=START)

    def resume(self, which: int, node: str) -> None:
        if self.is_fenced(which, lambda store: store.resume([node], "ada", START), step=False):
            return
        mine = self.nodes.get(node)
        held = mine is not None and mine.hold is not None
        assert self.stores[which].resume([node], "ada", START) == ((node,) if held else ())
        if mine is not None:
            mine.hold, mine.failures = None, 0

    def ask_for_the_end(self, which: int, node: str) -> None:
        """An operator's `cancel`: a mark that no write of the engine takes away."""
        if self.is_fenced(which, lambda store: store.cancel([node], "ada", START), step=False):
            return
        operation = self.operation_of(node, *UNFINISHED)
        fresh = operation is not None and not operation.cancelled_by
        assert self.stores[which].cancel([node], "ada", START) == ((node,) if fresh else ())
        if operation is not None and fresh:
            self.nodes[node].operation = replace(operation, cancelled_by="ada")

    def adopt(self, which: int, node: str, known: bool) -> None:
        applied = replace(APPLIED, at=at(self.clock)) if known else None
        if self.is_fenced(
            which, lambda store: store.adopt({node: applied}, "ada", START), step=False
        ):
            return
        mine = self.nodes.get(node)
        if mine is not None and mine.operation is not None:
            with pytest.raises(StoreError, match="under way"):
                self.stores[which].adopt({node: applied}, "ada", START)
            return
        self.stores[which].adopt({node: applied}, "ada", START)
        self.nodes[node] = ModelNode(
            applied=applied,
            failures=mine.failures if mine is not None else 0,
            hold=mine.hold if mine is not None else None,
        )

    def forget(self, which: int, node: str) -> None:
        if self.is_fenced(which, lambda store: store.forget(node, "ada", START), step=False):
            return
        mine = self.nodes.get(node)
        if mine is not None and mine.operation is not None:
            with pytest.raises(StoreError, match="under way"):
                self.stores[which].forget(node, "ada", START)
            return
        assert self.stores[which].forget(node, "ada", START) is (mine is not None)
        self.nodes.pop(node, None)

    @precondition(lambda self: any(node.operation is None for node in self.nodes.values()))
    @rule(
        which=WRITERS,
        drives=MOSTLY,
        nodes=st.lists(st.sampled_from(NODES), min_size=1, max_size=3),
        verb=st.sampled_from([Verb.REBOOT, Verb.POWER_ON]),
    )
    def create(self, which: int, drives: bool, nodes: list[str], verb: Verb) -> None:
        which = self.writer(which, drives)
        wanted = []
        for node in nodes:
            self.clock += 1
            key = f"o{self.clock}"
            wanted.append(an_operation(key, node, verb=verb, created_at=at(self.clock)))
        if self.is_fenced(which, lambda store: store.create(wanted, START, None)):
            return
        expected = []
        for operation in wanted:
            mine = self.nodes.get(operation.node)
            if mine is not None and mine.operation is None:
                mine.operation = operation
                expected.append(operation)
        assert list(self.stores[which].create(wanted, START, None)) == expected

    @precondition(lambda self: self.picked(0, OperationState.PENDING))
    @rule(which=WRITERS, drives=MOSTLY, pick=PICKS)
    def admit(self, which: int, drives: bool, pick: int) -> None:
        which = self.writer(which, drives)
        pending = self.picked(pick, OperationState.PENDING)
        assert pending is not None
        node = pending.node
        held, limits = self.held(), self.limits_of(node)
        running = begun(pending)
        if self.is_fenced(which, lambda store: store.admit(running, limits, START)):
            return
        fits = all(len(held.get(scope, ())) < limit for scope, limit in limits.items())
        fits = fits and not pending.cancelled_by and self.nodes[node].hold is None
        assert self.stores[which].admit(running, limits, START) is fits
        if not fits:
            return
        mine = self.nodes[node]
        mine.operation = running
        mine.slots = {
            scope: min(set(range(limit)) - held.get(scope, {}).keys())
            for scope, limit in limits.items()
        }
        if running.verb is not Verb.POWER_ON and mine.applied is not None:
            mine.applied, mine.former = None, mine.applied
        self.leave_behind(pending)

    @precondition(lambda self: self.picked(0, OperationState.RUNNING))
    @rule(which=WRITERS, drives=MOSTLY, pick=PICKS, effects=st.integers(0, 3))
    def save(self, which: int, drives: bool, pick: int, effects: int) -> None:
        which = self.writer(which, drives)
        running = self.picked(pick, OperationState.RUNNING)
        assert running is not None
        node = running.node
        stepped = replace(running, effects=effects)
        if self.is_fenced(which, lambda store: store.save(stepped, "outcome", START)):
            return
        assert self.stores[which].save(stepped, "outcome", START)
        self.nodes[node].operation = stepped

    @precondition(lambda self: self.picked(0, OperationState.RUNNING))
    @rule(which=WRITERS, drives=MOSTLY, pick=PICKS)
    def retry(self, which: int, drives: bool, pick: int) -> None:
        which = self.writer(which, drives)
        running = self.picked(pick, OperationState.RUNNING)
        assert running is not None
        node = running.node
        waits = pending_again(running)
        if self.is_fenced(which, lambda store: store.retry(waits, START)):
            return
        assert self.stores[which].retry(waits, START)
        self.nodes[node].operation, self.nodes[node].slots = waits, {}
        self.leave_behind(running)

    @precondition(lambda self: self.picked(0, *UNFINISHED))
    @rule(which=WRITERS, drives=MOSTLY, pick=PICKS, state=st.sampled_from(ENDS))
    def finish(self, which: int, drives: bool, pick: int, state: OperationState) -> None:
        """Its target is reached, it failed, it was cancelled, or git wants something else."""
        which = self.writer(which, drives)
        operation = self.picked(pick, *UNFINISHED)
        assert operation is not None
        node = operation.node
        self.clock += 1
        applied = replace(APPLIED, at=at(self.clock)) if state is OperationState.ACTIVE else None
        done = over(operation, state)
        if self.is_fenced(which, lambda store: store.finish(done, applied, START)):
            return
        assert self.stores[which].finish(done, applied, START)
        mine = self.nodes[node]
        mine.operation, mine.slots = None, {}
        if applied is not None:
            mine.applied, mine.former, mine.failed, mine.failures = applied, None, None, 0
        elif state is OperationState.FAILED:
            mine.failed = done
            mine.failures += 1
        elif state is OperationState.CANCELLED and operation.cancelled_by:
            mine.failed = done
        self.leave_behind(operation)

    @precondition(lambda self: any(node.failed for node in self.nodes.values()))
    @rule(which=WRITERS)
    def retry_failed(self, which: int) -> None:
        if self.is_fenced(which, lambda store: store.retry_failed(NODES, "ada", START), step=False):
            return
        failed = {name for name, node in self.nodes.items() if node.failed is not None}
        assert set(self.stores[which].retry_failed(NODES, "ada", START)) == failed
        for name in failed:
            self.nodes[name].failed = None

    @rule(fleet=st.integers(1, 4), rack=st.integers(1, 3))
    def change_limits(self, fleet: int, rack: int) -> None:
        """Raised or lowered in use: what holds a slot keeps it."""
        self.limits |= {"fleet": fleet, "label/rack=a01": rack}

    @precondition(lambda self: self.old)
    @rule(which=WRITERS, pick=st.integers(0, OLD_MAX), state=st.sampled_from(ENDS))
    def outdated(self, which: int, pick: int, state: OperationState) -> None:
        """A second writer with what was true once: each of its writes is refused."""
        stale = self.old[pick % len(self.old)]
        mine = self.nodes.get(stale.node)
        now = mine.operation if mine is not None else None
        if now is not None and (now.id, now.fence) == (stale.id, stale.fence):
            return
        running = replace(stale, state=OperationState.RUNNING)
        if self.is_fenced(which, lambda store: store.save(running, "outcome", START)):
            return
        store = self.stores[which]
        assert not store.save(running, "outcome", START)
        assert not store.finish(over(stale, state), APPLIED, START)
        assert not store.retry(pending_again(stale), START)
        assert not store.admit(begun(stale), dict.fromkeys(scopes_of(stale.node), 9), START)

    def crash(self, which: int) -> None:
        """Killed between two transactions, and started again: the one that drives claims anew."""
        self.stores[which].close()
        self.stores[which] = Store.open(self.url)
        self.superseded.discard(which)
        if self.driver == which:
            self.claim(which)

    def crash_within(self, which: int, node: str) -> None:
        """Killed with a transaction half-written: nothing of it was ever there."""
        if self.driver not in (None, which) or which in self.superseded:
            return
        with pytest.raises(KilledError):
            self.write_half(self.stores[which], node)
        self.crash(which)

    def write_half(self, store: Store, node: str) -> None:
        mine = self.nodes.get(node)
        never = an_operation("never", node)
        with store.batch():
            if mine is not None and mine.operation is not None:
                store.finish(over(mine.operation, OperationState.CANCELLED), None, START)
            store.create([never], START, "f" * 40)
            store.admit(begun(never), self.limits_of(node), START)
            store.memory()
            raise KilledError

    # What holds after every rule.

    @invariant()
    def both_remember_what_the_model_does(self) -> None:
        if not self.nodes:
            return
        for store in self.stores:
            memory = store.memory()
            assert set(memory.nodes) == set(self.nodes)
            for name, mine in self.nodes.items():
                found = memory.nodes[name]
                assert (found.applied, found.former) == (mine.applied, mine.former)
                assert (found.operation, found.failed) == (mine.operation, mine.failed)
                assert (found.failures, found.hold) == (mine.failures, mine.hold)
            assert memory.slots == {scope: len(each) for scope, each in self.held().items()}

    @invariant()
    def slots_are_of_running_operations_and_numbered_once(self) -> None:
        running = {
            node.operation.id
            for node in self.nodes.values()
            if node.operation is not None and node.operation.state is OperationState.RUNNING
        }
        for store in self.stores:
            slots: Mapping[str, Mapping[int, str]] = store.slots()
            assert slots == self.held()
            holders = {key for scope in slots.values() for key in scope.values()}
            assert holders == running
            for scope in slots.values():
                assert len(set(scope.values())) == len(scope), "an operation has two slots"

    @invariant()
    def one_unfinished_operation_for_a_node_and_fences_only_grow(self) -> None:
        seen: set[str] = set()
        for operation in self.stores[0].operations(None, 10_000):
            assert operation.fence >= self.fences.get(operation.id, 0)
            self.fences[operation.id] = operation.fence
            if operation.unfinished:
                assert operation.node not in seen
                seen.add(operation.node)

    @invariant()
    def the_journal_explains_every_slot(self) -> None:
        lines = list(self.stores[1].journal(None, 10_000))[::-1]
        assert [line.seq for line in lines] == list(range(1, len(lines) + 1))
        assert held_by_journal(lines) == self.stores[1].slots()


LedgerModel.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=50,
    deadline=None,
    derandomize=settings().derandomize,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestLedgerModel = LedgerModel.TestCase
