"""The machine room: machines whose true state is known, behind BMCs that may be as bad as any.

What a machine does is the shipped model's (`drivers.fake_node`). The room outlives every daemon,
and keeps a log of each call for the oracles. What is wrong with a BMC is a `Fault` for a time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from sim_time import START, Scheduler

from metalwright.drivers.fake_node import (
    NEW_NODE,
    Call,
    FakeNode,
    Pace,
    carry_out,
    pressed,
    reading_at,
    runs,
    settled,
)
from metalwright.model.documents import Node
from metalwright.model.observed import Identity, Power, Reading
from metalwright.model.operation import Effect

STRANGERS = "e" * 64
"""What a machine reports that was switched on by hand and found something to boot."""

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

LYING_KINDS = (
    "stale answers",  # shows what was, up to `CACHE_S` ago, as if it were so now
    "answers out of order",  # every other time an earlier answer comes once more
)

CHECK_KIND = "fails checks"
"""Boots, and passes no check; drawn beside the others, which are faults of the BMC."""

TRIES_KEPT = 24
"""Checks of a machine that are remembered."""

CACHE_S = 45.0
PAST_KEPT = 4


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


@dataclass(frozen=True, slots=True)
class Tried:
    """One check that was made on a machine, and what it truly came to."""

    name: str
    begun_s: float
    passed: bool


@dataclass(slots=True)
class CallLog:
    """One effect that reached the driver."""

    node: str
    effect: Effect
    begun_s: float
    acted_s: float | None = None
    answered_s: float | None = None
    process: int = 0


@dataclass(slots=True)
class Machine:
    """One machine, what it truly is, and what is wrong with it."""

    identity: Identity
    state: FakeNode = NEW_NODE
    faults: list[Fault] = field(default_factory=list)
    was_sick: bool = False
    pretends: Power | None = None
    sights: list[Sight] = field(default_factory=list)
    cached: tuple[float, Reading] | None = None
    past: list[Reading] = field(default_factory=list)
    checked: list[Tried] = field(default_factory=list)


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
        self.boots_nothing: set[str] = set()  # digests of templates
        self._unasked: dict[str, float] = {}

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

    def checked(self, node: str, name: str) -> str:
        """Make a check: why the machine does not pass it now."""
        machine = self.machines[node]
        said = "it fails" if self.fault(node, CHECK_KIND) else runs(machine.state, self.now())
        machine.checked.append(Tried(name, self.time.now_s, not said))
        if len(machine.checked) > TRIES_KEPT:
            del machine.checked[0]
        return said

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
        call = self._call(log.node)
        if log.effect.template_digest in self.boots_nothing:
            self.met["booted a bad template"] += 1
            call = replace(call, boot_hangs=True)
        machine.state = carry_out(machine.state, log.effect, call)
        for told in self.on_act:
            told(log)

    def leave_unasked(self, nodes: Iterable[str], until_s: float) -> None:
        """No question reaches these nodes for a while; it is put to them afterwards."""
        for name in nodes:
            self._unasked[name], self.machines[name].was_sick = until_s, True

    def unasked_s(self, node: str) -> float:
        """How long a question to this node has to wait yet."""
        wait_s = self._unasked.get(node, 0.0) - self.time.now_s
        if wait_s > 0:
            self.met["not asked for a while"] += 1
        return max(0.0, wait_s)

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
