"""What each stage asks of the hardware, and how it is seen to be done. Pure."""

from __future__ import annotations

from metalwright.model.documents import Node
from metalwright.model.identity import IdentityCheck, Match, compare_identity
from metalwright.model.observed import BootDevice, BootProgress, Phase, Power, Progress, Reading
from metalwright.model.operation import (
    INTERRUPTS,
    Effect,
    EffectKind,
    Interrupt,
    Operation,
    Stage,
    Verb,
)
from metalwright.model.plan import Action
from metalwright.model.template import Method
from metalwright.model.waking import may_wake

_INSTALLER_RUNS = frozenset({BootProgress.OS_BOOT_STARTED, BootProgress.OS_RUNNING})


def wakes(asking: Action | Operation, reading: Reading | None) -> bool:
    """Whether this only wakes a machine whose power nobody tells: that needs no known power."""
    if Stage.POWER_OFF in asking.stages:
        return False
    return may_wake(reading, asking.target, destroys=asking.destroys_data)


def booted(operation: Operation, reading: Reading) -> bool:
    """Whether the machine is up: on, and as far as something can tell running what it should.

    Where nothing can tell (plain IPMI) or no template is wanted, "on" has to do. Before an
    installation it is enough that the installer starts: the rest is the next stage's.
    """
    if reading.power is not Power.ON:
        return False
    template = operation.target.template
    if template is None or reading.boot_progress is None:
        return True
    if Stage.INSTALLING in operation.stages:
        return reading.boot_progress in _INSTALLER_RUNS
    runs = reading.boot_progress is BootProgress.OS_RUNNING
    return runs and reading.template_digest in (None, template.digest)


def booted_by_us(operation: Operation, reading: Reading) -> bool:
    """Whether the machine is up because we switched it on, or because it only had to be on."""
    ours = operation.intent is not None and operation.intent.kind is EffectKind.POWER_ON
    if ours and unproven(operation, reading):
        return False
    return (ours or operation.verb is Verb.POWER_ON) and booted(operation, reading)


def unproven(operation: Operation, reading: Reading) -> bool:
    """Whether the power is on, nobody told us that our call was made, and nothing shows it.

    Somebody may have switched the machine on, to whatever its disk has. Where a driver tells how
    far the boot is, the system has to say what it is; where it tells nothing, "on" has to do. An
    installation is proven by its end.
    """
    intent, template = operation.intent, operation.target.template
    if intent is None or intent.kind is not EffectKind.POWER_ON or template is None:
        return False
    if operation.acknowledged_at is not None or Stage.INSTALLING in operation.stages:
        return False
    on, speaks = reading.power is Power.ON, reading.boot_progress is not None
    return on and speaks and reading.template_digest != template.digest


def installed(operation: Operation, reading: Reading) -> bool:
    """Whether the installed system runs; an installer runs too, so it has to say what it is."""
    if reading.power is not Power.ON:
        return False
    if reading.boot_progress is None:
        return True
    template = operation.target.template
    digest = template.digest if template is not None else None
    return reading.boot_progress is BootProgress.OS_RUNNING and reading.template_digest == digest


def is_done(operation: Operation, reading: Reading) -> bool:
    """Whether the present stage is seen to be done."""
    stage = operation.stage
    if stage is Stage.POWER_OFF:
        return reading.power is Power.OFF
    if stage is Stage.WIPE:
        return reading.power is Power.OFF and reading.last_wipe == operation.id
    if stage is Stage.BOOT:
        return booted_by_us(operation, reading)
    return installed(operation, reading)


def progress_of(operation: Operation, reading: Reading | None) -> Progress | None:
    """How far a hardware engine is with what this operation asked of it, where there is one and it
    was asked: a failure that an earlier attempt left behind is none of this one's.
    """
    progress = reading.progress if reading is not None else None
    if progress is None or progress.operation_id != operation.id:
        return None
    intent = operation.intent
    asked = intent is not None and intent.kind in (EffectKind.WIPE, EffectKind.POWER_ON)
    return progress if asked or operation.stage is Stage.INSTALLING else None


def may_stop(operation: Operation, reading: Reading | None) -> bool:
    """Whether this is a safe point: nothing of the stage was begun, or it can be cancelled. What a
    hardware engine is at cannot: it takes nothing else until it is through.
    """
    assert operation.stage is not None
    progress = progress_of(operation, reading)
    if progress is not None and progress.phase is Phase.WORKS:
        return False
    if operation.intent is None:
        return True
    return INTERRUPTS[operation.stage] is Interrupt.CANCELLABLE


def boot_device(operation: Operation) -> BootDevice | None:
    """What to boot from; `None` leaves it as it is: nothing is wanted but "on"."""
    template = operation.target.template
    if template is None:
        return None
    installs = Stage.INSTALLING in operation.stages and template.image is not None
    if template.method is Method.NETBOOT or (template.method is Method.DISK and installs):
        return BootDevice.PXE
    return BootDevice.DISK


def boot_effect(operation: Operation) -> Effect:
    """The next effect of the boot stage: first the boot device, then the power."""
    device, template = boot_device(operation), operation.target.template
    set_already = operation.intent is not None
    if device is not None and not set_already:
        return Effect(
            kind=EffectKind.SET_BOOT_DEVICE, argument=device.value, operation_id=operation.id
        )
    return Effect(
        kind=EffectKind.POWER_ON,
        argument=template.method.value if template is not None else "",
        operation_id=operation.id,
        template_digest=template.digest if template is not None else "",
    )


def seen(effect: Effect, reading: Reading) -> bool:
    """Whether a reading shows what the effect was to bring about.

    The boot device is not looked for: many BMCs show the one of the last boot, or none.
    """
    if effect.kind is EffectKind.POWER_ON:
        return reading.power is Power.ON
    if effect.kind in (EffectKind.POWER_OFF, EffectKind.SOFT_POWER_OFF):
        return reading.power is Power.OFF
    return effect.kind is EffectKind.WIPE and reading.last_wipe == effect.operation_id


def identity_check(operation: Operation, node: Node, reading: Reading) -> IdentityCheck:
    """Whether this is the machine that git means; asked before every effect.

    Another machine is never touched. One that does not say who it is may be switched on and off,
    but not lose data.
    """
    check = compare_identity(node.spec, reading.identity)
    destroys = operation.destroys_data or Stage.WIPE in operation.stages
    if check.match is Match.UNKNOWN and not destroys:
        return IdentityCheck(match=Match.SAME)
    return check


def is_ours(node: Node | None, reading: Reading) -> bool:
    """Whether nothing says that another machine answered: that one has done nothing of ours."""
    return node is None or compare_identity(node.spec, reading.identity).match is not Match.OTHER
