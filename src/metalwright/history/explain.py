"""Why one node is as it is, and why nothing happens: the answer as a short list of sentences."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from metalwright.model.desired import Desired, DesiredNode
from metalwright.model.fields import format_duration, format_instant
from metalwright.model.inventory import Inventory
from metalwright.model.observed import BootProgress, Observation, Observed
from metalwright.model.operation import Memory, NodeMemory
from metalwright.model.plan import Plan, Reason
from metalwright.model.rollout import ROLLOUT_OVER


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What git wants, what the hardware says, what we did, and what follows from that now."""

    node: str
    wanted: str
    observed: str
    done: str
    verdict: str
    reasons: tuple[str, ...] = ()


def explain(
    name: str, desired: Desired, observed: Observed, memory: Memory, plan: Plan
) -> Explanation:
    """Explain one node from the very values that the plan was made of.

    Raises:
        KeyError: neither git nor the store knows the node.
    """
    if name not in desired.inventory.nodes and name not in memory.nodes:
        raise KeyError(name)
    verdict, reasons = _verdict(name, desired, plan)
    return Explanation(
        node=name,
        wanted=_wanted(name, desired.inventory, desired.nodes.get(name)),
        observed=_seen(observed.nodes.get(name), plan.at),
        done=_done(memory.nodes.get(name)),
        verdict=verdict,
        reasons=tuple(_reason(reason) for reason in reasons),
    )


def _wanted(name: str, inventory: Inventory, wanted: DesiredNode | None) -> str:
    node = inventory.nodes.get(name)
    if node is None:
        return "nothing: git does not declare it, and absence is not an instruction"
    if wanted is None:
        lifecycle = node.spec.lifecycle.value
        if lifecycle != "managed":
            return f"nothing: its lifecycle is {lifecycle} ({inventory.sources['Node', name]})"
        return "nothing: it is in no pool"
    target = wanted.target
    runs = f" running template {target.template.name}" if target.template is not None else ""
    since = f" since {format_instant(wanted.holder.since)}" if wanted.holder.since else ""
    return (
        f"power {target.power.value}{runs}, held by {wanted.holder} for {wanted.holder.owner}"
        f"{since} ({wanted.source})"
    )


def _seen(observation: Observation | None, now: datetime) -> str:
    if observation is None:
        return "unknown: it was never asked"
    age = format_duration(int(observation.age_s(now)))
    if observation.reading is None:
        why = observation.error.message if observation.error is not None else "no answer"
        again = observation.next_attempt_at
        following = f"; asked again at {_instant(again)}" if again is not None else ""
        return f"unknown: {why} (asked {age} ago, {observation.failures} in a row{following})"
    reading = observation.reading
    device = f", boot device {reading.boot_device.value}" if reading.boot_device else ""
    known = reading.boot_progress not in (None, BootProgress.NONE)
    progress = f", {reading.boot_progress}" if known else ""
    health = f", health {reading.health.value}" if reading.health is not None else ""
    return f"power {reading.power.value}{device}{progress}{health} (asked {age} ago)"


def _done(memory: NodeMemory | None) -> str:
    if memory is None:
        return "nothing: it is not adopted"
    applied, count = memory.applied, memory.failures
    row = f"; {count} operation{'s' if count > 1 else ''} in a row failed" if count else ""
    row += _left(memory)
    if applied is None:
        return f"adopted by {memory.adopted_by}; what it carries is not known{row}"
    template = applied.target.template
    what = f"template {template.name}" if template is not None else f"power {applied.target.power}"
    return (
        f"brought to {what} for {applied.holder} at {_instant(applied.at)}, "
        f"commit {applied.revision[:12]} ({applied.source}){row}"
    )


def _left(memory: NodeMemory) -> str:
    """Whose data may be on the disks, where that is not plain from who has the node."""
    tenant, applied = memory.tenant, memory.applied
    if tenant is None or (applied is not None and applied.holder == tenant):
        return ""
    return f"; data of {tenant.owner} ({tenant}) may be on its disks, which were not wiped since"


def _verdict(name: str, desired: Desired, plan: Plan) -> tuple[str, tuple[Reason, ...]]:
    for action in plan.actions:
        if action.node == name:
            start = "starts now" if action.starts_now else "waits for a slot"
            data = "; destroys data" if action.destroys_data else ""
            turn = _rolled(name, plan)
            return f"to be changed: {action.verb.value}, {start}{data}{turn}", action.reasons
    for progress in plan.in_progress:
        if progress.node == name:
            stage = progress.stage.value if progress.stage is not None else "waiting for a slot"
            later = f", not before {_instant(progress.not_before)}" if progress.not_before else ""
            error = f"; last error: {progress.last_error}" if progress.last_error else ""
            why = f" ({progress.why})" if progress.why else ""
            verb, fate = progress.verb.value, progress.fate.value
            data = "; destroys data" if progress.destroys_data else ""
            state = f"{verb}, {stage}, attempt {progress.attempt}{later}{data}"
            return f"in progress: {state}, to {fate}{why}{error}{_rolled(name, plan)}", ()
    for blocked in plan.blocked:
        if blocked.node == name:
            message = blocked.message.replace(" NODE`", f" {name}`")
            said = f"{blocked.reason.value}: {message}{_rolled(name, plan)}"
            if blocked.cause is None:
                return f"as desired, and kept so: {said}", blocked.reasons
            return f"left alone: {said}", blocked.reasons
    if name not in desired.nodes:
        return "left alone: git wants nothing of it", ()
    return f"as desired{_rolled(name, plan)}", ()


def _rolled(name: str, plan: Plan) -> str:
    """The rollout that the node is part of, how far that is, and what came of the node."""
    for rollout in plan.rollouts:
        turns = [at for at, wave in enumerate(rollout.waves) if name in wave]
        if not turns or rollout.state in ROLLOUT_OVER:
            continue
        why = f", {rollout.why}" if rollout.why else ""
        failed = "; it failed" if name in rollout.failed else ""
        return (
            f"; in wave {turns[0] + 1} of {len(rollout.waves)} of the rollout of {rollout.template}"
            f" ({rollout.state.value} at wave {rollout.wave + 1}{why}){failed}"
        )
    return ""


def _reason(reason: Reason) -> str:
    where = f" ({reason.source})" if reason.source is not None else ""
    commit = reason.commit
    by = f", commit {commit.id[:12]} {commit.subject!r} by {commit.author}" if commit else ""
    return f"{reason.field}: {reason.observed} -> {reason.desired}{where}{by}"


def _instant(value: datetime) -> str:
    """To the second: nobody reads the rest."""
    return format_instant(value.replace(microsecond=0))
