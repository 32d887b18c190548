"""What `check` asks about one node, worked out from the values alone.

Written apart from `difference` and `tenancy` on purpose, and more bluntly: two readings of the same
rules have to agree before a machine is touched.
"""

from __future__ import annotations

from collections.abc import Collection, Set
from dataclasses import dataclass, field

from metalwright.model.desired import Desired, Holder
from metalwright.model.hardware import Lifecycle
from metalwright.model.observed import BootProgress, Observation, Observed, Power
from metalwright.model.operation import Applied, Memory, Stage, Verb
from metalwright.model.template import Method, WipePolicy
from metalwright.model.tenancy import Reuse
from metalwright.plan.checked import Checked
from metalwright.plan.context import PlanContext

ACKNOWLEDGED_MIN = 12
WIPING = frozenset({Verb.DEPLOY, Verb.REBUILD})
TURNING_OFF = frozenset({Verb.DEPLOY, Verb.REBUILD, Verb.REBOOT, Verb.UNDEPLOY, Verb.POWER_OFF})


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The four values that a plan is made of, and questions to them. `told` are the nodes
    that have a line, `checked` knows whose was in order before.
    """

    desired: Desired
    observed: Observed
    memory: Memory
    context: PlanContext
    told: Set[str] = frozenset()
    checked: Checked = field(default_factory=Checked)

    def in_scope(self, node: str) -> bool:
        """Whether the plan was asked to speak of this node."""
        return self.context.limit_nodes is None or node in self.context.limit_nodes

    def of_scope(self, nodes: Collection[str]) -> Collection[str]:
        """Those of these nodes that the plan was asked to speak of."""
        limit = self.context.limit_nodes
        return nodes if limit is None else [node for node in nodes if node in limit]

    def managed(self, node: str) -> bool:
        """Whether git lets us change it at all."""
        declared = self.desired.inventory.nodes.get(node)
        return (
            declared is not None
            and declared.spec.lifecycle is Lifecycle.MANAGED
            and node in self.desired.nodes
        )

    def seen(self, node: str) -> Observation | None:
        """The latest observation, if the node was ever asked."""
        return self.observed.nodes.get(node)

    def power(self, node: str) -> Power:
        """The power state, unknown where there is no reading of it."""
        seen = self.seen(node)
        return (
            seen.reading.power if seen is not None and seen.reading is not None else Power.UNKNOWN
        )

    def woken(self, node: str, verb: Verb) -> bool:
        """Whether the machine is one of which nobody tells the power, and is only woken."""
        seen, template = self.seen(node), self.desired.nodes[node].target.template
        reading = seen.reading if seen is not None else None
        if reading is None or not reading.wakes or reading.power is not Power.UNKNOWN:
            return False
        tells = template is not None and template.phone_home
        return tells and not self.destroys(node, verb)

    def origin(self, node: str) -> Applied | None:
        """What the machine was before whatever comes now."""
        remembered = self.memory.nodes.get(node)
        if remembered is None:
            return None
        return remembered.applied if remembered.applied is not None else remembered.former

    def one_tenancy(self, old: Holder, new: Holder, *, same: bool) -> bool:
        """Whether the two holders are the same tenant in the same window; `same`: equal targets."""
        if (old.kind, new.kind) == ("Pool", "Pool"):
            return same or old.name == new.name
        if (old.kind, new.kind) != ("Assignment", "Assignment"):
            return False
        assignments = self.desired.inventory.assignments
        if old.name != new.name:
            renamed = old.name not in assignments and old.owner == new.owner
            return renamed and same and old.since == new.since
        when = assignments[new.name].spec.when
        repeats = when is not None and when.schedule is not None
        over = old.until is not None and new.since is not None and old.until <= new.since
        return not (repeats and over)

    def within_tenancy(self, node: str) -> bool:
        """Whether what git wants is for the tenancy that the machine was made for."""
        origin, wanted = self.origin(node), self.desired.nodes[node]
        if origin is None:
            return False
        same = origin.target.digest == wanted.target.digest
        return self.one_tenancy(origin.holder, wanted.holder, same=same)

    def settled(self, node: str) -> bool:
        """Whether what was done last is what git wants now."""
        remembered, wanted = self.memory.nodes.get(node), self.desired.nodes[node]
        if remembered is None or remembered.applied is None:
            return False
        before, after = remembered.applied.target, wanted.target
        same = before.digest == after.digest
        if not self.one_tenancy(remembered.applied.holder, wanted.holder, same=same):
            return False
        if same:
            return True
        if before.template is None or after.template is None:
            return False
        booted = ("method", "image", "kernel_args", "user_data", "vendor_data", "files")
        return all(getattr(before.template, f) == getattr(after.template, f) for f in booted)

    def drifted(self, node: str) -> bool:
        """Whether the hardware says something else than git."""
        target, seen = self.desired.nodes[node].target, self.seen(node)
        if seen is None or seen.reading is None or seen.reading.power is Power.UNKNOWN:
            return False
        reading = seen.reading
        if reading.power.value != target.power.value:
            return True
        if target.template is None or reading.boot_progress is not BootProgress.OS_RUNNING:
            return False
        return reading.template_digest not in (None, target.template.digest)

    def acknowledged(self, digest: str) -> bool:
        """Whether a commit names this digest, by enough of its digits."""
        given = self.desired.inventory.rules.acknowledge
        return any(len(one) >= ACKNOWLEDGED_MIN and digest[: len(one)] == one for one in given)

    def history_kept(self) -> bool:
        """Whether HEAD descends from what was carried out, or a commit says that it need not."""
        abandoned = self.context.abandoned_revision
        return abandoned is None or self.acknowledged(abandoned)

    def stopped(self, node: str) -> str:
        """How a hold or a quarantine is called, where one is on the node; else nothing."""
        remembered, wanted = self.memory.nodes.get(node), self.desired.nodes.get(node)
        if remembered is not None and remembered.quarantine is not None:
            return "in quarantine"
        in_git = wanted is not None and wanted.hold is not None
        here = remembered is not None and remembered.hold is not None
        return "held" if in_git or here else ""

    def destroys(self, node: str, verb: Verb) -> bool:
        """Whether this verb loses what is on the disks."""
        template = self.desired.nodes[node].target.template
        if verb not in WIPING or template is None:
            return False
        written = template.method is Method.DISK and template.image is not None
        return written or template.wipe is not WipePolicy.NONE

    def exposes(self, node: str, stages: Collection[Stage]) -> bool:
        """Whether this would give what a tenant may have left on the disks to another owner."""
        left, wanted = self.memory.nodes[node].tenant, self.desired.nodes[node]
        new = wanted.holder
        if left is None or new.kind != "Assignment" or new.owner == left.owner:
            return False
        if Stage.WIPE in stages or Stage.BOOT not in stages:
            return False
        if self.desired.inventory.pools[wanted.pool].spec.reuse is Reuse.UNWIPED:
            return False
        origin = self.origin(node)
        mine = origin is not None and origin.holder.owner == left.owner
        return not (mine and self.within_tenancy(node))

    def consented(self, node: str) -> bool:
        """Whether a commit allows to lose it: by saying so, or as an assignment's boundary."""
        origin, wanted = self.origin(node), self.desired.nodes[node]
        if wanted.data_loss_consent:
            return True
        if origin is None or self.within_tenancy(node):
            return False
        return "Assignment" in (origin.holder.kind, wanted.holder.kind)
