"""One cycle: read git, resolve, look, plan, check, carry out. It takes no input and keeps no secret
state.

The only things kept from cycle to cycle are caches (the inventory of a commit, its desired state
until the next change, what was planned of nodes that are as before) and the revision in force
(`following`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime

from metalwright.daemon.alerts import alerts_of
from metalwright.daemon.checking import words_of
from metalwright.daemon.fleet import Fleet, observed_nodes
from metalwright.daemon.following import FACT_IN_FORCE, Follower
from metalwright.daemon.former import Former
from metalwright.daemon.later import Later, without_later
from metalwright.daemon.sentence import sentence_of
from metalwright.errors import PlanError, StoreError
from metalwright.execute import CycleReport
from metalwright.model.desired import Desired, DesiredNode
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Commit, Inventory, Source
from metalwright.model.observed import Observed
from metalwright.model.operation import Applied, Memory
from metalwright.model.plan import Plan
from metalwright.plan import (
    Attributed,
    Checked,
    Memo,
    PlanContext,
    attribute,
    check,
    make,
    unchanged_records,
)
from metalwright.schedule import desired as resolve

__all__ = ["FACT_CYCLE", "FACT_IN_FORCE", "CycleResult", "Reconciler", "applied_as"]

FACT_CYCLE = "cycle"


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleResult:
    """What one cycle saw and did. `plan` is `None` when no revision is in force."""

    at: datetime
    sentence: str
    plan: Plan | None = None
    desired: Desired | None = None
    observed: Observed | None = None
    report: CycleReport | None = None
    trouble: str = ""
    alerts: tuple[str, ...] = ()
    unpassed: Mapping[str, str] = field(default_factory=FrozenDict)

    @property
    def settled(self) -> bool:
        """Whether nothing is to be started and nothing is under way."""
        return self.plan is not None and not self.plan.actions and not self.plan.in_progress


class Reconciler(Follower):
    """Runs cycles on an opened fleet. One thread at a time."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(fleet)
        self._former, self._later = Former(fleet, self.ancestors), Later(fleet)
        self._forget()

    def _forget(self) -> None:
        """Empty every cache; what is in force stays so."""
        self._desired: Desired | None = None
        self._memo, self._checked, self._attributed = Memo(), Checked(), Attributed()
        self.planned_until: datetime | None = None
        """When time alone moves something of the last cycle's plan: a rollout that has soaked, a
        node that had to be seen healthy."""
        self._blames: dict[tuple[str, tuple[str, ...], str | None], Commit | None] = {}
        self._places: dict[tuple[str, Source], Source] = {}

    def resolve(self, wall: datetime, now: datetime | None = None) -> Desired:
        """The desired state at `wall`, for a plan that is made at `now` (without it, at `wall`).

        Calendars are about the wall clock, and all that is waited for about a steady one. It is
        kept until the revision or the calendar wants something else.
        """
        assert self.inventory is not None
        kept = self._desired
        # A clock that was set back is before what is kept: resolve anew rather than trust it.
        until = kept.next_change_at if kept is not None else None
        if (
            kept is None
            or kept.inventory is not self.inventory
            or wall < kept.at
            or (until is not None and wall >= until)
        ):
            kept = resolve(self.inventory, wall)
        self._desired = kept
        return replace(kept, at=now or wall)

    @property
    def desired_until(self) -> datetime | None:
        """When, by the wall clock, the same revision will want something else, if ever."""
        return self._desired.next_change_at if self._desired is not None else None

    def context(
        self, memory: Memory, inventory: Inventory, *, preview: bool = False
    ) -> PlanContext:
        """What the planner must know beside the values: drivers, and how the revision stands to
        what was carried out.

        A `preview` of a branch may well lack the newest commits; that is not a rewritten history.
        """
        if self.fleet.boot is not None:
            self.fleet.boot.follow(inventory)
        last, head = memory.applied_revision, inventory.revision.id
        rewritten = (
            not preview
            and last is not None
            and last != head
            and not self.fleet.repository.is_ancestor(last, head)
        )
        return PlanContext(
            capabilities={name: driver.capabilities for name, driver in self.fleet.drivers.items()},
            abandoned_revision=last if rewritten else None,
            former_radius=self._former.radius(inventory),
            no_ramdisk=self.fleet.boot.no_ramdisk if self.fleet.boot else frozenset(),
            later_revisions=frozenset() if preview else self._later.of(memory, head),
        )

    def blame(self, revision: str, paths: tuple[str, ...], since: str | None) -> Commit | None:
        """The last commit that touched one of `paths`; asked of git once."""
        key = (revision, paths, since)
        if key not in self._blames:
            if len(self._blames) >= ANSWERS_MAX:
                self._blames.clear()
            repository = self.fleet.repository
            # What a rewritten history dropped is no beginning to search from, and may be gone.
            known = since is not None and repository.is_ancestor(since, revision)
            self._blames[key] = repository.latest_commit(revision, paths, since if known else None)
        return self._blames[key]

    def locate(self, revision: str, source: Source) -> Source:
        """The source with its field's own line; asked of git once."""
        key = (revision, source)
        if key not in self._places:
            if len(self._places) >= ANSWERS_MAX:
                self._places.clear()
            self._places[key] = self.fleet.loader.locate(source, revision)
        return self._places[key]

    def plan(
        self, desired: Desired, observed: Observed, memory: Memory, context: PlanContext
    ) -> Plan:
        """A checked plan with its commits.

        Raises:
            PlanError: the plan breaks an invariant.
        """
        plan = make(desired, observed, memory, context, self._memo)
        violations = check(plan, desired, observed, memory, context, self._checked)
        if violations:
            raise PlanError(violations)
        revision = desired.inventory.revision.id
        return attribute(
            plan,
            lambda paths, since: self.blame(revision, paths, since),
            lambda source: self.locate(revision, source),
            self._attributed,
        )

    def recover(self) -> None:
        """After a cycle that was broken off: trust no cache, and go on asking the machines. Else
        what one of them said, and nobody could plan with, would be its last word.
        """
        self._forget()
        engine = self.fleet.engine
        if self.inventory is not None and engine is not None:
            with suppress(StoreError):  # it is away; the next cycle says so
                self.fleet.sweeper.tick(observed_nodes(self.inventory), engine.busy())

    def cycle(self) -> CycleResult:
        """Run one cycle.

        Raises:
            PlanError: a plan broke an invariant; nothing of it was carried out.
            FencedError: the fleet lock is lost, or another process claimed the store; nothing was
                started, and nothing more can be.
            StoreError: the store cannot be read or written; nothing was started.
        """
        fleet = self.fleet
        assert fleet.engine is not None
        self.planned_until = None
        fleet.confirm()
        fleet.note()  # what the cycle before wrote, and operators since: before more is started
        # Before HEAD: a node that is adopted meanwhile is recorded as a HEAD wants it that this
        # cycle may not know yet, and would be brought back to the older one.
        memory = fleet.store.memory()
        self.follow_head()
        if self.inventory is None or self.unsure:
            at, sentence = fleet.clock(), f"no revision in force: {self.trouble}"
            self.planned_until = at if self.reading_on else None
            return CycleResult(at=at, sentence=sentence, trouble=self.trouble)
        fleet.sweeper.follow(observed_nodes(self.inventory))
        observed = replace(fleet.sweeper.snapshot(), checks=fleet.prober.snapshot())
        told: tuple[str, ...] = ()
        if fleet.boot is not None:
            observed = fleet.boot.seen(observed, memory, self.inventory)
            told = fleet.boot.alerts(self.inventory)
        # The instant of the cycle is after all that it knows: no end is before what proves it.
        now = fleet.clock()
        desired = self.resolve(fleet.wall(), now)
        context = self.context(memory, self.inventory)
        plan = self.plan(desired, observed, memory, context)
        self.planned_until = plan.next_due_at
        self._former.remember(now)
        if plan.abandoned_revision is None:
            renamed = unchanged_records(desired, memory, observed, self.inventory)
            renamed = without_later(renamed, memory, context.later_revisions)
            fleet.store.record_unchanged(renamed, now)
        report = fleet.engine.carry_out(plan, self.inventory, observed, now)
        fleet.sweeper.tick(observed_nodes(self.inventory), fleet.engine.busy())
        fleet.prober.follow(fleet.engine.validations)
        return CycleResult(
            at=now,
            sentence=sentence_of(plan, report, self.trouble),
            plan=plan,
            desired=desired,
            observed=observed,
            report=report,
            trouble=self.trouble,
            alerts=fleet.engine.alerts(now) + alerts_of(fleet.drivers.values()) + told,
            unpassed=words_of(fleet.engine.validations, observed.checks),
        )


def applied_as(wanted: DesiredNode, revision: str, now: datetime) -> Applied:
    """The record of a node that is taken to be what git wants of it."""
    return Applied(
        target=wanted.target,
        holder=wanted.holder,
        revision=revision,
        source=wanted.source,
        at=now,
    )


ANSWERS_MAX = 10_000
"""Answers of git kept, so that a daemon that runs for years does not grow."""
