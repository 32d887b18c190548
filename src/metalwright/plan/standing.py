"""Where one node stands in a rollout: whether it may go, is under way, done, failed, or away.

And whether it is healthy: what a rollout's gate asks of a node that is done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from metalwright.model.desired import Desired, DesiredNode
from metalwright.model.identity import Match, compare_identity
from metalwright.model.observed import BootProgress, Observation, Power
from metalwright.model.operation import NodeMemory, OperationState
from metalwright.model.plan import BlockedReason
from metalwright.plan.blockers import PASSING
from metalwright.plan.consents import holder_key
from metalwright.plan.context import Ground
from metalwright.plan.tenancy import same_tenancy

SILENT_ASKINGS: Final = 3
"""A node that did not answer so often in a row is silent; less may be a hiccup of the network."""

Key = tuple[str, str, str]
"""Pool, holder and target digest: what one rollout brings to its nodes."""


class Standing(StrEnum):
    """Where a node stands. `AWAY` is one that cannot be started and will not soon, by its silence,
    its identity or a hold; `STUCK` one that only a person or a commit sets going.
    """

    READY = "ready"
    WAITS = "waits"
    AWAY = "away"
    STUCK = "stuck"
    UNDER_WAY = "under way"
    FAILED = "failed"
    DONE = "done"
    GONE = "gone"


class Health(StrEnum):
    """What the latest observation says of a node that is done."""

    HEALTHY = "healthy"
    SICK = "sick"
    UNKNOWN = "unknown"


def standing_of(reason: BlockedReason, seen: Observation | None) -> Standing:
    """Where a node stands that is left alone for this reason."""
    if reason not in PASSING:
        return Standing.STUCK
    if reason in (BlockedReason.FROZEN, BlockedReason.STALE_OBSERVATION):
        return Standing.WAITS
    if reason is BlockedReason.NOT_OBSERVED and (seen is None or seen.reading is None):
        return Standing.AWAY if _silent(seen) else Standing.WAITS
    return Standing.AWAY


def _silent(seen: Observation | None) -> bool:
    return seen is not None and seen.failures >= SILENT_ASKINGS


def key_of(wanted: DesiredNode) -> Key:
    """The rollout that would bring this node to what git wants."""
    return wanted.pool, holder_key(wanted.holder).removesuffix("@"), wanted.target.digest


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The nodes as a rollout sees them. `staged` has those that lack something that is rolled out,
    and where they stand.
    """

    ground: Ground
    staged: Mapping[str, Standing]

    def is_away(self, name: str) -> bool:
        """Whether a node that lacks something cannot be started, and will not soon."""
        return self.staged.get(name) is Standing.AWAY

    def standing(self, name: str, key: Key) -> Standing:
        """Where a node stands in the rollout of this key."""
        wanted = self.ground.desired.nodes.get(name)
        remembered = self.ground.memory.nodes.get(name)
        if wanted is None or remembered is None or key_of(wanted) != key:
            return Standing.GONE
        if remembered.operation is not None and remembered.operation.unfinished:
            return Standing.UNDER_WAY
        found = self.staged.get(name)
        if found is None:
            return Standing.DONE if self._has(remembered, wanted) else Standing.GONE
        if found is Standing.STUCK:
            return Standing.FAILED if _failed(remembered, key) else Standing.GONE
        return found

    def _has(self, remembered: NodeMemory, wanted: DesiredNode) -> bool:
        """Whether a node was brought to what is rolled out. Else it lacks what no rollout brings:
        it left the assignment and came back, and that is a boundary.
        """
        applied, inventory = remembered.applied, self.ground.desired.inventory
        if applied is None or applied.target.digest != wanted.target.digest:
            return False
        return same_tenancy(applied.holder, wanted.holder, inventory, same_target=True)

    def error(self, name: str) -> str:
        """What a node failed of, in a few words."""
        remembered = self.ground.memory.nodes.get(name)
        failed = remembered.failed if remembered is not None else None
        if failed is not None and failed.last_error:
            return failed.last_error
        desired, seen = self.ground.desired, self.ground.observed.nodes.get(name)
        ailment = ""
        if seen is not None and name in desired.nodes:  # one that failed may have left git since
            ailment = _ailment(desired, name, seen)
        return "not healthy after its operation" + (f": {ailment}" if ailment else "")

    def health(self, name: str) -> Health:
        """Whether a node that is done is seen, since then, to be what git wants, and running."""
        ground = self.ground
        seen, applied = ground.observed.nodes.get(name), ground.memory.nodes[name].applied
        if seen is None or (applied is not None and seen.at < applied.at):
            return Health.UNKNOWN
        reading = seen.reading
        if reading is None:
            return Health.SICK if _silent(seen) else Health.UNKNOWN
        fresh = seen.age_s(ground.desired.at) <= ground.desired.inventory.rules.observation_ttl
        if not fresh or reading.power is Power.UNKNOWN:
            return Health.UNKNOWN
        return Health.SICK if _ailment(ground.desired, name, seen) else Health.HEALTHY

    def is_mute(self, name: str) -> bool:
        """Whether a node that is done answers, and what it answers is not whether it is on."""
        seen = self.ground.observed.nodes.get(name)
        if seen is None or seen.reading is None or seen.reading.power is not Power.UNKNOWN:
            return False
        ttl_s = self.ground.desired.inventory.rules.observation_ttl
        return seen.age_s(self.ground.desired.at) <= ttl_s


def _ailment(desired: Desired, name: str, seen: Observation) -> str:
    """What is wrong with a node that is done, by one observation; empty when nothing is."""
    reading, wanted = seen.reading, desired.nodes[name]
    if reading is None:
        return "it does not answer"
    if reading.power.value != wanted.target.power.value:
        return f"its power is {reading.power.value}"
    identity = compare_identity(desired.inventory.nodes[name].spec, reading.identity)
    if identity.match is Match.OTHER:
        return "another machine answers"
    template = wanted.target.template
    if template is not None and reading.template_digest not in (None, template.digest):
        return "it runs something else"
    if template is not None and reading.boot_progress not in (None, BootProgress.OS_RUNNING):
        return f"its boot is at {reading.boot_progress.value}"
    return ""


def _failed(remembered: NodeMemory, key: Key) -> bool:
    failed = remembered.failed
    if failed is None or failed.state is not OperationState.FAILED:
        return False
    return failed.target.digest == key[2]
