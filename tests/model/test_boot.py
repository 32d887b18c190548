from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from metalwright.model.boot import Claimed, Roster, Served, answer
from metalwright.model.desired import Holder, Target
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Lifecycle, Nic, NodeSpec
from metalwright.model.inventory import Commit, ResolvedTemplate, Source
from metalwright.model.operation import (
    Applied,
    Effect,
    EffectKind,
    NodeMemory,
    Operation,
    OperationState,
    Stage,
    Verb,
)
from metalwright.model.report import Phase
from metalwright.model.template import Method
from metalwright.model.tenancy import PowerState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
UUID = "4c4c4544-0043-4810-8051-b4c04f4e3032"
SWAPPED = str(uuid.UUID(bytes=uuid.UUID(UUID).bytes_le))
HOLDER = Holder(kind="Assignment", name="a", owner="team")
SOURCE = Source(path="a.yaml", line=1)
COMMIT = Commit(id="1" * 40, author="A", at=NOW, subject="s")


def node(name: str = "n1", **spec: Any) -> Node:
    return Node(metadata=Metadata(name=name), spec=NodeSpec(driver="fake", **spec))


def template(method: Method) -> ResolvedTemplate:
    return ResolvedTemplate(name="t", chain=("t",), method=method, digest="d" * 64)


def target(method: Method | None) -> Target:
    found = template(method) if method is not None else None
    return Target(power=PowerState.ON, template=found, digest="t" * 64)


def operation(method: Method | None, stage: Stage | None, **fields: Any) -> Operation:
    stages = (Stage.POWER_OFF, Stage.WIPE, Stage.BOOT)
    if method is Method.DISK and fields.pop("installs", True):
        stages = (*stages, Stage.INSTALLING)
    intents = {Stage.WIPE: EffectKind.WIPE, Stage.BOOT: EffectKind.POWER_ON}
    intents[Stage.INSTALLING] = EffectKind.POWER_ON
    effect = intents.get(stage) if stage is not None else None
    given: dict[str, Any] = {
        "id": "op1",
        "node": "n1",
        "verb": Verb.DEPLOY,
        "state": OperationState.RUNNING if stage is not None else OperationState.PENDING,
        "target": target(method),
        "holder": HOLDER,
        "pool": "p",
        "priority": 500,
        "stages": stages,
        "stage": stage,
        "intent": Effect(kind=effect) if effect is not None else None,
        "fence": 3,
        "commit": COMMIT,
        "source": SOURCE,
        "created_at": NOW,
    }
    return Operation(**(given | fields))


def memory(found: Operation | None = None, applied: Target | None = None) -> NodeMemory:
    carried = None
    if applied is not None:
        carried = Applied(target=applied, holder=HOLDER, revision="1" * 40, source=SOURCE, at=NOW)
    return NodeMemory(node="n1", adopted_at=NOW, adopted_by="op", applied=carried, operation=found)


NETBOOT, DISK, LOCAL = Method.NETBOOT, Method.DISK, Method.LOCAL
BOOT, WIPE, INSTALLING = Stage.BOOT, Stage.WIPE, Stage.INSTALLING


@pytest.mark.parametrize(
    ("found", "said", "served"),
    [
        (operation(NETBOOT, BOOT), None, Served.NETBOOT),
        (operation(NETBOOT, BOOT), Phase.RUNNING, Served.NETBOOT),
        (operation(NETBOOT, BOOT, intent=None), None, Served.WAIT),
        (operation(NETBOOT, Stage.POWER_OFF), None, Served.WAIT),
        (operation(NETBOOT, BOOT, failing=True), None, Served.WAIT),
        (operation(NETBOOT, BOOT, cancelled_by="op"), None, Served.WAIT),
        (operation(NETBOOT, BOOT), Phase.FAILED, Served.WAIT),
        (operation(NETBOOT, WIPE), None, Served.WIPE),
        (operation(NETBOOT, WIPE), Phase.READY, Served.WIPE),
        (operation(NETBOOT, WIPE), Phase.WIPING, Served.WAIT),
        (operation(NETBOOT, WIPE), Phase.WIPED, Served.WAIT),
        (operation(NETBOOT, WIPE, intent=None), None, Served.WAIT),
        (operation(DISK, BOOT), None, Served.INSTALL),
        (operation(DISK, INSTALLING), Phase.INSTALLING, Served.INSTALL),
        (operation(DISK, INSTALLING), Phase.INSTALLED, Served.LOCAL),
        (operation(DISK, INSTALLING), Phase.RUNNING, Served.LOCAL),
        (operation(DISK, BOOT, installs=False), None, Served.LOCAL),
        (operation(LOCAL, BOOT), None, Served.LOCAL),
        (operation(None, BOOT), None, Served.LOCAL),
    ],
)
def test_what_an_operation_boots(found: Operation, said: Phase | None, served: Served) -> None:
    given = answer(node(), memory(found, target(NETBOOT)), said)
    assert given.mode is served, given.why
    asked_for = served is not Served.WAIT
    assert given.requested is asked_for
    assert (given.operation_id, given.attempt) == (("op1", 3) if asked_for else ("", 0))


