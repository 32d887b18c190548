"""The machine room: machines whose true state is known, behind BMCs that may be as bad as any.

`SimDriver` is what the product gets: it observes and provisions through the shipped model of a
machine (`drivers.fake_node`). `MachineRoom` outlives every daemon, and keeps a log of each call for
the oracles. What is wrong with a BMC is a `Fault` for a time.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from sim_time import START, Scheduler

from metalwright.drivers.fake_node import (
    NEW_NODE,
    Call,
    FakeNode,
    Pace,
    carry_out,
    pressed,
    reading_at,
    settled,
)
from metalwright.errors import CredentialsError, DriverError, PermanentError, TemporaryError
from metalwright.model.documents import Node
from metalwright.model.observed import Identity, Power, Reading
from metalwright.model.operation import Effect, EffectKind

STRANGERS = "e" * 64
"""What a machine reports that was switched on by hand and found something to boot."""

LATE_S = 4.0
"""A BMC that has lost an answer has acted within this time: the engine lets it settle for 5 s."""

FAULT_KINDS = (
    "silent",  # neither answers nor acts
    "slow",  # takes up to all of its time-out
    "hung call",  # keeps the caller ten times longer than it may, then answers what it saw
    "flapping",  # silent every other minute
    "refuses",  # a permanent error
    "wrong password",
    "answer lost",  # acts, and no answer comes
    "acts late",  # no answer comes, and it acts some seconds afterwards
    "acks only",  # says that it is done and does nothing
    "power does nothing",  # the same, for the power only
    "says done",  # shows at once what it was told, though it is not so
    "never boots",  # hangs in the firmware, whatever it is told
    "ignores the button",  # does not shut down when asked softly
    "another machine",  # the BMC is another machine's
    "nobody",  # tells nothing of its identity
    "busy",  # every other call meets a BMC whose sessions are all taken
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with the BMC of a node, from `begin_s` to `end_s`."""

    node: str
    kind: str
    begin_s: float
    end_s: float


@dataclass(slots=True)
class Sight:
    """One asking of a node: when it began, was answered, and what the answer was."""

    process: int
    begun_s: float
    delivered_s: float
    reading: Reading | None


@dataclass(slots=True)
class CallLog:
    """One effect that reached the driver."""

    node: str
    effect: Effect
    begun_s: float
    acted_s: float | None = None
    answered_s: float | None = None


@dataclass(slots=True)
class Machine:
    """One machine, what it truly is, and what is wrong with it."""

    identity: Identity
    state: FakeNode = NEW_NODE
    faults: list[Fault] = field(default_factory=list)
    pretends: Power | None = None
    sights: list[Sight] = field(default_factory=list)


SIGHTS_KEPT = 12


