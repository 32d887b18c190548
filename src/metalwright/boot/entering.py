"""What a token opens: its boot, as long as the operation that it was issued for stands.

A token is looked up by its digest, so no comparison of tokens takes longer for a better guess.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from metalwright.boot.ports import Records
from metalwright.model.boot import Roster, Served
from metalwright.model.boots import IssuedBoot
from metalwright.model.documents import Node
from metalwright.model.inventory import Inventory, ResolvedTemplate
from metalwright.model.operation import Operation, OperationState
from metalwright.model.template import Artifact, ImageSpec
from metalwright.model.waking import TOKEN_REST_S, WAKING


@dataclass(frozen=True, slots=True)
class View:
    """A revision in force, and its nodes by what machines say of themselves."""

    inventory: Inventory
    roster: Roster


@dataclass(frozen=True, slots=True, kw_only=True)
class Entered:
    """A token that holds: its boot, node, template and operation (the last two where there are)."""

    token: str
    boot: IssuedBoot
    node: Node
    template: ResolvedTemplate | None
    operation: Operation | None
    inventory: Inventory


def enter(token: str, records: Records, view: View, now: datetime, life_s: float) -> Entered | str:
    """The boot of a token, or in words for the journal why there is none."""
    boot = records.boot(token_digest(token))
    if boot is None:
        return "no such token"
    node = view.inventory.nodes.get(boot.node)
    if node is None or boot.ended_at is not None:
        return f"{boot.node}: a token of a boot that is over"
    found = _belongs(boot, records)
    if isinstance(found, str):
        return f"{boot.node}: {found}"
    template, operation = found
    # A running operation has deadlines of its own: a wipe may take days.
    old = operation is None and (now - boot.issued_at).total_seconds() > life_s
    if old and not _goes_on(boot, node, now):
        return f"{boot.node}: a token of a boot that is over"
    return Entered(
        token=token,
        boot=boot,
        node=node,
        template=template,
        operation=operation,
        inventory=view.inventory,
    )


def _goes_on(boot: IssuedBoot, node: Node, now: datetime) -> bool:
    """Whether this is the running system of a machine whose power nothing but its reports tells:
    they may not end before it does.
    """
    if node.spec.driver not in WAKING or not boot.boot_id or boot.used_at is None:
        return False
    return (now - boot.used_at).total_seconds() <= TOKEN_REST_S


def artifact_of(entered: Entered, role: str) -> Artifact | None:
    """The artifact that this boot may fetch under this name."""
    mode = entered.boot.mode
    own = entered.template.image if entered.template is not None else None
    image: ImageSpec | None = None
    netboots = mode is Served.NETBOOT and role != "disk"
    if netboots or (mode is Served.INSTALL and role == "disk"):
        image = own
    elif mode in (Served.WIPE, Served.INSTALL) and role in ("kernel", "initrd"):
        image = ramdisk(entered.inventory)
    found: Artifact | None = getattr(image, role) if image is not None else None
    return found


def _belongs(
    boot: IssuedBoot, records: Records
) -> tuple[ResolvedTemplate | None, Operation | None] | str:
    """The template and the running operation of a boot, or why it is over.

    A boot whose operation has ended well goes on, for what the running system still fetches.
    """
    mine = records.memory().nodes.get(boot.node)
    operation = mine.operation if mine is not None else None
    if operation is not None and (operation.id, operation.fence) == (
        boot.operation_id,
        boot.attempt,
    ):
        running = operation.state is OperationState.RUNNING
        if not running or operation.failing or operation.cancelled_by:
            return "a token of an attempt that is over"
        return operation.target.template, operation
    applied = mine.applied if mine is not None else None
    template = applied.target.template if applied is not None else None
    if template is None or template.digest != boot.template_digest:
        return "a token of a template that it does not run"
    if boot.mode not in (Served.NETBOOT, Served.LOCAL):
        return "a token of an operation that has ended"
    if boot.operation_id:
        ended = records.operation(boot.operation_id)
        if ended is None or ended.state is not OperationState.ACTIVE:
            return "a token of an operation that has not ended well"
    return template, None


def ramdisk(inventory: Inventory) -> ImageSpec | None:
    """The image that wipes and installs."""
    name = inventory.rules.ramdisk
    found = inventory.images.get(name) if name is not None else None
    return found.spec if found is not None else None


def token_digest(token: str) -> str:
    """What the store keeps of a token."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
