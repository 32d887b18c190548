"""The people: they acknowledge what they are asked for, mend what is broken, retry what has failed.

All that they know is the plan of the daemon's last cycle, and they answer as its messages say.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from sim_branch import Branch
from sim_inventory import wanted
from sim_scenario import Event
from sim_time import Scheduler, VirtualClock

from metalwright.errors import StoreError
from metalwright.model.operation import Verb
from metalwright.model.plan import BlockedReason, Plan
from metalwright.store import Store

OPERATOR_S = 15.0
RETRY_S = 300.0
ACKNOWLEDGED_MAX = 2
"""How often a rollout of a template that boots nothing is let go on, before that is seen."""
PATIENCE_S = 200.0
"""How long a template is let boot nothing where no rollout is paused for it."""

_ASKED = re.compile(r"acknowledge: \[([0-9a-f]+)\]")
_ASKING = frozenset(
    {BlockedReason.BLAST_RADIUS, BlockedReason.HISTORY_REWRITTEN, BlockedReason.ROLLOUT_PAUSED}
)
_TRIED = frozenset({BlockedReason.OPERATION_FAILED, BlockedReason.OPERATION_CANCELLED})

_TELL_OF_A_TEMPLATE = frozenset(
    {BlockedReason.OPERATION_FAILED, BlockedReason.ROLLOUT_PAUSED, BlockedReason.QUARANTINED}
)


class People:
    """Whoever is at the keyboard. `written` is told when they wrote to the store."""

    def __init__(
        self,
        store: str,
        branch: Branch,
        time: Scheduler,
        clock: VirtualClock,
        counts: Counter[str],
        written: Callable[[], None],
    ) -> None:
        self._store, self._branch, self._time, self._clock = store, branch, time, clock
        self._counts, self._written = counts, written
        self._retried_s = 0.0
        self._answers: dict[str, str] = {}
        self._before: dict[str, dict[str, Any]] = {}  # what HEAD said before a bad template
        self._told_s: dict[str, float] = {}
        self._acknowledged: dict[str, set[str]] = {}

    def happen(self, event: Event) -> None:
        """What they do by themselves, as the scenario has it."""
        nodes = [name for name in event.what.get("nodes", ()) if name in self._branch.shape.pool_of]
        if event.kind == "cancel":
            self._say(lambda store: store.cancel(nodes, "ada", self._clock.wall()))
        elif event.kind == "hold":
            why = "the switch is replaced"
            self._say(lambda store: store.hold(nodes, why, "ada", self._clock.wall()))
            self._time.at(self._time.now_s + event.what["for_s"], lambda: self._resume(nodes))
        elif event.kind == "bad template":
            name, model = event.what["template"], self._branch.model
            rests = [key for key in event.what["set"] if key.startswith("rest/")]
            self._answers[name] = event.what["answer"]
            self._before[name] = {key: model[key] for key in (f"template/{name}", *rests)}
            self._told_s.pop(name, None)
            self._acknowledged[name] = set()
            self._branch.happen(event)

    def look(self, plan: Plan) -> None:
        """Read the plan of the newest commit, and do what it asks for."""
        blocked = plan.blocked
        failed = [line.node for line in blocked if line.reason in _TRIED]
        quarantined = [line.node for line in blocked if line.reason is BlockedReason.QUARANTINED]
        if self._mend(plan):
            return
        self._acknowledge(plan)
        replaced = [
            line.node
            for line in blocked
            if line.reason is BlockedReason.DRIFT_REPORTED and line.verb is Verb.REBUILD
        ]
        if (failed or replaced or quarantined) and self._time.now_s >= self._retried_s:
            self._retried_s = self._time.now_s + RETRY_S
            self._retry(failed, replaced, quarantined)

    def _mend(self, plan: Plan) -> bool:
        """Whether a template that boots nothing was mended or taken back now."""
        model = self._branch.model
        wants = wanted(self._branch.shape, model)
        for name in [key[4:] for key in model if key.startswith("bad/")]:
            told = [
                line
                for line in plan.blocked
                if line.reason in _TELL_OF_A_TEMPLATE and wants.get(line.node) == name
            ]
            if not told:
                continue
            answer = self._answers.get(name, "mend")
            asked = {
                one
                for line in told
                if line.reason is BlockedReason.ROLLOUT_PAUSED
                for one in _ASKED.findall(line.message)
            }
            if self._waits(name, answer, asked):
                continue
            edit: dict[str, Any] = {f"bad/{name}": None}
            if answer == "revert":
                edit |= self._before.get(name, {})
            self._counts[f"bad template: {answer}"] += 1
            self._branch.edit(edit, f"What to do about {name}: {answer}")
            return True
        return False

    def _waits(self, name: str, answer: str, asked: set[str]) -> bool:
        """Whether a bad template is left as it is: its rollout is let go on, or not paused yet."""
        began_s = self._told_s.setdefault(name, self._time.now_s)
        known = self._acknowledged.setdefault(name, set())
        if asked and answer == "acknowledge":
            known |= asked
            return len(known) <= ACKNOWLEDGED_MAX
        return not asked and self._time.now_s < began_s + PATIENCE_S

    def _acknowledge(self, plan: Plan) -> None:
        asked = {
            name
            for line in plan.blocked
            if line.reason in _ASKING
            for name in _ASKED.findall(line.message)
        }
        if plan.abandoned_revision is not None:
            asked.add(plan.abandoned_revision[:12])
        known = self._branch.model.get("policy/acknowledge", [])
        fresh = sorted(asked - set(known))
        if fresh:
            self._counts["acknowledged"] += len(fresh)
            self._branch.edit({"policy/acknowledge": [*known, *fresh][-50:]}, "Acknowledge")

    def _retry(self, failed: list[str], replaced: list[str], quarantined: list[str]) -> None:
        """As `mw retry`, `mw adopt --rebuild` for disks with another system, `mw resume`."""
        now = self._clock.wall()

        def say(store: Store) -> None:
            store.resume(quarantined, "ada", now)
            store.retry_failed([*failed, *quarantined], "ada", now)
            store.adopt(dict.fromkeys(replaced), "ada", now)

        self._say(say)
        self._counts["failed nodes retried by hand"] += len(failed)
        self._counts["nodes rebuilt by hand"] += len(replaced)
        self._counts["quarantines lifted"] += len(quarantined)

    def _resume(self, nodes: Iterable[str]) -> None:
        self._say(lambda store: store.resume(nodes, "ada", self._clock.wall()))

    def _say(self, say: Callable[[Store], object]) -> None:
        """One command, again after a while when the store is busy."""
        try:
            with Store.open(self._store) as store:
                say(store)
        except StoreError:
            self._counts["the operator met a busy store"] += 1
        self._written()