class MachineRoom:
    """Every machine, the faults in force, and what was done to whom."""

    def __init__(self, time: Scheduler, seed: int, speed: float, calls_max: int) -> None:
        self.time, self.calls_max = time, calls_max
        self.pace = Pace(seed=seed, speed=speed)
        self.machines: dict[str, Machine] = {}
        self.met: Counter[str] = Counter()
        self.calls = 0
        self.on_call: list[Callable[[CallLog], None]] = []
        self.on_act: list[Callable[[CallLog], None]] = []

    def add(self, node: Node, *, on: bool, digest: str) -> None:
        """Put a machine into the room, running `digest` since long ago, or off."""
        identity = identity_of(node)
        state = NEW_NODE
        if on:
            state = replace(
                NEW_NODE, on_at=-7e3, post_at=-6e3, loader_at=-5e3, running_at=-4e3, digest=digest
            )
            state = _shifted(state)
        self.machines[node.metadata.name] = Machine(identity=identity, state=state)

    def now(self) -> float:
        """Seconds since the epoch, as the machines count them."""
        return START.timestamp() + self.time.now_s

    def truth(self, node: str) -> FakeNode:
        """What the machine truly is now."""
        return settled(self.machines[node].state, self.now())

    def true_reading(self, node: str) -> Reading:
        """What an honest BMC would say now."""
        machine = self.machines[node]
        return reading_at(machine.state, self.now(), machine.identity)

    def press(self, node: str, power: Power) -> None:
        """Somebody in the room holds the power button."""
        machine = self.machines[node]
        before = machine.state
        machine.state = pressed(before, power, self._call(node))
        if machine.state is not before and machine.state.on_at is not None:
            # What it boots by itself says what it is: an older system, or a stranger's.
            machine.state = replace(machine.state, digest=before.disk_digest or STRANGERS)

    def fault(self, node: str, *kinds: str) -> bool:
        """Whether one of these faults holds for the node now; counted when it does."""
        now = self.time.now_s
        for each in self.machines[node].faults:
            if each.kind in kinds and each.begin_s <= now < each.end_s:
                self.met[each.kind] += 1
                return True
        return False

    def act(self, log: CallLog) -> None:
        """Let an effect reach the machine itself."""
        machine = self.machines[log.node]
        log.acted_s = self.time.now_s
        machine.state = carry_out(machine.state, log.effect, self._call(log.node))
        for told in self.on_act:
            told(log)

    def _call(self, node: str) -> Call:
        return Call(
            node=node,
            now=self.now(),
            pace=self.pace,
            boot_hangs=self.fault(node, "never boots"),
            soft_power_off_ignored=self.fault(node, "ignores the button"),
        )


def _shifted(state: FakeNode) -> FakeNode:
    base = START.timestamp()
    moved = {
        name: base + getattr(state, name)
        for name in ("on_at", "post_at", "loader_at", "running_at")
    }
    return replace(state, **moved)


def identity_of(node: Node) -> Identity:
    """Who the machine is that git means by this node."""
    return Identity(
        serial=node.spec.serial,
        system_uuid=node.spec.system_uuid,
        macs=tuple(nic.mac for nic in node.spec.nics),
    )


OTHER = Identity(serial="SOMEBODY-ELSE")


