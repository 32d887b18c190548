"""The promises that each single action keeps."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from metalwright.model.desired import DesiredNode
from metalwright.model.hardware import NodeSpec
from metalwright.model.inventory import Inventory
from metalwright.model.observed import Identity, Power
from metalwright.model.operation import (
    CORRECTIONS_MAX,
    CORRECTIONS_SPAN,
    EffectKind,
    Operation,
    Stage,
    Verb,
)
from metalwright.model.plan import Action, Cause, Plan
from metalwright.model.template import Method, WipePolicy
from metalwright.model.tenancy import DriftPolicy, PowerState, TemplateEdits
from metalwright.plan.facts import TURNING_OFF, WIPING, Facts

BOOTING = WIPING | {Verb.REBOOT}


def action_violations(plan: Plan, facts: Facts) -> Iterator[str]:
    """What is wrong with the actions, each by itself."""
    for action in plan.actions:
        wanted = facts.desired.nodes.get(action.node)
        if wanted is None or not facts.managed(action.node):
            yield f"{action.node}: is changed, but git lets nobody change it"
            continue
        if action.node not in facts.memory.nodes:
            yield f"{action.node}: is changed, but not adopted"
            continue
        for rule in (
            _as_git_says,
            _fits_verb,
            _needed,
            _made_anew,
            _not_exposed,
            _not_busy,
            _seen,
            _data,
            _able,
            _may_start,
        ):
            for violation in rule(action, wanted, facts):
                yield f"{action.node}: {violation}"


def _as_git_says(action: Action, wanted: DesiredNode, facts: Facts) -> Iterator[str]:  # noqa: ARG001
    if (action.target, action.holder, action.pool) != (wanted.target, wanted.holder, wanted.pool):
        yield "is brought to something else than git wants"
    if action.priority != wanted.priority:
        yield "has another priority than git gives it"


def _fits_verb(action: Action, wanted: DesiredNode, facts: Facts) -> Iterator[str]:
    """Verb, stages and flags say the same thing."""
    off = wanted.target.power is PowerState.OFF
    if off != (action.verb in (Verb.UNDEPLOY, Verb.POWER_OFF)):
        yield f"{action.verb.value} does not lead to power {wanted.target.power.value}"
    if action.verb in WIPING and wanted.target.template is None:
        yield f"{action.verb.value} without a template"
    stages = _stages(action.verb, wanted, facts.desired.inventory)
    woken = facts.woken(action.node, action.verb)
    if woken:
        stages = tuple(stage for stage in stages if stage is not Stage.POWER_OFF)
    if action.stages != stages:
        yield f"the stages are not those of {action.verb.value}"
    if action.destroys_data != facts.destroys(action.node, action.verb):
        yield "says the wrong thing about data loss"
    off = facts.power(action.node) is Power.OFF
    powers_off = action.verb in TURNING_OFF and not off and not woken
    if action.disruptive != (powers_off or action.destroys_data):
        yield "says the wrong thing about disruption"


def _stages(verb: Verb, wanted: DesiredNode, inventory: Inventory) -> tuple[Stage, ...]:
    template = wanted.target.template
    anew = verb in WIPING and template is not None
    has = {
        Stage.POWER_OFF: verb in TURNING_OFF,
        Stage.WIPE: anew and template is not None and template.wipe is not WipePolicy.NONE,
        Stage.BOOT: verb not in (Verb.UNDEPLOY, Verb.POWER_OFF),
        Stage.INSTALLING: anew and template is not None and template.method is Method.DISK,
        Stage.VALIDATING: verb in BOOTING and _checked(wanted, inventory),
    }
    return tuple(stage for stage in Stage if has[stage])


def _checked(wanted: DesiredNode, inventory: Inventory) -> bool:
    """Whether the template that the revision has, or the pool, gives the node a check."""
    template = wanted.target.template
    now = inventory.resolved.get(template.name) if template is not None else None
    return bool(inventory.pools[wanted.pool].spec.validation or (now and now.validation))


def _needed(action: Action, wanted: DesiredNode, facts: Facts) -> Iterator[str]:
    """Something differs, and the pool and the assignment want it mended now."""
    if not facts.settled(action.node):
        remembered = facts.memory.nodes[action.node]
        live = remembered.applied is not None and facts.within_tenancy(action.node)
        if live and wanted.template_edits is TemplateEdits.AT_BOUNDARY:
            yield f"an edit reaches it while {wanted.holder} has it"
        if facts.within_tenancy(action.node) and action.verb is Verb.DEPLOY:
            origin = facts.origin(action.node)
            if origin is not None and origin.target.template is not None:
                yield "is deployed again although its tenancy goes on"
        return
    if not facts.drifted(action.node):
        yield "is changed although nothing differs"
    elif wanted.drift is not DriftPolicy.CORRECT:
        yield f"its drift is corrected, which pool {wanted.pool} did not ask for"
    elif _undone(action.node, facts):
        yield "its drift is corrected once more, and was undone every time"
    elif action.verb in WIPING:
        yield f"its drift is corrected by {action.verb.value}"
    if any(reason.cause is Cause.GIT for reason in action.reasons):
        yield "git is blamed for what the hardware did"


def _made_anew(action: Action, wanted: DesiredNode, facts: Facts) -> Iterator[str]:
    """Disks that a wipe or an installation was begun on are never taken for what they were."""
    boots = wanted.target.template is not None and action.verb not in WIPING
    if boots and facts.memory.nodes[action.node].overwritten:
        yield "boots as it was although its disks were being overwritten"


def _not_exposed(action: Action, wanted: DesiredNode, facts: Facts) -> Iterator[str]:
    """What a tenant left on the disks never gets into another owner's hands."""
    if facts.exposes(action.node, action.stages):
        yield f"goes to {wanted.holder.owner} with another tenant's data on its disks"


