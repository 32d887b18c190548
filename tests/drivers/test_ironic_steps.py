"""The next order to Ironic as a table: from the node as it is, and what an operation wants."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from metalwright.drivers.ironic_record import (
    AT_WORK,
    Mark,
    Record,
    progress_of,
    record_of,
)
from metalwright.drivers.ironic_steps import (
    DONE,
    Interfaces,
    Step,
    boot_step,
    power_step,
    wipe_step,
)
from metalwright.errors import NotBegunError, PermanentError, TemporaryError
from metalwright.model.desired import Holder, Target
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import NodeSpec
from metalwright.model.inventory import Commit, ResolvedTemplate, Source
from metalwright.model.observed import Phase
from metalwright.model.operation import Effect, EffectKind, Operation, OperationState, Stage, Verb
from metalwright.model.template import Artifact, ImageSpec, Method
from metalwright.model.tenancy import PowerState

DIGEST, OLD = "d" * 64, "0" * 64
NODE = Node(metadata=Metadata(name="n1"), spec=NodeSpec(driver="ironic"))
NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
FILE = Artifact(url="https://images.example/disk.qcow2", sha256="a" * 64)
IMAGE = ImageSpec(kernel=FILE, initrd=FILE, disk=FILE)
WIPE = Effect(kind=EffectKind.WIPE, argument="full", operation_id="o1")


def record(state: str = "available", **changes: Any) -> Record:
    return Record(**({"uuid": "u1", "name": "n1", "state": state, "power": "power off"} | changes))


def operation(
    verb: Verb = Verb.DEPLOY, method: Method = Method.NETBOOT, **changes: Any
) -> Operation:
    template = ResolvedTemplate(
        name="live",
        chain=("live",),
        method=method,
        image=IMAGE,
        kernel_args=("console=ttyS0", "quiet"),
        user_data="#cloud-config\n",
        digest=DIGEST,
    )
    values: dict[str, Any] = {
        "id": "o1",
        "node": "n1",
        "verb": verb,
        "state": OperationState.RUNNING,
        "target": Target(power=PowerState.ON, template=template, digest=DIGEST),
        "holder": Holder(kind="Pool", name="lab", owner="lab"),
        "pool": "lab",
        "priority": 500,
        "stages": (Stage.BOOT,),
        "stage": Stage.BOOT,
        "commit": Commit(id="c" * 40, author="Ada <ada@lab.example>", subject="Boot", at=NOW),
        "source": Source(path="pool.yaml", line=1),
        "created_at": NOW,
    }
    return Operation(**(values | changes))


def boot(found: Record, asked: Operation) -> Step:
    return boot_step(found, asked, NODE, Interfaces())


def target(step: Step) -> str:
    return step.body["target"] if step.body is not None else ""


RUNS_OURS = Mark(operation="o1", wished=DIGEST)
RUNS_SAME = Mark(operation="o0", wished=DIGEST)
RUNS_OLD = Mark(operation="o0", wished=OLD)


@pytest.mark.parametrize(
    ("found", "asked", "order"),
    [
        (record("available"), operation(), "active"),
        (record("manageable"), operation(), "provide"),
        (record("enroll"), operation(), "manage"),
        (record("active", deployed=RUNS_OLD), operation(), "deleted"),
        (record("active", deployed=RUNS_SAME), operation(), "deleted"),
        (record("active"), operation(), "deleted"),
        (record("active", deployed=RUNS_OURS), operation(), "power on"),
        (record("active", deployed=RUNS_OURS, power="power on"), operation(), ""),
        (record("deploy failed", deployed=RUNS_OURS), operation(), "deleted"),
        (record("error"), operation(), "deleted"),
        (record("clean failed"), operation(), "manage"),
        (
            record("wait call-back", deployed=RUNS_OLD, automated_clean=False),
            operation(),
            "deleted",
        ),
        (record("active", deployed=RUNS_SAME), operation(Verb.REBOOT), "power on"),
        (record("active", deployed=RUNS_OLD), operation(Verb.REBOOT), "deleted"),
        (record("active", deployed=RUNS_OLD), operation(Verb.REBOOT, Method.DISK), "power on"),
        (record("active"), operation(Verb.POWER_ON), "power on"),
        (record("available"), operation(Verb.POWER_ON), "active"),
        (record("manageable"), operation(method=Method.LOCAL), "adopt"),
        (record("available"), operation(method=Method.LOCAL), "manage"),
        (record("active"), operation(method=Method.LOCAL), ""),
    ],
)
def test_the_next_order_of_a_boot(found: Record, asked: Operation, order: str) -> None:
    assert target(boot(found, asked)) == order


@pytest.mark.parametrize("state", sorted(AT_WORK - {"wait call-back"}))
def test_ironic_at_work_is_left_alone(state: str) -> None:
    for ask in (
        lambda: boot(record(state), operation()),
        lambda: wipe_step(record(state), WIPE),
        lambda: power_step(record(state), EffectKind.POWER_ON),
    ):
        with pytest.raises(NotBegunError):
            ask()


def test_a_locked_node_is_left_alone_whatever_its_state() -> None:
    with pytest.raises(NotBegunError, match="locked by c1"):
        boot(record("available", reservation="c1"), operation())


@pytest.mark.parametrize("state", ["rescue", "service", "deploy hold", "something new"])
def test_states_that_are_left_to_people_are_refused(state: str) -> None:
    with pytest.raises(PermanentError, match="left to people"):
        boot(record(state), operation())


def test_a_disk_is_not_installed_anew_because_somebody_tore_the_instance_down() -> None:
    with pytest.raises(PermanentError, match="somebody tore it down"):
        boot(record("available"), operation(Verb.POWER_ON, Method.DISK))


def test_maintenance_is_refused_as_its_reason_says() -> None:
    with pytest.raises(PermanentError, match="new fans"):
        boot(record(maintenance=True, maintenance_reason="new fans"), operation())
    with pytest.raises(TemporaryError, match="power failure"):
        boot(record(maintenance=True, fault="power failure"), operation())


def test_a_deployment_says_what_it_is_for_and_lets_nothing_be_erased_later() -> None:
    step = boot(record("available", automated_clean=None), operation())
    patch = {each["path"]: each["value"] for each in step.patch}
    info = patch["/instance_info"]
    assert info["metalwright"]["template_digest"] == DIGEST
    assert info["metalwright"]["operation"] == "o1"
    assert info["kernel_append_params"] == "console=ttyS0 quiet"
    assert patch["/automated_clean"] is False
    assert patch["/extra/metalwright_wipe"] == {}, "the evidence of a wipe ends"
    assert patch["/deploy_interface"] == "ramdisk"
    assert step.body is not None
    assert step.body["configdrive"]["user_data"] == "#cloud-config\n"


def test_a_disk_image_goes_with_its_digest() -> None:
    step = boot(record("available"), operation(method=Method.DISK))
    info = next(each["value"] for each in step.patch if each["path"] == "/instance_info")
    assert info["image_source"] == FILE.url
    assert (info["image_os_hash_algo"], info["image_os_hash_value"]) == ("sha256", "a" * 64)


@pytest.mark.parametrize(
    ("found", "order"),
    [
        (record("active"), "deleted"),
        (record("deploy failed"), "deleted"),
        (record("available"), "manage"),
        (record("manageable", updated_at="2026-11-20T08:00:00+00:00"), "clean"),
        (record("clean failed"), "manage"),
    ],
)
def test_the_next_order_of_a_wipe(found: Record, order: str) -> None:
    assert target(wipe_step(found, WIPE)) == order


def test_a_wipe_is_one_step_of_its_level_and_done_only_after_a_change_of_state() -> None:
    before = record("manageable", updated_at="2026-11-20T08:00:00+00:00")
    step = wipe_step(before, WIPE)
    assert step.body is not None
    assert step.body["clean_steps"] == [{"interface": "deploy", "step": "erase_devices"}]
    marked = replace(before, wipe=Mark(operation="o1", wished=before.updated_at))
    assert marked.wiped is None
    assert target(wipe_step(marked, WIPE)) == "clean", "the order was lost"
    after = replace(marked, updated_at="2026-11-20T08:10:00+00:00")
    assert after.wiped == "o1"
    assert wipe_step(after, WIPE) == DONE
    assert replace(after, state="available").wiped is None
    with pytest.raises(PermanentError, match="level"):
        wipe_step(before, replace(WIPE, argument="paint it"))


def test_power_that_is_on_its_way_is_not_ordered_twice() -> None:
    going = record(power_target="power on", reservation="c1")
    assert power_step(going, EffectKind.POWER_ON) == DONE
    soft = record(power="power on", power_target="power off", reservation="c1")
    assert power_step(soft, EffectKind.SOFT_POWER_OFF) == DONE
    for found in (going, soft):
        with pytest.raises(NotBegunError):
            power_step(found, EffectKind.POWER_OFF)


def test_a_former_deployment_that_waits_is_ended_without_writing_into_the_node() -> None:
    waits = record("wait call-back", deployed=RUNS_OLD, automated_clean=False)
    step = boot(waits, operation())
    assert step == Step(path="states/provision", body={"target": "deleted"}, makes_room=True)


@pytest.mark.parametrize("cleans", [None, True])
def test_a_deployment_that_waits_and_whose_end_could_erase_the_disks_is_left_to_people(
    cleans: bool | None,
) -> None:
    theirs = record("wait call-back", power="power on", automated_clean=cleans)
    for order in (
        lambda: boot(theirs, operation()),
        lambda: wipe_step(theirs, WIPE),
        lambda: power_step(replace(theirs, deployed=RUNS_OLD), EffectKind.POWER_OFF),
    ):
        with pytest.raises(PermanentError, match="end it in Ironic"):
            order()


@pytest.mark.parametrize(
    ("found", "phase"),
    [
        (record("deploying"), Phase.WORKS),
        (record("available"), Phase.WAITS),
        (record("active", deployed=RUNS_OURS), Phase.WAITS),
        (record("active", deployed=RUNS_OURS, power="power on"), None),
        (record("active", deployed=RUNS_OLD, power="power on"), Phase.WAITS),
        (record("deploy failed", deployed=RUNS_OURS), Phase.FAILED),
        (record("deploy failed", deployed=RUNS_OLD), Phase.WAITS),
        (record("error"), Phase.FAILED),
        (record("clean failed"), Phase.FAILED),
        (record("enroll", last_error="no BMC"), Phase.FAILED),
        (record("manageable", last_error="of long ago"), Phase.WAITS),
    ],
)
def test_the_progress_of_what_was_asked(found: Record, phase: Phase | None) -> None:
    progress = progress_of(replace(found, mark=Mark(operation="o1", wished="boot")))
    assert (progress.phase if progress is not None else None) is phase
    assert progress_of(found) is None, "nobody asked"


@pytest.mark.parametrize("found", [None, [], {}, {"uuid": 1}, {"uuid": "u", "power_state": "?"}])
def test_an_answer_that_is_no_node_is_an_error_of_ours(found: object) -> None:
    with pytest.raises(PermanentError):
        record_of(found)
