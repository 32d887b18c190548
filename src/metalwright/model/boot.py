"""What a machine that asks over the network gets to boot. Pure.

The operation in the store is what arms a boot: its intent is durable before the machine's power is
touched. A request that no operation explains gets nothing new: what the machine ran before where
that lives in memory only, else its own disk, or a script that waits. So a machine that boots by
itself, or an outsider with a copied MAC, can neither install, nor wipe, nor skip ahead.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from metalwright.model.documents import Node
from metalwright.model.hardware import Lifecycle
from metalwright.model.identity import Match, compare_identity
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.observed import Identity
from metalwright.model.operation import (
    EffectKind,
    NodeMemory,
    Operation,
    OperationState,
    Stage,
)
from metalwright.model.report import Phase
from metalwright.model.template import Method
from metalwright.model.tenancy import PowerState

NAMED_MAX = 3
"""Nodes that a reason names."""


class Served(StrEnum):
    """What a script makes the machine do."""

    NETBOOT = "netboot"
    WIPE = "wipe"
    INSTALL = "install"
    LOCAL = "local disk"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootAnswer:
    """What is served, and why. `requested` says that an operation of ours asked for this boot.

    `template` is what boots or is installed; `operation_id` and `attempt` (the operation's fence)
    are those that the boot belongs to.
    """

    mode: Served
    why: str
    template: ResolvedTemplate | None = None
    operation_id: str = ""
    attempt: int = 0
    requested: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """Who a request says that it comes from (iPXE's `net0/mac`, `uuid`, `serial`)."""

    mac: str | None = None
    system_uuid: str | None = None
    serial: str | None = None


class Roster:
    """The nodes of one revision by MAC, system UUID and serial."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._macs: dict[str, str] = {}
        self._others: dict[tuple[str, str], set[str]] = {}
        for name, node in nodes.items():
            self._macs.update((nic.mac, name) for nic in node.spec.nics)
            for key in _keys(node.spec.system_uuid, node.spec.serial):
                self._others.setdefault(key, set()).add(name)

    def find(self, claimed: Claimed) -> tuple[Node | None, str]:
        """The one node that everything claimed fits, or `None` and the reason.

        What git does not declare of the node cannot be compared and is passed over; what it does
        declare has to agree.
        """
        mac = (claimed.mac or "").strip().lower()
        fitting = [{self._macs[mac]}] if mac in self._macs else []
        keys = _keys(claimed.system_uuid, claimed.serial)
        fitting += [self._others[key] for key in keys if key in self._others]
        if not fitting:
            return None, "no node of the inventory has this MAC, system UUID or serial"
        names = set.intersection(*fitting)
        if len(names) != 1:
            every = sorted(set.union(*fitting))
            return None, f"it may be any of {', '.join(every[:NAMED_MAX])}"
        node = self._nodes[names.pop()]
        if mac and node.spec.nics and mac not in self._macs:
            return None, f"git declares no interface with MAC {mac} for {node.metadata.name}"
        read = Identity(serial=claimed.serial or None, system_uuid=claimed.system_uuid or None)
        check = compare_identity(node.spec, read)
        if check.match is Match.OTHER:
            return None, f"it is not {node.metadata.name}: {check.message}"
        return node, ""


def answer(node: Node, memory: NodeMemory | None, said: Phase | None) -> BootAnswer:
    """What the node gets. `said` is the furthest that the machine reported in this very attempt of
    its running operation.
    """
    if node.spec.lifecycle is not Lifecycle.MANAGED:
        return _local(f"its lifecycle is {node.spec.lifecycle.value}")
    if memory is None:
        return _local("it is not adopted")
    operation = memory.operation
    if operation is not None and operation.state is OperationState.RUNNING:
        return _of_operation(operation, said)
    applied = memory.applied
    if applied is None:
        return _local("what it carries is not known")
    template = applied.target.template
    on = applied.target.power is PowerState.ON
    if on and template is not None and template.method is Method.NETBOOT:
        why = "no operation asked for this boot; it gets what it ran before"
        return BootAnswer(mode=Served.NETBOOT, why=why, template=template)
    return _local("no operation asked for this boot")


def greeting(node: Node, memory: NodeMemory | None, said: Phase | None) -> BootAnswer:
    """What a machine that runs from its own disk may report for: `LOCAL` with the template, or
    `WAIT` with the reason why it may not report now.
    """
    if node.spec.lifecycle is not Lifecycle.MANAGED or memory is None:
        return _wait("it is not managed here")
    operation, applied = memory.operation, memory.applied
    if operation is not None and operation.state is OperationState.RUNNING:
        template = operation.target.template
        if operation.failing or operation.cancelled_by or said is Phase.FAILED:
            return _wait("this attempt is over")
        if template is None or template.method is Method.NETBOOT:
            return _wait("it is to run what the network gave it")
        installs = Stage.INSTALLING in operation.stages
        if installs and said not in (Phase.INSTALLED, Phase.RUNNING):
            return _wait("its system is not installed yet")
        intent = operation.intent.kind if operation.intent is not None else None
        booting = operation.stage is Stage.BOOT and intent is EffectKind.POWER_ON
        if booting or operation.stage in (Stage.INSTALLING, Stage.VALIDATING):
            return _local("it boots from its disk", operation)
        return _wait(f"its operation is at the stage {operation.stage}")
    if applied is None or applied.target.power is not PowerState.ON:
        return _wait("it is to run nothing")
    template = applied.target.template
    if template is None or template.method is Method.NETBOOT:
        return _wait("it is to run nothing from its disk")
    return BootAnswer(mode=Served.LOCAL, why="it runs from its disk", template=template)


def _of_operation(operation: Operation, said: Phase | None) -> BootAnswer:
    intent = operation.intent.kind if operation.intent is not None else None
    if operation.failing or operation.cancelled_by or said is Phase.FAILED:
        return _wait("this attempt is over")
    if operation.stage is Stage.WIPE and intent is EffectKind.WIPE:
        if said in (None, Phase.READY):
            return _requested(Served.WIPE, operation)
        return _wait("the wipe was begun in this attempt, and is not begun twice")
    booting = operation.stage is Stage.BOOT and intent is EffectKind.POWER_ON
    if not booting and operation.stage not in (Stage.INSTALLING, Stage.VALIDATING):
        return _wait(f"its operation is at the stage {operation.stage}")
    template = operation.target.template
    if template is None or template.method is Method.LOCAL:
        return _local("it is to boot what its disk has", operation)
    if template.method is Method.NETBOOT:
        return _requested(Served.NETBOOT, operation)
    if Stage.INSTALLING not in operation.stages or said in (Phase.INSTALLED, Phase.RUNNING):
        return _local("its system is installed", operation)
    return _requested(Served.INSTALL, operation)


def _requested(mode: Served, operation: Operation) -> BootAnswer:
    return BootAnswer(
        mode=mode,
        why=f"operation {operation.id} asked for it",
        template=operation.target.template,
        operation_id=operation.id,
        attempt=operation.fence,
        requested=True,
    )


def _local(why: str, operation: Operation | None = None) -> BootAnswer:
    if operation is None:
        return BootAnswer(mode=Served.LOCAL, why=why)
    return BootAnswer(
        mode=Served.LOCAL,
        why=why,
        template=operation.target.template,
        operation_id=operation.id,
        attempt=operation.fence,
        requested=True,
    )


def _wait(why: str) -> BootAnswer:
    return BootAnswer(mode=Served.WAIT, why=why)


def _keys(system_uuid: str | None, serial: str | None) -> list[tuple[str, str]]:
    """What a node is found by beside its MACs; a UUID in either byte order is the same."""
    keys = []
    if system_uuid:
        try:
            given = uuid.UUID(system_uuid)
        except ValueError:
            given = None
        if given is not None:
            keys.append(("uuid", min(str(given), str(uuid.UUID(bytes=given.bytes_le)))))
    if serial and serial.strip():
        keys.append(("serial", serial.strip().casefold()))
    return keys