def _undone(node: str, facts: Facts) -> bool:
    applied = facts.memory.nodes[node].applied
    if applied is None or applied.corrections < CORRECTIONS_MAX:
        return False
    return facts.desired.at < applied.at + CORRECTIONS_SPAN


def _not_busy(action: Action, wanted: DesiredNode, facts: Facts) -> Iterator[str]:
    remembered = facts.memory.nodes[action.node]
    if remembered.operation is not None and remembered.operation.unfinished:
        yield "has an unfinished operation already"
    failed = remembered.failed
    if failed is not None and _same(failed, wanted, facts):
        yield "what failed before is tried again, and nothing has changed"


def _same(operation: Operation, wanted: DesiredNode, facts: Facts) -> bool:
    same = operation.target.digest == wanted.target.digest
    return same and facts.one_tenancy(operation.holder, wanted.holder, same=True)


def _seen(action: Action, wanted: DesiredNode, facts: Facts) -> Iterator[str]:  # noqa: ARG001
    """It was seen lately, and it is the machine that git means."""
    if facts.context.observed_kind == "none":
        return
    seen = facts.seen(action.node)
    if seen is None or seen.reading is None:
        yield "is changed on unknown power"
        return
    if seen.reading.power is Power.UNKNOWN and not facts.woken(action.node, action.verb):
        yield "is changed on unknown power"
        return
    if (
        abs((facts.desired.at - seen.at).total_seconds())
        > facts.desired.inventory.rules.observation_ttl
    ):
        yield "is changed on an observation that is too old"
    spec, reading = facts.desired.inventory.nodes[action.node].spec, seen.reading
    if not all(_agreements(spec, reading.identity)):
        yield "is another machine than git means"
    elif action.destroys_data and not _agreements(spec, reading.bmc_identity or reading.identity):
        yield "loses data although nothing says which machine it is"


def _agreements(spec: NodeSpec, found: Identity) -> list[bool]:
    """Of each part of the identity that is declared and was told, whether it is the same."""
    agrees = []
    if spec.serial and found.serial:
        agrees.append(_bare(spec.serial) == _bare(found.serial))
    if spec.system_uuid and found.system_uuid:
        agrees.append(bool(_spellings(spec.system_uuid) & _spellings(found.system_uuid)))
    macs = {nic.mac.lower() for nic in spec.nics if nic.boot}
    if macs and found.macs:
        agrees.append(macs <= {mac.lower() for mac in found.macs})
    return agrees


def _bare(value: str) -> str:
    return value.strip().casefold()


def _spellings(value: str) -> set[str]:
    """A UUID in both byte orders of its first three fields, as bare digits; any other text as it is
    but for its case.
    """
    try:
        found = uuid.UUID(value)
    except ValueError:
        return {_bare(value)}
    return {found.hex, found.bytes_le.hex()}


def _data(action: Action, wanted: DesiredNode, facts: Facts) -> Iterator[str]:  # noqa: ARG001
    if facts.destroys(action.node, action.verb) and not facts.consented(action.node):
        yield "loses data without consent"


def _able(action: Action, wanted: DesiredNode, facts: Facts) -> Iterator[str]:
    driver = facts.desired.inventory.nodes[action.node].spec.driver
    able = facts.context.capabilities.get(driver, frozenset())
    needs: set[EffectKind] = set()
    if Stage.POWER_OFF in action.stages:
        needs |= {EffectKind.SOFT_POWER_OFF, EffectKind.POWER_OFF}
    if Stage.WIPE in action.stages:
        needs.add(EffectKind.WIPE)
    if Stage.BOOT in action.stages:
        needs.add(EffectKind.POWER_ON)
        if wanted.target.template is not None:
            needs.add(EffectKind.SET_BOOT_DEVICE)
    if not needs <= able:
        yield f"driver {driver} cannot do that"
    image = wanted.target.template.image if wanted.target.template is not None else None
    if Stage.INSTALLING in action.stages and image and driver in facts.context.no_ramdisk:
        yield "is to be installed by a ramdisk that there is not"


def _may_start(action: Action, wanted: DesiredNode, facts: Facts) -> Iterator[str]:
    stopped = facts.stopped(action.node)
    if stopped:
        yield f"is changed although it is {stopped}"
    if wanted.freeze is not None and wanted.priority < wanted.freeze.pass_priority:
        yield f"is changed in freeze {wanted.freeze.name}"