class SimDriver:
    """The driver of one daemon: every call passes through the BMC's faults, in virtual time."""

    capabilities = frozenset(EffectKind)

    def __init__(
        self,
        room: MachineRoom,
        dice: random.Random,
        boundary: Callable[[str], None],
        process: int,
    ) -> None:
        self._room, self._dice, self._boundary = room, dice, boundary
        self.process = process
        self._calls = 0

    def close(self) -> None:
        """Nothing is kept open."""

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What the BMC says. Raises DriverError."""
        room, name = self._room, node.metadata.name
        machine, begun = room.machines[name], room.time.now_s
        try:
            reading = self._asked(name, timeout_s)
        except DriverError:
            self._note(machine, Sight(self.process, begun, room.time.now_s, None))
            raise
        self._note(machine, Sight(self.process, begun, room.time.now_s, reading))
        return reading

    def _note(self, machine: Machine, sight: Sight) -> None:
        machine.sights.append(sight)
        if len(machine.sights) > SIGHTS_KEPT:
            del machine.sights[0]

    def _asked(self, name: str, timeout_s: float) -> Reading:
        room = self._room
        with _Session(self):
            self._reach(name, timeout_s)
            before, after = self._latency(name, timeout_s)
            room.time.sleep_s(before)
            seen = self._reading(name)
            room.time.sleep_s(after)
        if room.fault(name, "hung call"):
            room.time.sleep_s(timeout_s * 10 - before - after)
        elif before + after > timeout_s:
            _time_out(timeout_s)
        return seen

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Bring an effect about. Raises DriverError."""
        room, name = self._room, node.metadata.name
        log = CallLog(name, effect, room.time.now_s)
        for told in room.on_call:
            told(log)
        self._boundary("before the call")
        try:
            with _Session(self):
                self._reach(name, timeout_s)
                self._tell(log, timeout_s)
        finally:
            log.answered_s = room.time.now_s
        self._boundary("after the call")

    def _tell(self, log: CallLog, timeout_s: float) -> None:
        room, name = self._room, log.node
        before, after = self._latency(name, timeout_s)
        room.time.sleep_s(before)
        power = log.effect.kind in (
            EffectKind.POWER_ON,
            EffectKind.POWER_OFF,
            EffectKind.SOFT_POWER_OFF,
        )
        if room.fault(name, "acts late"):
            room.time.at(
                room.time.now_s + timeout_s + self._dice.uniform(0.1, LATE_S),
                lambda: _late(room, log),
            )
            room.time.sleep_s(timeout_s)
            _time_out(timeout_s)
        if power and room.fault(name, "says done"):
            on = log.effect.kind is EffectKind.POWER_ON
            room.machines[name].pretends = Power.ON if on else Power.OFF
        elif room.fault(name, "acks only") or (power and room.fault(name, "power does nothing")):
            pass
        elif room.fault(name, "another machine"):
            self._boundary("another machine was told")
        else:
            room.act(log)
        self._boundary("acted")
        room.time.sleep_s(after)
        if room.fault(name, "answer lost"):
            room.time.sleep_s(max(0.0, timeout_s - before - after))
            _time_out(timeout_s)
        if before + after > timeout_s:
            _time_out(timeout_s)

    def _reach(self, name: str, timeout_s: float) -> None:
        """Open a session with the BMC, if it lets us."""
        room = self._room
        if self._calls > room.calls_max:
            room.met["sessions exhausted"] += 1
            room.time.sleep_s(0.02)
            raise TemporaryError("no session is free")
        if not room.machines[name].faults:
            return
        flaps = room.time.now_s % 120 < 60 and room.fault(name, "flapping")
        if flaps or room.fault(name, "silent"):
            room.time.sleep_s(timeout_s)
            _time_out(timeout_s)
        if self._dice.random() < 0.5 and room.fault(name, "busy"):
            room.time.sleep_s(0.1)
            raise TemporaryError("the BMC is busy")
        if room.fault(name, "wrong password"):
            raise CredentialsError("the password is refused")
        if room.fault(name, "refuses"):
            raise PermanentError("the BMC does not do this")

    def _latency(self, name: str, timeout_s: float) -> tuple[float, float]:
        """Seconds before and after the BMC looks or acts."""
        slow = self._room.machines[name].faults and self._room.fault(name, "slow")
        most = timeout_s * 0.7 if slow else 0.3
        return self._dice.uniform(0.01, most), self._dice.uniform(0.01, most)

    def _reading(self, name: str) -> Reading:
        room, machine = self._room, self._room.machines[name]
        seen = room.true_reading(name)
        if not machine.faults:
            return seen
        if room.fault(name, "another machine"):
            return replace(seen, identity=OTHER)
        if room.fault(name, "nobody"):
            seen = replace(seen, identity=Identity())
        if machine.pretends is not None and room.fault(name, "says done"):
            # Nothing but the power is known of such a machine.
            return Reading(power=machine.pretends, identity=seen.identity)
        return seen


class _Session:
    """One place at the BMCs' gateway, for the length of a call."""

    def __init__(self, driver: SimDriver) -> None:
        self._driver = driver

    def __enter__(self) -> None:
        self._driver._calls += 1

    def __exit__(self, *_error: object) -> None:
        self._driver._calls -= 1


def _late(room: MachineRoom, log: CallLog) -> None:
    try:
        room.act(log)
    except (TemporaryError, PermanentError):
        room.met["acted late on nothing"] += 1  # a wipe that met a machine that is on again


def _time_out(timeout_s: float) -> None:
    raise TemporaryError(f"no answer within {timeout_s:g} s") from TimeoutError()


def instant_of(now_s: float) -> datetime:
    """Virtual seconds as an instant."""
    return datetime.fromtimestamp(START.timestamp() + now_s, START.tzinfo)
