"""One running operation, the machine behind it, and whatever may go wrong between them.

It does what the engine does with a decision, and checks each decision against rules that are
written down here once more, in other words than the code's. Effects are handed over, answered,
refused or lost in a crash; observations are late, stale, empty, of another machine, or lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from model_samples import START, a_target, an_operation

from metalwright.execute.advance import decide
from metalwright.execute.life import answered
from metalwright.execute.situation import (
    Decision,
    Do,
    Enter,
    Fail,
    Finish,
    Resolve,
    Situation,
    Supersede,
    Wait,
)
from metalwright.model.checks import Check, PhoneHome, Ping, Verdict
from metalwright.model.documents import Metadata, Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Bmc, NodeSpec
from metalwright.model.identity import Match, compare_identity
from metalwright.model.observed import (
    BootProgress,
    ErrorKind,
    Identity,
    Observation,
    ObservationError,
    Power,
    Reading,
)
from metalwright.model.operation import (
    INTERRUPTS,
    EffectKind,
    Interrupt,
    Operation,
    OperationState,
    Stage,
    Verb,
)
from metalwright.model.policy import StageTimeouts
from metalwright.model.template import Method, WipePolicy

TIMEOUTS = StageTimeouts(
    soft_power_off=60, power_off=30, wipe=120, boot=90, install=150, validate=70
)
TTL_S = 40.0
SETTLE_S = 5.0
TRIES_MAX = 3
SPAN_MAX_S = 2.0 * (60 + 30 + 120 + 90 + 150 + 70 + 6 * TTL_S)
"""More than all deadlines of an attempt, and a probe after each."""

SAME = Identity(serial="S-n1")
OTHER = Identity(serial="S-n2")
NODE = Node(
    metadata=Metadata(name="n1"),
    spec=NodeSpec(driver="fake", bmc=Bmc(address="192.0.2.1"), serial="S-n1"),
)
WIPED = a_target(method=Method.DISK, wipe=WipePolicy.FULL)
STAGES = tuple(Stage)
CHECKS = (Check(name="ping", ping=Ping()), Check(name="home", phone_home=PhoneHome()))


def a_running_operation() -> Operation:
    """The longest there is: every stage, and data at stake."""
    return an_operation(
        "o1",
        "n1",
        verb=Verb.DEPLOY,
        state=OperationState.RUNNING,
        target=WIPED,
        stages=STAGES,
        destroys_data=True,
        stage=Stage.POWER_OFF,
        attempt=1,
        fence=1,
        seen_at=START,
        stage_deadline_at=START + timedelta(seconds=TIMEOUTS.soft_power_off),
    )


def a_reading(power: Power, *, identity: Identity = SAME, told: str = "nothing") -> Reading:
    """What a machine may say; `told` is `nothing`, `all` as asked, or `else`: somebody else's."""
    if told == "nothing":
        return Reading(power=power, identity=identity)
    mine = told == "all"
    return Reading(
        power=power,
        identity=identity,
        boot_progress=BootProgress.OS_RUNNING if power is Power.ON else None,
        template_digest=("d" if mine else "e") * 64 if power is Power.ON else None,
        last_wipe="o1" if mine else "o0",
    )


@dataclass
class World:
    """The operation, the clock, the last observation and the effect in flight."""

    operation: Operation = field(default_factory=a_running_operation)
    now: datetime = START
    started_at: datetime = START - timedelta(days=1)
    observation: Observation | None = None
    node: Node | None = NODE
    asked: bool = True
    superseded: str = ""
    capabilities: frozenset[EffectKind] = frozenset(EffectKind)
    verdicts: Mapping[str, Verdict] = FrozenDict()
    in_flight: bool = False
    ended: Decision | None = None
    log: list[str] = field(default_factory=list)

    def situation(self) -> Situation:
        gone = "" if self.node is not None else "git no longer lets us touch this node"
        return Situation(
            now=self.now,
            started_at=self.started_at,
            node=self.node,
            observation=self.observation,
            timeouts=TIMEOUTS,
            observation_ttl_s=TTL_S,
            capabilities=self.capabilities,
            tries_max=TRIES_MAX,
            settle_s=SETTLE_S,
            superseded=self.superseded or gone,
            asked=self.asked,
            checks=CHECKS if self.operation.stage is Stage.VALIDATING else (),
            verdicts=self.verdicts,
        )

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def sees(self, reading: Reading | None, age_s: float = 0.0) -> None:
        """An answer whose asking began `age_s` ago, or silence."""
        error = ObservationError(kind=ErrorKind.TIMEOUT, message="no answer")
        self.observation = Observation(
            node="n1",
            at=self.now - timedelta(seconds=age_s),
            reading=reading,
            error=error if reading is None else None,
        )

    def hears(self, *passed: bool, age_s: float = 0.0) -> None:
        """What the checks come to, one after the other; those that are left out say nothing."""
        at = self.now - timedelta(seconds=age_s)
        self.verdicts = FrozenDict(
            {
                check.name: Verdict(at=at, passed=well, message="" if well else "no answer")
                for check, well in zip(CHECKS, passed, strict=False)
            }
        )

    def answers(self, error: Exception | None) -> None:
        """The driver comes back."""
        self.in_flight = False
        self.operation = answered(self.operation, error, self.now)

    def crash(self) -> None:
        """The process dies and another one starts: what was in flight is never heard of again, and
        what the checks came to is forgotten.
        """
        self.in_flight = False
        self.verdicts = FrozenDict()
        self.started_at = self.now

    def step(self) -> Decision | None:
        """Decide once, check it, and do what the engine would; `None` while an effect is out."""
        if self.in_flight or self.ended is not None:
            return None
        situation, before = self.situation(), self.operation
        decision = decide(before, situation)
        assert decide(before, situation) == decision, "the same values, another decision"
        self.log.append(f"{self.now:%H:%M:%S} {before.stage} {type(decision).__name__}")
        check(before, situation, decision)
        match decision:
            case Do(operation=after):
                self.operation, self.in_flight = after, True
            case Enter(operation=after) | Resolve(operation=after):
                self.operation = after
            case Fail(probed=False, error=error):
                self.operation = replace(before, failing=True, last_error=error)
            case Finish() | Fail() | Supersede():
                self.ended = decision
            case Wait():
                pass
        return decision