@pytest.mark.parametrize(
    ("found", "served"),
    [
        (None, Served.LOCAL),
        (memory(), Served.LOCAL),
        (memory(applied=target(NETBOOT)), Served.NETBOOT),
        (memory(applied=target(DISK)), Served.LOCAL),
        (memory(applied=target(LOCAL)), Served.LOCAL),
        (memory(applied=target(None)), Served.LOCAL),
        (memory(operation(DISK, None), target(NETBOOT)), Served.NETBOOT),
        (memory(operation(DISK, None), target(DISK)), Served.LOCAL),
        (memory(operation(DISK, None)), Served.LOCAL),
    ],
)
def test_a_boot_that_no_operation_asked_for_changes_nothing(
    found: NodeMemory | None, served: Served
) -> None:
    given = answer(node(), found, None)
    assert given.mode is served, given.why
    assert not given.requested
    assert given.operation_id == ""


@pytest.mark.parametrize("lifecycle", [Lifecycle.OBSERVED, Lifecycle.BROKEN, Lifecycle.RETIRED])
def test_a_node_that_is_not_managed_boots_its_own_disk(lifecycle: Lifecycle) -> None:
    given = answer(node(lifecycle=lifecycle), memory(operation(NETBOOT, WIPE)), None)
    assert given.mode is Served.LOCAL


FIRST = node("a", serial="S1", nics=(Nic(mac="52:54:00:00:00:01", boot=True),))
SECOND = node("b", serial="S2", system_uuid=UUID, nics=(Nic(mac="52:54:00:00:00:02"),))
BARE = node("c", nics=(Nic(mac="52:54:00:00:00:03"),))
ROSTER = Roster({each.metadata.name: each for each in (FIRST, SECOND, BARE)})


@pytest.mark.parametrize(
    ("claimed", "found"),
    [
        (Claimed(mac="52:54:00:00:00:01"), "a"),
        (Claimed(mac="52:54:00:00:00:01", serial="s1 "), "a"),
        (Claimed(serial="S2"), "b"),
        (Claimed(system_uuid=UUID.upper()), "b"),
        (Claimed(system_uuid=SWAPPED), "b"),
        (Claimed(mac="52:54:00:00:00:03", serial="unknown"), "c"),
        (Claimed(mac="52:54:00:00:00:03", system_uuid="not a UUID"), "c"),
    ],
)
def test_a_machine_is_found_by_any_of_its_names(claimed: Claimed, found: str) -> None:
    one, why = ROSTER.find(claimed)
    assert one is not None, why
    assert one.metadata.name == found


@pytest.mark.parametrize(
    ("claimed", "why"),
    [
        (Claimed(), "no node of the inventory"),
        (Claimed(mac="02:00:00:00:00:09"), "no node of the inventory"),
        (Claimed(mac="52:54:00:00:00:01", serial="S2"), "any of a, b"),
        (Claimed(mac="52:54:00:00:00:03", serial="S2"), "any of b, c"),
        (Claimed(mac="52:54:00:00:00:01", system_uuid=UUID), "any of a, b"),
        (Claimed(mac="52:54:00:00:00:01", serial="S9"), "the serial is S9"),
        (Claimed(mac="02:00:00:00:00:09", serial="S1"), "no interface with MAC"),
        (Claimed(system_uuid=UUID, serial="S9"), "the serial is S9"),
    ],
)
def test_a_machine_of_which_one_name_does_not_fit_is_nobody(claimed: Claimed, why: str) -> None:
    one, said = ROSTER.find(claimed)
    assert one is None
    assert why in said
