"""Wiping and installing: only the declared machine, only once, only with evidence of every disk."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from metalwright.model.hardware import Disk, Properties
from metalwright.model.operation import Effect, EffectKind, Operation, OperationState, Stage
from metalwright.model.report import Phase
from metalwright.model.template import Method

from .boot_world import DISK, EVIDENCE, FACTS, World, a_node, in_threads, world

TWO_DISKS = [DISK, DISK | {"name": "vdb", "serial": "DISK2"}]
INSTALLS = (Stage.POWER_OFF, Stage.BOOT, Stage.INSTALLING)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.adopt()
        yield made
        assert made.trouble == []


def wipe(lab: World, level: str = "discard") -> Operation:
    return lab.operate(lab.template(), Stage.WIPE, EffectKind.WIPE, level)


def install(lab: World, **changes: Any) -> Operation:
    return lab.operate(lab.template(Method.DISK), stages=INSTALLS, **changes)


def phase(lab: World) -> Phase:
    return lab.store.heard()["n1"].report.phase


def test_a_wipe_from_its_boot_to_its_evidence(lab: World) -> None:
    operation = wipe(lab)
    path = lab.boot()
    assert lab.client.get(f"{path}/kernel").content == b"RAMKERNEL"
    assert lab.client.get(f"{path}/initrd").content == b"RAMINITRD"
    assert lab.client.get(f"{path}/user-data").status_code == 404
    assert lab.client.get(f"{path}/disk").status_code == 404
    assert lab.report(path, "ready", facts=FACTS).text == "wipe vda discard\n"
    assert lab.report(path, "wiping").text == "ok\n"
    assert lab.store.heard()["n1"].last_wipe == ""
    assert lab.report(path, "wiped", wipes=[EVIDENCE], facts=FACTS).text == "ok\n"
    assert lab.store.heard()["n1"].last_wipe == operation.id
    (kept,) = lab.store.wipes("n1", 9)
    assert (kept.operation_id, kept.wipe.serial, kept.wipe.method) == ("o1", "DISK1", "blkdiscard")
    assert kept.wipe.verified
    assert [line.partition(":")[0] for line in lab.events("reported")] == [
        "ready",
        "wiping",
        "wiped",
    ]


def test_a_wipe_that_was_begun_is_not_begun_twice(lab: World) -> None:
    wipe(lab)
    path = lab.boot()
    # An answer that was lost may be asked for again.
    assert lab.report(path, "ready", facts=FACTS).text == "wipe vda discard\n"
    assert lab.report(path, "ready", facts=FACTS).text == "wipe vda discard\n"
    assert lab.report(path, "wiping").status_code == 200
    assert lab.report(path, "wiping").status_code == 200
    assert lab.report(path, "ready", facts=FACTS).text.startswith("stop the wipe was begun")
    # Neither by the machine that was reset: it waits.
    assert "sleep" in lab.script()
    # And what it was at is not done by being said again.
    assert phase(lab) is not Phase.WIPED


def test_a_wipe_may_take_longer_than_a_token_lives(lab: World) -> None:
    operation = wipe(lab, "full")
    path = lab.boot()
    lab.report(path, "ready", facts=FACTS)
    lab.report(path, "wiping")
    lab.now += timedelta(days=3)
    assert lab.report(path, "wiped", wipes=[EVIDENCE], facts=FACTS).text == "ok\n"
    assert lab.store.heard()["n1"].last_wipe == operation.id


def test_a_wipe_that_is_told_once_more_stays_done(lab: World) -> None:
    operation = wipe(lab, "metadata")
    path = lab.boot()
    lab.report(path, "ready", facts=FACTS)
    lab.report(path, "wiping")
    told = {"wipes": [EVIDENCE | {"bytes": 33_554_432}], "facts": FACTS}
    assert lab.report(path, "wiped", **told).text == "ok\n"
    # The answer was lost, and meanwhile the machine is to be switched off.
    lab.move(operation, intent=Effect(kind=EffectKind.POWER_OFF, operation_id=operation.id))
    assert lab.report(path, "wiped", **told).text == "ok\n"
    assert (phase(lab), lab.store.heard()["n1"].last_wipe) == (Phase.WIPED, operation.id)
    assert len(lab.store.wipes("n1", 9)) == 1


def test_another_start_of_a_kernel_has_no_right_to_the_token(lab: World) -> None:
    wipe(lab)
    path = lab.boot()
    lab.report(path, "ready", facts=FACTS)
    other = lab.report(path, "wiping", boot_id="another")
    assert other.status_code == 409
    assert lab.store.said("n1", "o1", 1) is Phase.READY


def test_nothing_is_wiped_out_of_turn(lab: World) -> None:
    wipe(lab)
    path = lab.boot()
    assert lab.report(path, "wiping").status_code == 409
    assert lab.report(path, "wiped", wipes=[EVIDENCE]).status_code == 409
    assert lab.report(path, "installed").status_code == 409
    assert lab.report(path, "running").status_code == 409
    assert lab.store.heard() == {}


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (FACTS | {"serial": "SN2"}, "the serial is SN2, git declares SN1"),
        (FACTS | {"disks": [DISK | {"serial": "DISK9"}]}, "no disk with serial DISK1"),
        (FACTS | {"disks": TWO_DISKS}, "a disk that git does not declare: vdb (DISK2)"),
        (FACTS | {"disks": []}, "the machine reports no disk"),
        (FACTS | {"nics": [{"name": "eth0", "mac": "52:54:00:00:00:77"}]}, "no boot MAC"),
        ({}, "told nothing"),
    ],
)
def test_a_machine_that_is_not_as_declared_is_not_touched(
    lab: World, facts: dict[str, Any], why: str
) -> None:
    wipe(lab)
    path = lab.boot()
    answer = lab.report(path, "ready", facts=facts)
    assert answer.text.startswith("stop nothing is touched: ")
    report = lab.store.heard()["n1"].report
    assert report.phase is Phase.FAILED
    assert why in report.message
    assert lab.report(path, "wiping").status_code == 409


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        ([], "no evidence for the disk vda (DISK1)"),
        ([EVIDENCE | {"verified": False}], "not clean when it was read back"),
        ([EVIDENCE | {"serial": "DISK9"}], "no evidence for the disk vda (DISK1)"),
        ([EVIDENCE | {"bytes": 1_000}], "only 1000 bytes of 1000000000 were wiped"),
    ],
)
def test_unknown_is_dirty(lab: World, evidence: list[dict[str, Any]], why: str) -> None:
    wipe(lab)
    path = lab.boot()
    lab.report(path, "ready", facts=FACTS)
    lab.report(path, "wiping")
    lab.report(path, "wiped", wipes=evidence, facts=FACTS)
    heard = lab.store.heard()["n1"]
    assert (heard.last_wipe, heard.report.phase) == ("", Phase.FAILED)
    assert why in heard.report.message
    assert len(lab.store.wipes("n1", 9)) == len(evidence)


def test_every_disk_needs_its_evidence(lab: World) -> None:
    disks = Properties(disks=(Disk(serial="DISK1"), Disk(serial="DISK2")))
    lab.follow(a_node(properties=disks))
    wipe(lab, "metadata")
    path = lab.boot()
    facts = FACTS | {"disks": TWO_DISKS}
    assert lab.report(path, "ready", facts=facts).text == "wipe vda metadata\nwipe vdb metadata\n"
    lab.report(path, "wiping")
    lab.report(path, "wiped", wipes=[EVIDENCE | {"bytes": 32}], facts=facts)
    assert "no evidence for the disk vdb" in lab.store.heard()["n1"].report.message
    assert lab.store.heard()["n1"].last_wipe == ""


def test_git_that_changed_its_mind_before_the_wipe_is_heard(lab: World) -> None:
    wipe(lab)
    path = lab.boot()
    lab.follow(a_node(serial="SN2"))
    assert "git declares SN2" in lab.report(path, "ready", facts=FACTS).text


def test_an_operation_that_moved_on_stops_the_wipe(lab: World) -> None:
    operation = wipe(lab)
    path = lab.boot()
    lab.move(operation, failing=True)
    assert lab.report(path, "ready", facts=FACTS).status_code == 403
    assert "sleep" in lab.script()


def test_a_new_attempt_wipes_anew_and_old_tokens_do_not(lab: World) -> None:
    operation = wipe(lab)
    path = lab.boot()
    lab.report(path, "ready", facts=FACTS)
    lab.report(path, "wiping")
    again = replace(operation, state=OperationState.PENDING, fence=2, stage=None, intent=None)
    assert lab.store.retry(again, lab.now)
    running = replace(operation, fence=3)
    assert lab.store.admit(running, {}, lab.now)
    assert lab.report(path, "wiped", wipes=[EVIDENCE], facts=FACTS).status_code == 403
    second = lab.boot()
    assert lab.report(second, "ready", facts=FACTS, boot_id="second").text == "wipe vda discard\n"


def test_what_boots_next_may_write_so_the_wipe_is_over(lab: World) -> None:
    operation = wipe(lab)
    path = lab.boot()
    for said, more in (("ready", {}), ("wiping", {}), ("wiped", {"wipes": [EVIDENCE]})):
        assert lab.report(path, said, facts=FACTS, **more).status_code == 200
    assert lab.store.heard()["n1"].last_wipe == "o1"
    power_on = replace(operation.intent, kind=EffectKind.POWER_ON)  # type: ignore[type-var]
    lab.move(operation, stage=Stage.BOOT, intent=power_on)
    lab.boot()
    assert lab.store.heard()["n1"].last_wipe == ""


def test_many_at_once_with_one_token_begin_once(lab: World) -> None:
    wipe(lab)
    path = lab.boot()
    answers: list[int] = []

    def begin() -> None:
        number = f"boot-{len(answers)}-{id(object())}"
        answers.append(lab.report(path, "ready", facts=FACTS, boot_id=number).status_code)

    in_threads(6, begin)
    assert answers.count(200) == 1


def test_without_a_ramdisk_the_machine_waits(lab: World) -> None:
    lab.follow(ramdisk=False)
    wipe(lab)
    assert "the policy names no ramdisk" in lab.script()


def test_an_installation_from_its_image_to_its_own_disk(lab: World) -> None:
    operation = install(lab)
    path = lab.boot()
    image = b"DISK" * 1_000
    sha256 = hashlib.sha256(image).hexdigest()
    ready = lab.report(path, "ready", facts=FACTS)
    assert ready.text == f"install vda {sha256} {len(image)}\n"
    assert lab.client.get(f"{path}/disk").content == image
    assert lab.client.get("/hello", params={"mac": "52:54:00:00:00:01"}).status_code == 404
    lab.report(path, "installing")
    lab.move(operation, stage=Stage.INSTALLING)
    # A machine that is reset meanwhile begins again.
    again = lab.boot()
    lab.report(again, "ready", facts=FACTS)
    lab.report(again, "installing")
    assert lab.report(again, "installed", facts=FACTS).text == "ok\n"
    assert "sanboot" in lab.script()
    answer = lab.client.get("/hello", params={"mac": "52:54:00:00:00:01"}).text
    running = answer.removeprefix("url ").strip().removeprefix(lab.url)
    assert lab.report(running, "running", facts=FACTS).status_code == 200
    assert lab.store.said("n1", "o1", 1) is Phase.RUNNING


def test_an_image_is_not_written_to_another_machine(lab: World) -> None:
    install(lab)
    path = lab.boot()
    answer = lab.report(path, "ready", facts=FACTS | {"disks": [DISK | {"serial": "DISK9"}]})
    assert answer.text.startswith("stop nothing is touched: it has no disk with serial DISK1")
    assert lab.report(path, "installing").status_code == 409


def test_a_failed_installation_ends_the_attempt_in_its_words(lab: World) -> None:
    install(lab)
    path = lab.boot()
    lab.report(path, "ready", facts=FACTS)
    lab.report(path, "installing")
    lab.report(path, "failed", message="on vda the image's sha256 is \x1b[31mwrong")
    assert lab.store.heard()["n1"].report.message == "on vda the image's sha256 is ?[31mwrong"
    assert "sleep" in lab.script()