def check(before: Operation, situation: Situation, decision: Decision) -> None:
    """The promises that every decision keeps, from whatever state it was made."""
    observation = situation.observation
    reading = observation.reading if observation is not None else None
    match decision:
        case Do(operation=after):
            _check_effect(before, situation, after)
        case Enter() | Resolve():
            _check_reading(situation)
        case Finish():
            _check_reading(situation)
            _check_verdicts(before, situation)
            assert before.stage is before.stages[-1]
            assert reading is not None
            assert reading.power is (Power.OFF if before.stage is Stage.POWER_OFF else Power.ON)
        case Supersede():
            assert situation.superseded
            over = _stage_is_over(before, situation) and not situation.asked
            assert _asked_since(before, situation) or over
            begun = before.intent is not None and not before.failing
            if begun and INTERRUPTS[_stage(before)] is not Interrupt.CANCELLABLE:
                over = _stage_is_over(before, situation) or _is_given_up(before, situation)
                assert over, "interrupted where it must not be"
        case Fail(probed=probed):
            assert probed is _asked_since(before, situation)
        case Wait(why=why):
            assert why


def _stage(operation: Operation) -> Stage:
    assert operation.stage is not None
    return operation.stage


def _check_reading(situation: Situation) -> None:
    """Known, fresh, and not of another machine."""
    observation = situation.observation
    assert observation is not None
    assert observation.reading is not None
    assert observation.reading.power is not Power.UNKNOWN, "unknown was taken for an answer"
    age_s = abs((situation.now - observation.at).total_seconds())
    assert age_s <= situation.observation_ttl_s, "stale was taken for an answer"
    if situation.node is not None:
        match = compare_identity(situation.node.spec, observation.reading.identity).match
        assert match is not Match.OTHER, "another machine was taken for this one"


def _check_verdicts(operation: Operation, situation: Situation) -> None:
    """Every check has passed, in the stage and not before it."""
    for check in situation.checks:
        verdict = situation.verdicts[check.name]
        assert verdict.passed, "a failed check was taken for a pass"
        assert operation.entered_at is not None
        assert verdict.at >= operation.entered_at, "a pass of an earlier boot was taken for one"


def _check_effect(before: Operation, situation: Situation, after: Operation) -> None:
    _check_reading(situation)
    observation, intent = situation.observation, after.intent
    assert observation is not None
    assert observation.reading is not None
    assert intent is not None
    assert situation.node is not None, "a node that is not ours was touched"
    assert not before.failing, "an attempt that failed went on"
    assert intent.kind in situation.capabilities
    assert after.intent_at == situation.now
    assert after.acknowledged_at is None
    assert after.stage_deadline_at is not None
    identity = compare_identity(situation.node.spec, observation.reading.identity).match
    assert identity is Match.SAME, "data was at stake on a machine that did not say who it is"
    last = before.intent
    if last is None or last.kind is not intent.kind:
        begins = (EffectKind.WIPE, EffectKind.POWER_ON, EffectKind.SET_BOOT_DEVICE)
        if intent.kind in begins:
            assert observation.reading.power is Power.OFF, "begun on a machine that is on"
        return
    assert after.tries <= situation.tries_max
    if intent.kind is EffectKind.SET_BOOT_DEVICE:
        return  # changes nothing that is decided from, and many BMCs cannot show it
    assert _asked_since(before, situation), "repeated without a read-back"
    shown = observation.reading
    assert not (intent.kind is EffectKind.POWER_ON and shown.power is Power.ON)
    assert not (intent.kind is EffectKind.WIPE and shown.last_wipe == before.id)
    assert before.acknowledged_at is None or before.tries > 0, "what was acknowledged is repeated"


def _asked_since(operation: Operation, situation: Situation) -> bool:
    """Whether the node was asked after the last moment at which a call of ours may have landed."""
    if operation.intent_at is None:
        return True
    touched = operation.acknowledged_at or max(operation.intent_at, situation.started_at)
    if operation.intent is None and operation.seen_at is not None and operation.seen_at > touched:
        return True
    if situation.observation is None:
        return False
    return situation.observation.at > touched


def _is_given_up(operation: Operation, situation: Situation) -> bool:
    """Whether the effect was tried as often as it may be; a wipe may still be under way then."""
    lost = operation.acknowledged_at is None
    wiping = operation.intent is not None and operation.intent.kind is EffectKind.WIPE
    return not wiping and operation.tries + lost >= situation.tries_max


def _stage_is_over(operation: Operation, situation: Situation) -> bool:
    """Seen to be done, or out of its time."""
    assert operation.stage_deadline_at is not None
    if situation.now >= operation.stage_deadline_at:
        return True
    observation = situation.observation
    reading = observation.reading if observation is not None else None
    if operation.stage is Stage.POWER_OFF:
        return reading is not None and reading.power is Power.OFF
    wiped = reading is not None and reading.last_wipe == operation.id
    return wiped and reading is not None and reading.power is Power.OFF
