"""The admission protocol of two daemons, step by step, on the real store.

What is explored: two daemons that know nothing of each other, three nodes that git wants switched
on, a fleet limit of two and a rack limit of one. A daemon starts (and claims the store), reads the
memory and the power of a node, acts on what it read (however old that is by now), its call to the
BMC lands, or does nothing, its answer is recorded, and it may die between any two of these steps
and start again, without bound. Every order of all these steps is a path; reading and acting are
two steps where another daemon comes between them, and one where nobody does.

A daemon that another one has taken over from is not told: it goes on until the store refuses it.
One thing is taken for granted, because no store can see to it: a call that is under way when
another daemon takes over has ended (landed or not) before the new one asks that node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

from explored_ledger import FENCED, ExploredLedger, Writer
from model_samples import APPLIED, TARGET, an_operation, at

from metalwright.model.operation import (
    Effect,
    EffectKind,
    Operation,
    OperationState,
    Stage,
    Verb,
)

NODES = ("n1", "n2", "n3")
LIMITS_OF = {
    "n1": {"fleet": 2, "label/rack=a01": 1},
    "n2": {"fleet": 2, "label/rack=a01": 1},
    "n3": {"fleet": 2},
}
ATTEMPTS_MAX_OF = {"n1": 2, "n2": 1, "n3": 2}
WANTED = replace(APPLIED, target=replace(TARGET, digest="b" * 64))
PENDING, RUNNING = OperationState.PENDING, OperationState.RUNNING


class Known(NamedTuple):
    """An unfinished operation, as far as the protocol goes."""

    id: str
    node: str
    state: OperationState
    fence: int


class View(NamedTuple):
    """What a daemon read of one node: its operation, whether anything is to be done, its power."""

    node: str
    operation: Known | None
    settled: bool
    on: bool


class InFlight(NamedTuple):
    """A call to a BMC: out, then answered, whether it landed or nothing came of it."""

    operation: Known
    out: bool


class Daemon(NamedTuple):
    """A process: dead, or alive as the one that claimed the store last, or as an outdated one."""

    writer: Writer | None = None
    view: View | None = None
    calls: tuple[InFlight, ...] = ()


class State(NamedTuple):
    """The store, the calls that ever reached a machine, and the daemons."""

    content: int
    landed: tuple[tuple[str, int], ...] = ()
    daemons: tuple[Daemon, Daemon] = (Daemon(), Daemon())


class Step(NamedTuple):
    """What happened, in words for a trace, and the state after it."""

    what: str
    state: State


class BrokenError(AssertionError):
    """A promise was broken."""


def value_of(known: Known) -> Operation:
    """The operation that a daemon has in its hands."""
    begun = known.state is RUNNING
    intent = Effect(kind=EffectKind.POWER_ON, operation_id=known.id)
    return an_operation(
        known.id,
        known.node,
        verb=Verb.POWER_ON,
        stages=(Stage.BOOT,),
        target=WANTED.target,
        state=known.state,
        fence=known.fence,
        attempt=(known.fence + 1) // 2,
        stage=Stage.BOOT if begun else None,
        intent=intent if begun else None,
        intent_at=at(1) if begun else None,
        ended_at=at(3) if not (begun or known.state is PENDING) else None,
    )


class Protocol:
    """The steps that each daemon may take, and what has to hold in every state."""

    def __init__(self, ledger: ExploredLedger, *, calls_end_first: bool = True) -> None:
        self._ledger = ledger
        self._calls_end_first = calls_end_first
        self.first = State(ledger.first)

    def steps(self, state: State) -> Iterator[Step]:
        """Every step that may come next."""
        for what, after in self._steps(state):
            yield Step(what, _same(after))

    def _steps(self, state: State) -> Iterator[Step]:
        for which, daemon in enumerate(state.daemons):
            if daemon.writer is None:
                yield from self._start(state, which)
                continue
            yield Step(f"{_who(daemon)} is killed", _with(state, which, Daemon()))
            for call in daemon.calls:
                yield from self._call(state, which, call)
            views = (daemon.view,) if daemon.view is not None else self._views(state, which)
            for view in views:
                yield self._act(state, which, view)

    def check(self, state: State) -> None:
        """No limit is exceeded, by the ledger or by the machines themselves."""
        held: dict[str, set[str]] = {}
        busy = {call.operation.node for each in state.daemons for call in each.calls if call.out}
        for scope, _, operation in self._ledger.slots(state.content):
            held.setdefault(scope, set()).add(operation.partition(".")[0])
        for scope, limit in LIMITS_OF["n1"].items():
            at_work = held.get(scope, set()) | {node for node in busy if scope in LIMITS_OF[node]}
            if len(at_work) > limit:
                raise BrokenError(f"{scope} has {limit} slots, at work are {sorted(at_work)}")
        if len(state.landed) != len(set(state.landed)):
            raise BrokenError(f"one intent was carried out twice: {state.landed}")
        made = self._ledger.operations(state.content)
        for node in NODES:
            if len([each for each in made if each.startswith(f"{node}.")]) > 1:
                raise BrokenError(f"{node} has been given two operations for one change")

    def is_goal(self, state: State) -> bool:
        """Everything is as wanted, or was tried as often as it may be; nothing is left behind."""
        calls = any(each.calls for each in state.daemons)
        settled = all(self._view(state, node).settled for node in NODES)
        return settled and not calls and not self._ledger.slots(state.content)

    def _view(self, state: State, node: str) -> View:
        memory = self._ledger.memory(state.content)
        found = memory.nodes[node]
        operation = found.operation
        known = None
        if operation is not None:
            known = Known(operation.id, node, operation.state, operation.fence)
        carries = found.applied is not None and found.applied.target == WANTED.target
        settled = known is None and (carries or found.failed is not None)
        on = known is not None and known.state is RUNNING
        on = on and any(key.startswith(f"{node}.") for key, _ in state.landed)
        return View(node, known, settled, on)

    def _views(self, state: State, which: int) -> Iterator[View]:
        """What a daemon may read now and act on: nothing is decided while a call is in flight."""
        for node in NODES:
            view = self._view(state, node)
            mine = any(call.operation.node == node for call in state.daemons[which].calls)
            if not mine and not view.settled and not self._called_by_other(state, which, node):
                yield view

    def _start(self, state: State, which: int) -> Iterator[Step]:
        """It claims the store. The other one, if it lives, is outdated from now on, and so may be
        what it has just read.
        """
        fresh = _with(state, which, Daemon(writer=Writer.CURRENT))
        other = state.daemons[1 - which]
        if other.writer is None:
            yield Step("a daemon starts", fresh)
            return
        outdated = other._replace(writer=Writer.OUTDATED)
        yield Step("another daemon takes over", _with(fresh, 1 - which, outdated))
        if other.view is None:
            for view in self._views(state, 1 - which):
                told = f"{_who(other)} reads {view.node}, another one takes over"
                yield Step(told, _with(fresh, 1 - which, outdated._replace(view=view)))

    def _act(self, state: State, which: int, view: View) -> Step:
        known, node = view.operation, view.node
        if known is None:
            return self._write(state, which, "create", self._fresh(state, node))
        if known.state is PENDING:
            return self._write(state, which, "admit", known)
        if view.on:
            return self._write(state, which, "finish", known)
        last = known.fence >= 2 * ATTEMPTS_MAX_OF[node] - 1
        return self._write(state, which, "fail" if last else "retry", known)

    def _fresh(self, state: State, node: str) -> Known:
        made = [key for key in self._ledger.operations(state.content) if key.startswith(node)]
        return Known(f"{node}.{len(made)}", node, PENDING, 0)

    def _called_by_other(self, state: State, which: int, node: str) -> bool:
        other = state.daemons[1 - which]
        out = any(call.operation.node == node and call.out for call in other.calls)
        return out and self._calls_end_first

    def _call(self, state: State, which: int, call: InFlight) -> Iterator[Step]:
        daemon, (operation, out) = state.daemons[which], call
        rest = tuple(each for each in daemon.calls if each != call)
        if out:
            calls = tuple(sorted((*rest, call._replace(out=False))))
            after = _with(state, which, daemon._replace(calls=calls))
            told = f"{_who(daemon)}'s call for {operation.id} ({operation.fence})"
            yield Step(f"{told}: nothing comes of it", after)
            landed = tuple(sorted((*state.landed, (operation.id, operation.fence))))
            yield Step(f"{told}: lands", after._replace(landed=landed))
        elif daemon.view is None:
            step = self._write(state, which, "record", operation)
            taken = step.state.daemons[which]
            if taken.writer is not None:
                taken = taken._replace(calls=rest)
            yield Step(step.what, _with(step.state, which, taken))

    def _write(self, state: State, which: int, what: str, known: Known) -> Step:
        """One call of the store; what it refuses, the daemon drops."""
        daemon = state.daemons[which]
        assert daemon.writer is not None
        content, done = self._ledger.write(state.content, daemon.writer, what, known)
        told = f"{_who(daemon)}: {what} {known.id} ({known.fence}): {done}"
        if what == "record" and done is True:
            now = self._view(state, known.node).operation
            if now is None or (now.id, now.fence) != (known.id, known.fence):
                raise BrokenError(f"{told}, but by now it is {now}")
        after = state._replace(content=content)
        if done == FENCED:  # it stops
            return Step(told, _with(after, which, Daemon()))
        calls = daemon.calls
        if what == "admit" and done is True:
            begun = known._replace(state=RUNNING, fence=known.fence + 1)
            calls = tuple(sorted((*calls, InFlight(begun, out=True))))
        return Step(told, _with(after, which, daemon._replace(view=None, calls=calls)))


def _who(daemon: Daemon) -> str:
    return f"the {daemon.writer} daemon"


def _with(state: State, which: int, daemon: Daemon) -> State:
    daemons = (daemon, state.daemons[1]) if which == 0 else (state.daemons[0], daemon)
    return State(state.content, state.landed, daemons)


def _same(state: State) -> State:
    """One state for two that differ only in which daemon is which."""
    first, second = state.daemons
    if hash(first) > hash(second):
        return State(state.content, state.landed, (second, first))
    return state


def call_of(what: str, known: Known) -> Any:
    """The store's method and its arguments for a step of the protocol."""
    operation = value_of(known)
    match what:
        case "create":
            return lambda store: len(store.create([operation], at(0), None)) == 1
        case "admit":
            begun = value_of(known._replace(state=RUNNING, fence=known.fence + 1))
            return lambda store: store.admit(begun, LIMITS_OF[known.node], at(1))
        case "record":
            return lambda store: store.save(operation, "outcome", at(2))
        case "retry":
            again = value_of(known._replace(state=PENDING, fence=known.fence + 1))
            return lambda store: store.retry(again, at(3))
        case _:
            ended = OperationState.ACTIVE if what == "finish" else OperationState.FAILED
            over = value_of(known._replace(state=ended))
            applied = WANTED if what == "finish" else None
            return lambda store: store.finish(over, applied, at(3))
