"""What a report adds to what a BMC says, and when it counts no more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metalwright.model.boots import Heard, furthest, unwiped
from metalwright.model.desired import Holder, Target
from metalwright.model.inventory import Commit, ResolvedTemplate, Source
from metalwright.model.observed import BootProgress, Identity, Observation, Power, Reading
from metalwright.model.observed import Phase as Step
from metalwright.model.operation import Operation, OperationState, Stage, Verb
from metalwright.model.overlay import is_over, overlaid
from metalwright.model.report import DiskFact, DiskWipe, Facts, Phase, Report
from metalwright.model.template import Method, WipePolicy
from metalwright.model.tenancy import PowerState

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
DIGEST = "d" * 64
FACTS = Facts(serial="SN1")


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def seen(seconds: float = 20, **reading: Any) -> Observation:
    values: dict[str, Any] = {"power": Power.ON}
    return Observation(node="n1", at=at(seconds), reading=Reading(**(values | reading)))


def heard(phase: Phase = Phase.RUNNING, **changes: Any) -> Heard:
    values: dict[str, Any] = {
        "node": "n1",
        "at": at(10),
        "boot_id": "b",
        "phase": phase,
        "operation_id": "o1",
        "attempt": 1,
        "template_digest": DIGEST,
        "facts": FACTS,
    }
    last_wipe, live = changes.pop("last_wipe", ""), changes.pop("live", True)
    return Heard(report=Report(**(values | changes)), last_wipe=last_wipe, live=live)


def running(stage: Stage = Stage.BOOT, **changes: Any) -> Operation:
    phone_home = changes.pop("phone_home", True)
    template = ResolvedTemplate(
        name="t", chain=("t",), method=Method.DISK, phone_home=phone_home, digest=DIGEST
    )
    values: dict[str, Any] = {
        "id": "o1",
        "node": "n1",
        "verb": Verb.DEPLOY,
        "state": OperationState.RUNNING,
        "target": Target(power=PowerState.ON, template=template, digest=DIGEST),
        "holder": Holder(kind="Pool", name="ci", owner="lab"),
        "pool": "ci",
        "priority": 1,
        "stages": (Stage.BOOT, Stage.INSTALLING),
        "commit": Commit(id="c", author="a", subject="s", at=NOW),
        "source": Source(path="p", line=1),
        "created_at": NOW,
        "stage": stage,
        "fence": 1,
    }
    return Operation(**(values | changes))


def reading(observation: Observation) -> Reading:
    assert observation.reading is not None
    return observation.reading


def test_a_report_tells_what_runs_and_who_it_is() -> None:
    made = reading(overlaid(seen(), heard(), None))
    assert (made.boot_progress, made.template_digest) == (BootProgress.OS_RUNNING, DIGEST)
    assert (made.facts, made.identity.serial) == (FACTS, "SN1")
    assert reading(overlaid(seen(), heard(), running())).template_digest == DIGEST


def test_what_only_the_running_system_told_is_told_apart() -> None:
    own = Identity(system_uuid="u1")
    made = reading(overlaid(seen(identity=own), heard(), None))
    assert made.identity == Identity(serial="SN1", system_uuid="u1")
    assert made.lasting_identity == own
    assert reading(seen(identity=own)).lasting_identity == own


def test_without_a_report_nothing_is_changed() -> None:
    plain = seen()
    assert overlaid(plain, None, None) is plain
    silent = Observation(node="n1", at=NOW)
    assert overlaid(silent, heard(), running()) is silent


@pytest.mark.parametrize("stage", [Stage.BOOT, Stage.INSTALLING, Stage.VALIDATING])
def test_where_a_report_is_expected_on_is_not_enough(stage: Stage) -> None:
    made = reading(overlaid(seen(), None, running(stage)))
    assert made.boot_progress is BootProgress.NONE
    before = seen(boot_progress=BootProgress.OS_RUNNING)
    assert reading(overlaid(before, None, running(stage))).boot_progress is (
        BootProgress.OS_BOOT_STARTED
    )
    assert overlaid(seen(), None, running(stage, phone_home=False)) == seen()
    # A driver that knows what runs is believed.
    knows = seen(boot_progress=BootProgress.OS_RUNNING, template_digest=DIGEST)
    assert overlaid(knows, None, running(stage)) is knows


@pytest.mark.parametrize("changes", [{"attempt": 0}, {"operation_id": "o0"}, {"live": False}])
def test_what_an_earlier_boot_said_is_no_proof_of_this_one(changes: dict[str, Any]) -> None:
    made = reading(overlaid(seen(), heard(**changes), running()))
    assert (made.boot_progress, made.template_digest) == (BootProgress.NONE, None)


def test_the_power_seen_off_after_it_ends_a_report() -> None:
    off = seen(20, power=Power.OFF)
    assert is_over(off, heard())
    assert not is_over(seen(5, power=Power.OFF), heard())
    assert not is_over(seen(20), heard())
    assert overlaid(off, heard(), None) is off


def test_a_wipe_outlives_the_power() -> None:
    off = seen(20, power=Power.OFF)
    assert reading(overlaid(off, heard(Phase.WIPED, last_wipe="o1"), None)).last_wipe == "o1"
    assert reading(overlaid(off, heard(Phase.WIPED), None)).last_wipe is None


def test_a_failure_is_told_to_its_own_attempt_only() -> None:
    failed = heard(Phase.FAILED, message="no disk")
    progress = reading(overlaid(seen(), failed, running(Stage.WIPE))).progress
    assert progress is not None
    assert (progress.phase, progress.operation_id, progress.message) == (
        Step.FAILED,
        "o1",
        "no disk",
    )
    assert reading(overlaid(seen(), failed, running(Stage.WIPE, fence=2))).progress is None


def test_an_installer_that_runs_is_not_the_system() -> None:
    for phase in (Phase.READY, Phase.INSTALLING, Phase.INSTALLED):
        made = reading(overlaid(seen(), heard(phase), running(Stage.INSTALLING)))
        assert made.boot_progress is BootProgress.OS_BOOT_STARTED
        assert made.template_digest is None
    quiet = running(Stage.INSTALLING, phone_home=False)
    assert reading(overlaid(seen(), heard(Phase.INSTALLED), quiet)).template_digest == DIGEST


def test_of_two_phases_the_later_stays_and_a_failure_is_the_end() -> None:
    assert furthest(None, Phase.READY) is Phase.READY
    assert furthest(Phase.WIPING, Phase.READY) is Phase.WIPING
    assert furthest(Phase.FAILED, Phase.RUNNING) is Phase.FAILED


def test_a_disk_that_came_meanwhile_is_dirty() -> None:
    disk = DiskFact(name="vda", serial="S", bytes=10)
    wipe = DiskWipe(name="vda", serial="S", bytes=10, method="zero", verified=True)
    after = Facts(disks=(disk, replace(disk, name="vdb", serial="T")))
    assert unwiped([disk], [wipe], WipePolicy.FULL, Facts(disks=(disk,))) == ""
    assert "other disks than before: vdb" in unwiped([disk], [wipe], WipePolicy.FULL, after)
    assert "have gone since it began: vda" in unwiped([disk], [wipe], WipePolicy.FULL, Facts())
    assert unwiped([], [], WipePolicy.FULL, None) == "no disk was to be wiped"
