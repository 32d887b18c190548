"""The next thing to ask of Ironic for an operation, from the node as it is now. Pure.

Ironic takes one order at a time and needs several for what is one effect here; a driver asks for
the next when the node is asked for again. So nothing has to be remembered between two steps but
what Ironic itself keeps, and an order whose outcome is unknown is never sent again blindly: the
state of the node tells whether it came through.

Ironic's `rebuild` is not used: it would install over a disk that Metalwright has just had wiped,
and fails in Ironic 39.0.0. Tearing down and deploying is one way for all cases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from metalwright.drivers.ironic_boots import as_written
from metalwright.drivers.ironic_deploy import Interfaces, Json, instance, mark
from metalwright.drivers.ironic_record import (
    ACTIVE,
    ADOPT_FAILED,
    AVAILABLE,
    CLEAN_FAILED,
    DEPLOY_FAILED,
    DEPLOY_WAIT,
    ENROLL,
    ERROR,
    INSPECT_FAILED,
    MANAGEABLE,
    MARK,
    WIPE_MARK,
    Record,
    maintenance_error,
)
from metalwright.errors import NotBegunError, PermanentError
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.handover import Handover
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.operation import Effect, EffectKind, Operation, Verb
from metalwright.model.template import Method, WipePolicy

WIPE_STEPS: Final[Mapping[str, str]] = FrozenDict(
    {
        WipePolicy.METADATA.value: "erase_devices_metadata",
        WipePolicy.DISCARD.value: "erase_devices_express",
        WipePolicy.FULL.value: "erase_devices",
    }
)
"""The clean step of Ironic's Python agent for each level of a wipe."""

