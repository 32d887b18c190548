"""The oracles: what must never happen, by books of our own and by what the machines truly are.

Nothing here asks the product whether it did well: limits are read from the model of the revision,
what is in flight from the journal's lines, what was seen and done from the machine room's log.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sim_inventory import Model, Shape, wanted
from sim_room import CallLog, MachineRoom, Sight

from metalwright.model.inventory import Inventory
from metalwright.model.observed import Power
from metalwright.model.operation import EffectKind
from metalwright.model.plan import Plan

_ENDS = frozenset({"retry", "active", "failed", "cancelled", "superseded"})
_POWER = frozenset({"power on", "power off", "soft power off", "wipe"})
_EFFECTS_OF = {
    "deploy": _POWER | {"set boot device"},
    "rebuild": _POWER | {"set boot device"},
    "reboot": (_POWER - {"wipe"}) | {"set boot device"},
    "undeploy": frozenset({"power off", "soft power off"}),
    "power on": frozenset({"power on", "set boot device"}),
    "power off": frozenset({"power off", "soft power off"}),
}
CLOCK_SLACK = 1.15
"""The engine's clock may run this much slower than true time, while it follows a set clock."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise: the oracle's name, when, and what was found."""

    oracle: str
    at_s: float
    text: str


@dataclass(slots=True)
class Known:
    """One operation as the journal's lines tell it."""

    node: str
    verb: str
    held: bool = False
    over: bool = False
    intents: list[tuple[str, str, bool]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What the daemon went by in the cycle whose lines were written."""

    model: Model
    plan: Plan | None
    began_s: float
    process: int


class Witness:
    """Reads the journal after every commit, and hears of every call to a driver."""

    def __init__(
        self,
        shape: Shape,
        room: MachineRoom,
        journal: Callable[[int], list[tuple[Any, ...]]],
        tell: Callable[[str], None],
    ) -> None:
        self.shape, self.room = shape, room
        self.violations: list[Violation] = []
        self.events: Counter[str] = Counter()
        self.most: dict[str, tuple[int, int]] = {}
        self.overshoot = 0
        self._journal, self._tell = journal, tell
        self._seq = 0
        self._operations: dict[str, Known] = {}
        self._held: Counter[str] = Counter()
        self._last_call: dict[tuple[str, EffectKind], CallLog] = {}
        room.on_call.append(self.called)

    def broken(self, oracle: str, text: str) -> None:
        """Write a violation down."""
        self.violations.append(Violation(oracle, self.room.time.now_s, text))

    def committed(self, moment: Moment) -> int:
        """Take over the lines that became durable; how many."""
        lines = self._journal(self._seq)
        for line in lines:
            seq, node, event, operation_id, effect, detail = line
            if seq != self._seq + 1:
                self.broken("journal without gaps", f"line {seq} after {self._seq}")
            self._seq = seq
            self.events[event] += 1
            self._tell(f"{seq} {node} {event} {detail}")
            if operation_id is not None:
                self._line(node, event, operation_id, effect, detail, moment)
        return len(lines)

    def _line(
        self,
        node: str,
        event: str,
        operation_id: str,
        effect: str | None,
        detail: str,
        moment: Moment,
    ) -> None:
        if event == "created":
            verb = detail.partition(" for ")[0]
            self._operations[operation_id] = Known(node, verb)
            self._plan_shows(node, detail, moment)
            return
        known = self._operations.get(operation_id)
        if known is None:
            if event != "retry":
                self.broken("operations are created first", f"{node}: {event}")
            return
        if event == "admitted":
            self._admitted(known, moment)
        elif event in _ENDS and not (event == "retry" and detail.startswith("asked for by")):
            if known.held:
                known.held = False
                self._held.subtract(self._scopes(node))
            if event != "retry":
                known.over = True
        elif event == "intent" and effect is not None:
            self._intent(known, json.loads(effect), moment)

    def _plan_shows(self, node: str, detail: str, moment: Moment) -> None:
        actions = moment.plan.actions if moment.plan is not None else ()
        if not any(a.node == node and f"{a.verb} for {a.holder}" == detail for a in actions):
            self.broken("effects are the plan shown", f"{node}: {detail} is in no plan")

    def _scopes(self, node: str) -> tuple[str, str, str]:
        return ("fleet", f"pool {self.shape.pool_of[node]}", f"rack {self.shape.rack_of(node)}")

    def _admitted(self, known: Known, moment: Moment) -> None:
        if known.held or known.over:
            self.broken("one attempt at a time", f"{known.node}: admitted again")
        known.held = True
        scopes = self._scopes(known.node)
        self._held.update(scopes)
        model = moment.model
        limits = (
            model["policy/fleet"],
            model.get(f"limit/{self.shape.pool_of[known.node]}"),
            model.get("policy/rack"),
        )
        for scope, limit in zip(scopes, limits, strict=True):
            if limit is None:
                continue
            if self._held[scope] > self.most.get(scope, (0, 0))[0]:
                self.most[scope] = (self._held[scope], limit)
            if self._held[scope] > limit:
                self.overshoot += 1
                self.broken(
                    "limits hold", f"{scope}: {self._held[scope]} of {limit} with {known.node}"
                )

    def _intent(self, known: Known, effect: Mapping[str, Any], moment: Moment) -> None:
        kind = effect["kind"]
        known.intents.append((kind, effect.get("argument", ""), False))
        if not known.held:
            self.broken("no effect without a slot", f"{known.node}: {kind} is meant without one")
        if kind not in _EFFECTS_OF[known.verb]:
            self.broken("effects are the plan shown", f"{known.node}: {kind} of {known.verb}")
        if kind in _POWER:
            self._justified(known.node, kind, moment)

    def _justified(self, node: str, kind: str, moment: Moment) -> None:
        """Whether what the daemon had been told of the machine allows this."""
        machine = self.room.machines[node]
        told = [
            sight
            for sight in machine.sights
            if sight.process == moment.process and sight.delivered_s <= moment.began_s
        ]
        last: Sight | None = told[-1] if told else None
        oracle = "nothing on stale or unknown"
        if last is None or last.reading is None or last.reading.power is Power.UNKNOWN:
            self.broken(oracle, f"{node}: {kind} on {last}")
            return
        age_s = moment.began_s - last.begun_s
        if age_s > moment.model.get("policy/ttl", 120) * CLOCK_SLACK + 1.0:
            self.broken(oracle, f"{node}: {kind} on an answer {age_s:.0f} s old")
        serial = last.reading.identity.serial
        if serial not in (None, machine.identity.serial):
            self.broken("nothing to another machine", f"{node}: {kind} for {serial}")
        if kind == "wipe" and serial is None:
            self.broken("nothing to another machine", f"{node}: wiped unseen")

    def called(self, log: CallLog) -> None:
        """A driver was called: there has to be an intent of its own for that."""
        effect = log.effect
        self._tell(f"call {log.node} {effect.kind} {effect.operation_id}")
        known = self._operations.get(effect.operation_id)
        if known is None:
            self.broken("intent before effect", f"{log.node}: {effect.kind} of no operation")
            return
        if not known.held:
            self.broken("no effect without a slot", f"{log.node}: {effect.kind}")
        if not known.intents or known.intents[-1] != (effect.kind, effect.argument, False):
            self.broken(
                "one effect for one intent",
                f"{log.node}: {effect.kind}, of the intents {known.intents[-3:]}",
            )
        else:
            known.intents[-1] = (effect.kind, effect.argument, True)
        self._read_back(log)

    def _read_back(self, log: CallLog) -> None:
        """A repeated effect needs a look at the machine that began after the first was over."""
        if log.effect.kind.value not in _POWER:
            return
        key = (log.effect.operation_id, log.effect.kind)
        before = self._last_call.get(key)
        self._last_call[key] = log
        if before is None:
            return
        over_s = before.answered_s if before.answered_s is not None else before.begun_s
        sights = self.room.machines[log.node].sights
        if not any(s.begun_s >= over_s and s.reading is not None for s in sights):
            self.broken("read back before a repeat", f"{log.node}: {log.effect.kind} again, unseen")

    def forget_over(self) -> None:
        """Let go of operations that ended, so that a long run does not grow."""
        over = [key for key, known in self._operations.items() if known.over]
        for key in over[: max(0, len(over) - 2 * self.shape.nodes)]:
            del self._operations[key]
        keep = self._operations.keys()
        self._last_call = {key: log for key, log in self._last_call.items() if key[0] in keep}


def unlike(shape: Shape, model: Model, room: MachineRoom, inventory: Inventory) -> list[str]:
    """The nodes whose true state is not what the model wants, with what is wrong."""
    found = []
    for node, what in wanted(shape, model).items():
        reading = room.true_reading(node)
        state = room.truth(node)
        if what == "off":
            if reading.power is not Power.OFF:
                found.append(f"{node} is on, git wants it off")
        elif reading.power is not Power.ON or state.off_at is not None:
            found.append(f"{node} is off, git wants {what}")
        elif what != "on" and reading.template_digest != inventory.resolved[what].digest:
            found.append(f"{node} does not run {what}")
    return found
