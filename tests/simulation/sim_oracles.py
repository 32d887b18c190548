"""The oracles: what must never happen, by books of our own and by what the machines truly are.

Nothing here asks the product whether it did well: limits are read from the model of the revision,
what is in flight from the journal's lines, what was seen and done from the machine room's log.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from sim_brakes import BrakeBooks, RightBooks
from sim_checks import CheckBooks
from sim_inventory import TEMPLATES, Model, Shape, wanted
from sim_limits import LimitBooks, StartBooks
from sim_record import Known, Moment, Violation
from sim_room import CallLog, MachineRoom, Sight
from sim_waits import WaitBooks
from sim_waves import WaveBooks

from metalwright.model.inventory import Inventory
from metalwright.model.observed import Power
from metalwright.model.operation import EffectKind, Stage

_ENDS = frozenset({"retry", "active", "failed", "cancelled", "superseded"})
_POWER = frozenset({"power on", "power off", "soft power off", "wipe"})
_EFFECTS_OF = {
    Stage.POWER_OFF: {"power off", "soft power off"},
    Stage.WIPE: {"wipe"},
    Stage.BOOT: {"set boot device", "power on"},
}
CLOCK_SLACK = 1.15
"""The engine's clock may run this much slower than true time, while it follows a set clock."""


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
        self.limits, self.starts = LimitBooks(shape), StartBooks(shape)
        self.waves, self.waits, self.right = WaveBooks(), WaitBooks(room), RightBooks()
        self._books = (
            self.limits,
            self.starts,
            BrakeBooks(),
            CheckBooks(room),
            self.waves,
            self.waits,
            self.right,
        )
        for book in self._books:
            book.broken, book.now_s = self.broken, lambda: room.time.now_s
        self._journal, self._tell = journal, tell
        self._seq = 0
        self._operations: dict[str, Known] = {}
        self._last_call: dict[tuple[str, EffectKind], CallLog] = {}
        room.on_call.append(self.called)
        room.on_act.append(self.starts.acted)

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
            for book in self._books:
                book.line(node, event, detail, moment)
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
            self._created(node, operation_id, detail, moment)
            return
        known = self._operations.get(operation_id)
        if known is None:
            if event not in ("retry", "cancel"):
                self.broken("operations are created first", f"{node}: {event}")
            return
        if event == "admitted":
            self._admitted(known, moment)
        elif event in _ENDS and not (event == "retry" and detail.startswith("asked for by")):
            self._over(known, event, moment)
        elif event == "intent" and effect is not None:
            self._intent(known, json.loads(effect), moment)
        elif event == "outcome" and detail == "done":
            if known.answered or not known.intents or not known.intents[-1][2]:
                text = f"{node}: done is written of the intents {known.intents[-3:]}"
                self.broken("one answer of one call", text)
            known.answered = True

    def _over(self, known: Known, event: str, moment: Moment) -> None:
        if known.held:
            known.held = False
            for book in self._books:
                book.released(known)
        if event != "retry":
            known.over = True
            for book in self._books:
                book.ended(known, event, moment)

    def _created(self, node: str, operation_id: str, detail: str, moment: Moment) -> None:
        actions = moment.plan.actions if moment.plan is not None else ()
        shown = [a for a in actions if a.node == node and f"{a.verb} for {a.holder}" == detail]
        known = Known(operation_id, node, detail.partition(" for ")[0])
        self._operations[operation_id] = known
        if not shown:
            self.broken("effects are the plan shown", f"{node}: {detail} is in no plan")
        for action in shown:
            template = action.target.template
            known.template = template.name if template is not None else None
            known.effects = set().union(*(_EFFECTS_OF.get(each, ()) for each in action.stages))
            known.priority, known.rollout = action.priority, action.rollout
            known.want = f"{action.holder} {action.target.digest}"
        for book in self._books:
            book.created(known, moment)

    def _admitted(self, known: Known, moment: Moment) -> None:
        if known.held or known.over:
            self.broken("one attempt at a time", f"{known.node}: admitted again")
        known.held = True
        known.attempts += 1
        for book in self._books:
            book.admitted(known, moment)

    def _intent(self, known: Known, effect: Mapping[str, Any], moment: Moment) -> None:
        kind = effect["kind"]
        known.intents.append((kind, effect.get("argument", ""), False))
        known.answered = False
        if not known.held:
            self.broken("no effect without a slot", f"{known.node}: {kind} is meant without one")
        if kind not in known.effects:
            self.broken("effects are the plan shown", f"{known.node}: {kind} of {known.verb}")
        if kind == "wipe" and effect["argument"] != TEMPLATES[known.template][2]:
            text = f"{known.node}: {effect['argument']} for template {known.template}"
            self.broken("wiped as git says", text)
        for book in self._books:
            book.intended(known, kind, moment)
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
        for book in self._books:
            book.called(known, log)
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

    def restored(self, lines: int) -> None:
        """The store is an older one again, with so many lines: what ran has no slots any more."""
        self._seq = lines
        for known in self._operations.values():
            if known.held:
                known.held = False
                for book in self._books:
                    book.released(known)

    def process_began(self, number: int, *, clock_was_set: bool) -> None:
        """Another daemon drives from now on; the clock may have been set before."""
        self.right.process = number
        self.clock_was_set(clock_was_set)
        self.starts.process_began()
        self.waves.process_began()
        self.waits.disturbed()

    def clock_was_set(self, was_set: bool = True) -> None:
        """From now on the engine's clock may run a tenth faster or slower."""
        if was_set:
            self.starts.clock_was_set = self.waves.clock_was_set = True
            self.waits.disturbed()

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
