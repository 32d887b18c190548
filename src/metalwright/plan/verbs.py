"""What each verb does to a machine: its stages, the effects they need, the data they destroy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from metalwright.model.desired import Target
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.observed import Power, Reading
from metalwright.model.operation import EffectKind, Stage, Verb
from metalwright.model.template import Method, WipePolicy
from metalwright.model.tenancy import PowerState
from metalwright.model.waking import may_wake

MAKES_ANEW: Final = frozenset({Verb.DEPLOY, Verb.REBUILD})
"""The verbs that wipe and install as the template says."""

POWERS_OFF: Final = frozenset(
    {Verb.DEPLOY, Verb.REBUILD, Verb.REBOOT, Verb.UNDEPLOY, Verb.POWER_OFF}
)
"""The verbs that begin with the power off."""

_NEEDS: Final[Mapping[Stage, tuple[EffectKind, ...]]] = FrozenDict(
    {
        Stage.POWER_OFF: (EffectKind.SOFT_POWER_OFF, EffectKind.POWER_OFF),
        Stage.WIPE: (EffectKind.WIPE,),
        Stage.BOOT: (EffectKind.POWER_ON,),
        Stage.INSTALLING: (),
        Stage.VALIDATING: (),
    }
)

_WITHOUT: Final = " without a ramdisk (spec.ramdisk of the policy)"


def stages_of(
    verb: Verb, target: Target, *, checked: bool = False, woken: bool = False
) -> tuple[Stage, ...]:
    """The stages of an operation with this verb and target, in their order.

    `woken`: the machine is not switched off before, see `wakes`. `checked` says that there are
    checks for the node. What is only switched is not validated: the power that somebody else
    changed is put right, and nothing new was booted.
    """
    template = target.template
    if verb in (Verb.UNDEPLOY, Verb.POWER_OFF):
        return (Stage.POWER_OFF,)
    if verb is Verb.POWER_ON:
        return (Stage.BOOT,)
    stages = [] if woken else [Stage.POWER_OFF]
    validating = [Stage.VALIDATING] if checked else []
    if verb in MAKES_ANEW and template is not None:
        if template.wipe is not WipePolicy.NONE:
            stages.append(Stage.WIPE)
        stages.append(Stage.BOOT)
        if template.method is Method.DISK:
            stages.append(Stage.INSTALLING)
        return (*stages, *validating)
    return (*stages, Stage.BOOT, *validating)


def wakes(verb: Verb, target: Target, reading: Reading | None) -> bool:
    """Whether the machine is only woken: its power is unknown, and to wake it is harmless."""
    return may_wake(reading, target, destroys=destroys_data(verb, target.template))


def destroys_data(verb: Verb, template: ResolvedTemplate | None) -> bool:
    """Whether the verb erases or overwrites disks: a wipe, or an image installed on them."""
    if verb not in MAKES_ANEW or template is None:
        return False
    installs = template.method is Method.DISK and template.image is not None
    return installs or template.wipe is not WipePolicy.NONE


def lacking(
    verb: Verb,
    target: Target,
    capabilities: frozenset[EffectKind],
    *,
    woken: bool = False,
    ramdisk: bool = True,
) -> tuple[str, str] | None:
    """The first thing that the driver cannot do, and the field that asks for it. Not `ramdisk`: its
    machines are wiped and installed by one, and there is none.
    """
    template = target.template
    for stage in stages_of(verb, target, woken=woken):
        needs = _NEEDS[stage]
        if stage is Stage.BOOT and template is not None:
            needs = (EffectKind.SET_BOOT_DEVICE, *needs)
        for effect in needs:
            if effect not in capabilities:
                without = _WITHOUT if effect is EffectKind.WIPE and not ramdisk else ""
                return f"{effect.value}{without}", _asking(effect, template)
        if stage is Stage.INSTALLING and template is not None and template.image and not ramdisk:
            return f"install{_WITHOUT}", _asking(None, template)
    return None


def _asking(effect: EffectKind | None, template: ResolvedTemplate | None) -> str:
    if template is None:
        return "spec.resting.power of the pool"
    if effect is EffectKind.WIPE:
        return f"spec.wipe: {template.wipe.value} of template {template.name}"
    return f"spec.method: {template.method.value} of template {template.name}"


def by_hand(reading: Reading | None) -> str:
    """What a person can do for a machine that is on and can only be woken."""
    if reading is None or not reading.wakes or reading.power is not Power.ON:
        return ""
    return "; shut it down by hand"


def into(target: Target) -> Verb:
    """The verb that brings a machine in whatever state to this target."""
    if target.power is PowerState.OFF:
        return Verb.UNDEPLOY
    return Verb.DEPLOY if target.template is not None else Verb.POWER_ON
