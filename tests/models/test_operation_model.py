"""The operation table against its promises: from every state, in every situation, to an end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from model_samples import START, at
from operation_world import (
    NODE,
    OTHER,
    SAME,
    SETTLE_S,
    SPAN_MAX_S,
    TRIES_MAX,
    TTL_S,
    World,
    a_reading,
    a_running_operation,
    check,
)

from metalwright.errors import CredentialsError, PermanentError, TemporaryError
from metalwright.execute.advance import decide
from metalwright.execute.situation import Fail, Finish, Supersede
from metalwright.model.observed import Identity, Power, Reading
from metalwright.model.operation import Effect, EffectKind, Operation, Stage

INTENTS: dict[Stage, tuple[EffectKind | None, ...]] = {
    Stage.POWER_OFF: (None, EffectKind.SOFT_POWER_OFF, EffectKind.POWER_OFF),
    Stage.WIPE: (None, EffectKind.WIPE, EffectKind.POWER_OFF),
    Stage.BOOT: (None, EffectKind.SET_BOOT_DEVICE, EffectKind.POWER_ON),
    Stage.INSTALLING: (None,),
    Stage.VALIDATING: (None,),
}
ERRORS: tuple[Exception | None, ...] = (
    None,
    TemporaryError("no session slot"),
    PermanentError("not supported"),
    CredentialsError("refused"),
    ValueError("a bug of the driver"),
)
READINGS = (
    None,
    *(
        a_reading(power, identity=identity, told=told)
        for power in Power
        for identity in (SAME, OTHER, Identity())
        for told in ("nothing", "all", "else")
    ),
)
AGES_S = (-2 * TTL_S, -1.0, 0.0, SETTLE_S, TTL_S, TTL_S + 1, 10 * TTL_S)


def every_state(tries_of: Iterable[int] = range(TRIES_MAX + 1)) -> Iterator[Operation]:
    """Every stage, intent, number of tries, failing or not, acknowledged, lost or never told, with
    time left and without.
    """
    for stage, kinds in INTENTS.items():
        for kind, tries, failing, late in itertools.product(
            kinds, tuple(tries_of), (False, True), (False, True)
        ):
            intent = Effect(kind=kind, operation_id="o1") if kind is not None else None
            told = replace(
                a_running_operation(),
                stage=stage,
                intent=intent,
                tries=tries if intent is not None else 0,
                failing=failing,
                intent_at=at(10),
                acknowledged_at=at(11),
                seen_at=at(5),
                entered_at=at(12),
                stage_deadline_at=at(19 if late else 200),
            )
            yield told
            if intent is not None:
                yield replace(told, acknowledged_at=None)
            else:
                yield replace(told, intent_at=None, acknowledged_at=None)


HEARD: tuple[tuple[tuple[bool, ...], float], ...] = (
    ((), 0.0),
    ((True,), 0.0),
    ((True, False), 0.0),
    ((True, True), 0.0),
    ((True, True), 8.0),
    ((True, True), 9.0),
)
"""What the checks said, and how long ago; the last is from before the stage was entered."""


def test_no_decision_from_any_state_breaks_a_promise() -> None:
    """Every state in every situation: 180 states and 28 answers of seven ages, wanted or not, ours
    to touch, to be asked or neither, left by another process or our own; while validating, checks
    of all kinds.
    """
    decided = 0
    for operation, reading, age_s in itertools.product(every_state(), READINGS, AGES_S):
        for superseded, (node, asked), restarted in itertools.product(
            ("", "a newer commit"), ((NODE, True), (None, True), (None, False)), (False, True)
        ):
            world = World(operation=operation, now=at(20), node=node, superseded=superseded)
            world.asked = asked
            world.started_at = at(12) if restarted else START - timedelta(days=1)
            world.sees(reading, age_s)
            for passed, ago_s in HEARD if operation.stage is Stage.VALIDATING else HEARD[:1]:
                world.hears(*passed, age_s=ago_s)
                situation = world.situation()
                check(operation, situation, decide(operation, situation))
                decided += 1
    assert decided > 200_000


def as_asked(world: World) -> Reading | None:
    """A machine that does what it is told, at once."""
    operation = world.operation
    kind = operation.intent.kind if operation.intent is not None else None
    boots = (Stage.BOOT, Stage.INSTALLING, Stage.VALIDATING)
    on = operation.stage in boots and kind in (None, EffectKind.POWER_ON)
    begun = operation.stage is not Stage.BOOT or kind is not None
    return a_reading(Power.ON if on and begun else Power.OFF, told="all")


def always(reading: Reading | None) -> Callable[[World], Reading | None]:
    return lambda _world: reading


MACHINES: dict[str, Callable[[World], Reading | None]] = {
    "as asked": as_asked,
    "fails its checks": as_asked,
    "passes one check only": as_asked,
    "says nothing of its checks": as_asked,
    "silent": always(None),
    "always on": always(a_reading(Power.ON)),
    "always off": always(a_reading(Power.OFF)),
    "runs something else": always(a_reading(Power.ON, told="else")),
    "unknown power": always(a_reading(Power.UNKNOWN)),
    "another machine": always(a_reading(Power.ON, identity=OTHER)),
    "does not say who it is": always(a_reading(Power.OFF, identity=Identity())),
}


PASSED: dict[str, tuple[bool, ...]] = {
    "fails its checks": (True, False),
    "passes one check only": (True,),
    "says nothing of its checks": (),
}
"""What the checks of a machine come to; those of the others pass."""


def to_its_end(world: World, machine: str, answer: str) -> None:
    """Let time pass with a machine and a BMC that never change; it has to end."""
    until = world.now + timedelta(seconds=SPAN_MAX_S)
    while world.ended is None:
        assert world.now < until, (world.operation, world.log[-20:])
        world.pass_s(11.0)
        if world.in_flight and answer == "lost":
            world.crash()
        elif world.in_flight:
            world.answers(TemporaryError("busy") if answer == "busy" else None)
        world.sees(MACHINES[machine](world), age_s=1.0)
        world.hears(*PASSED.get(machine, (True, True)), age_s=1.0)
        for _ in range(16):
            if world.step() is None or world.in_flight:
                break


@pytest.mark.parametrize("superseded", ["", "a newer commit"])
@pytest.mark.parametrize("answer", ["yes", "busy", "lost"])
@pytest.mark.parametrize("machine", MACHINES)
def test_every_state_has_an_exit_in_bounded_time(
    machine: str, answer: str, superseded: str
) -> None:
    ends = set()
    for operation in every_state(tries_of=(0, TRIES_MAX - 1)):
        world = World(operation=operation, now=at(20), superseded=superseded)
        to_its_end(world, machine, answer)
        ends.add(type(world.ended))
    if machine == "as asked" and answer == "yes" and not superseded:
        assert Finish in ends
    assert (Supersede in ends) is bool(superseded)
    if (machine == "silent" or machine in PASSED) and not superseded:
        assert ends == {Fail}


class OperationModel(RuleBasedStateMachine):
    """One operation through any sequence of answers, silences, crashes and changes of mind."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(seconds=st.sampled_from([0.5, 1.0, 6.0, 30.0, 70.0, 200.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.pass_s(seconds)

    @rule(reading=st.sampled_from(READINGS), age_s=st.sampled_from(AGES_S))
    def is_observed(self, reading: Reading | None, age_s: float) -> None:
        """In any order: a late answer may replace a younger one."""
        self.world.sees(reading, age_s)

    @rule(passed=st.sampled_from([each for each, _ in HEARD]), age_s=st.sampled_from(AGES_S))
    def checks_are_made(self, passed: tuple[bool, ...], age_s: float) -> None:
        self.world.hears(*passed, age_s=age_s)

    @rule()
    def does_as_asked(self) -> None:
        self.world.sees(as_asked(self.world))

    @precondition(lambda self: self.world.in_flight)
    @rule(error=st.sampled_from(ERRORS))
    def is_answered(self, error: Exception | None) -> None:
        self.world.answers(error)

    @rule()
    def daemon_is_killed(self) -> None:
        self.world.crash()

    @rule(why=st.sampled_from(["", "a newer commit"]))
    def git_changes(self, why: str) -> None:
        self.world.superseded = why

    @rule(ours=st.booleans(), asked=st.booleans())
    def lifecycle_changes(self, ours: bool, asked: bool) -> None:
        self.world.node, self.world.asked = NODE if ours else None, ours or asked

    @rule(kinds=st.frozensets(st.sampled_from(list(EffectKind))))
    def driver_changes(self, kinds: frozenset[EffectKind]) -> None:
        self.world.capabilities = kinds | {EffectKind.POWER_ON}

    @rule()
    def engine_looks(self) -> None:
        for _ in range(16):
            if self.world.step() is None:
                break

    @rule(
        machine=st.sampled_from(sorted(MACHINES)), answer=st.sampled_from(["yes", "busy", "lost"])
    )
    def nothing_changes_any_more(self, machine: str, answer: str) -> None:
        """From here an end is in sight; the way itself goes on as if nobody had looked."""
        here = replace(self.world, log=list(self.world.log))
        to_its_end(here, machine, answer)

    @invariant()
    def it_has_a_deadline_unless_it_has_ended(self) -> None:
        assert self.world.ended is not None or self.world.operation.stage_deadline_at is not None


OperationModel.TestCase.settings = settings(
    max_examples=200,
    stateful_step_count=40,
    deadline=None,
    derandomize=settings().derandomize,
    suppress_health_check=[HealthCheck.too_slow],
)
TestOperationModel = OperationModel.TestCase