_TEARS_DOWN: Final = frozenset({ACTIVE, DEPLOY_FAILED, ERROR})
_MANAGES: Final = frozenset({ENROLL, CLEAN_FAILED, INSPECT_FAILED, ADOPT_FAILED})
_MAKES_ANEW: Final = frozenset({Verb.DEPLOY, Verb.REBUILD})
_POWER_TARGETS: Final[Mapping[EffectKind, str]] = FrozenDict(
    {
        EffectKind.POWER_ON: "power on",
        EffectKind.POWER_OFF: "power off",
        EffectKind.SOFT_POWER_OFF: "soft power off",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One order: JSON patches of the node first (if any), then a PUT to `path` (if any). Where the
    PUT is refused, `undo` takes back what the patches said of it. One that only `makes_room` ends
    what Ironic was at for somebody else; nothing of ours is begun by it.
    """

    patch: tuple[Json, ...] = ()
    undo: tuple[Json, ...] = ()
    path: str = ""
    body: Json | None = None
    makes_room: bool = False


DONE: Final = Step()
"""There is nothing to ask for."""


def power_step(record: Record, kind: EffectKind, soft_timeout_s: int | None = None) -> Step:
    """Switch the power, where it is not there, or on its way there, already."""
    refuse(record)
    target = _POWER_TARGETS[kind]
    level = "power on" if kind is EffectKind.POWER_ON else "power off"
    if record.power_target == level and kind is not EffectKind.POWER_OFF:
        # A power-off on its way may be a soft one that hangs: it does not do for a forced one.
        return DONE
    if record.power == level and record.power_target is None:
        return DONE
    if record.state == DEPLOY_WAIT and record.deployed.operation and level == "power off":
        # An installer of ours waits to be heard: there is no system yet to shut down.
        return Step(path="states/provision", body=_undeployed(record))
    _await_turn(record)
    body: Json = {"target": target}
    if kind is EffectKind.SOFT_POWER_OFF and soft_timeout_s is not None:
        body["timeout"] = soft_timeout_s
    return Step(path="states/power", body=body)


def wipe_step(record: Record, effect: Effect) -> Step:
    """Towards `manageable` after a manual cleaning with just the step that the level asks for."""
    refuse(record)
    operation = effect.operation_id
    if record.wiped == operation:
        return DONE
    if effect.argument not in WIPE_STEPS:
        raise PermanentError(f"Ironic cannot wipe at the level {effect.argument!r}")
    _await_turn(record)
    if record.state == MANAGEABLE:
        step = WIPE_STEPS[effect.argument]
        mark = {"operation": operation, "since": record.updated_at, "step": step}
        return Step(
            patch=(*_marking(record, operation, "wipe"), _add(f"/extra/{WIPE_MARK}", mark)),
            undo=(_add(f"/extra/{WIPE_MARK}", {}),),
            path="states/provision",
            body=_provision("clean", [{"interface": "deploy", "step": step}]),
        )
    if record.state == AVAILABLE:
        return _order(record, operation, "wipe", "manage")
    return _towards_bare(record, operation, "wipe")


def deploys(record: Record, operation: Operation, *, served: bool) -> bool:
    """Whether it takes a deployment of kernel and ramdisk, or of a disk image, to run the template;
    `served` says that each of its starts is a boot of its own at the boot service.

    Raises:
        NotBegunError, TemporaryError, PermanentError: nothing can be asked of the node.
    """
    refuse(record)
    template = operation.target.template
    if template is None or template.method is Method.LOCAL:
        return False
    return _is_to_be_deployed(record, operation, template, served=served)


def is_ready(record: Record) -> bool:
    """Whether the next order of a deployment is the deployment itself."""
    return record.state == AVAILABLE and not record.at_work


def boot_step(
    record: Record,
    operation: Operation,
    node: Node,
    interfaces: Interfaces,
    handover: Handover | None = None,
) -> Step:
    """Towards a machine that runs the template of the operation, as it was handed over."""
    refuse(record)
    template = operation.target.template
    served = handover is not None and handover.attempt is not None
    if template is None or not _is_to_be_deployed(record, operation, template, served=served):
        return power_step(record, EffectKind.POWER_ON)
    handover = handover or as_written(template)
    if template.method is Method.LOCAL:
        return _adopt(record, operation, template)
    _await_turn(record)
    if record.state == AVAILABLE:
        return _deploy(record, operation, node, interfaces, handover)
    if record.state == MANAGEABLE:
        return _order(record, operation.id, "boot", "provide")
    return _towards_bare(record, operation.id, "boot")


def refuse(record: Record) -> None:
    """Nothing is asked of a node in maintenance. Raises TemporaryError or PermanentError."""
    if record.maintenance:
        raise maintenance_error(record)


def _await_turn(record: Record) -> None:
    if record.state == DEPLOY_WAIT and record.reservation is None:
        return
    if record.at_work:
        who = f", locked by {record.reservation}" if record.reservation is not None else ""
        raise NotBegunError(f"Ironic is at work on it: {record.state}{who}")


def _is_to_be_deployed(
    record: Record, operation: Operation, template: ResolvedTemplate, *, served: bool
) -> bool:
    """Whether it takes a deployment, rather than the power alone, to run the template."""
    deployed = record.deployed
    ours = deployed.operation == operation.id
    if record.state == ACTIVE and ours and (not served or deployed.attempt == operation.fence):
        return False
    if operation.verb in _MAKES_ANEW:
        return True
    runs = deployed.wished
    if served and record.state == ACTIVE and runs:
        return True  # the token that it was deployed with is one of another boot
    if record.state == ACTIVE and (not runs or operation.verb is Verb.POWER_ON):
        return operation.verb is Verb.REBOOT and template.method is Method.NETBOOT
    if record.state == ACTIVE and (runs == template.digest or template.method is Method.DISK):
        return False
    _await_turn(record)
    if template.method is Method.DISK:
        raise PermanentError(
            f"Ironic has no instance on it ({record.state}): somebody tore it down; to have it"
            " installed anew, change its template in git"
        )
    return True


def _towards_bare(record: Record, operation: str, effect: str) -> Step:
    """From an instance, or from a failure, to `available` or `manageable`, erasing nothing."""
    if record.state == DEPLOY_WAIT:  # Ironic lets nothing be written into such a node
        return Step(path="states/provision", body=_undeployed(record), makes_room=True)
    if record.state in _TEARS_DOWN:
        return _order(record, operation, effect, "deleted")
    if record.state in _MANAGES:
        return _order(record, operation, effect, "manage")
    raise PermanentError(f"Ironic has it in the state {record.state!r}, which is left to people")


def _undeployed(record: Record) -> Json:
    """What ends a deployment that waits; never one after which Ironic could erase the disks."""
    if record.automated_clean is not False:
        raise PermanentError(
            "somebody else's deployment waits in Ironic (wait call-back), and to end it could erase"
            " the disks (automated_clean): end it in Ironic"
        )
    return _provision("deleted")


def _adopt(record: Record, operation: Operation, template: ResolvedTemplate) -> Step:
    """What is on the disks is to be booted: Ironic takes it for deployed without touching it."""
    _await_turn(record)
    told = _add(f"/instance_info/{MARK}", mark(operation, template, as_written(template)))
    marked = (*_marking(record, operation.id, "boot"), told)
    if record.state == ACTIVE:
        return Step(patch=marked)
    if record.state == AVAILABLE:
        return _order(record, operation.id, "boot", "manage")
    if record.state == MANAGEABLE:
        return Step(patch=marked, path="states/provision", body=_provision("adopt"))
    return _towards_bare(record, operation.id, "boot")


def _deploy(
    record: Record, operation: Operation, node: Node, interfaces: Interfaces, handover: Handover
) -> Step:
    made = instance(record, operation, node, interfaces, handover)
    patch = [*_marking(record, operation.id, "boot"), _add("/instance_info", made.info)]
    patch.append(_add(f"/extra/{WIPE_MARK}", {}))  # what is put on the disks ends the evidence
    if made.interface and made.interface != record.deploy_interface:
        patch.append(_add("/deploy_interface", made.interface))
    body = _provision("active")
    if made.drive:
        body["configdrive"] = made.drive
    return Step(patch=tuple(patch), path="states/provision", body=body)


def _order(record: Record, operation: str, effect: str, target: str) -> Step:
    return Step(
        patch=_marking(record, operation, effect),
        path="states/provision",
        body=_provision(target),
    )


def _marking(record: Record, operation: str, effect: str) -> tuple[Json, ...]:
    """Name the operation in the node, and keep Ironic from erasing what git did not say to."""
    patch = []
    if (record.mark.operation, record.mark.wished) != (operation, effect):
        patch.append(_add(f"/extra/{MARK}", {"operation": operation, "effect": effect}))
    if record.automated_clean is not False:
        patch.append(_add("/automated_clean", False))
    return tuple(patch)


def _provision(target: str, steps: list[Json] | None = None) -> Json:
    return {"target": target} if steps is None else {"target": target, "clean_steps": steps}


def _add(path: str, value: object) -> Json:
    return {"op": "add", "path": path, "value": value}
