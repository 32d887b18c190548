"""What the planner decides about one node, rule by rule. Every test ends converged."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from metalwright.model.hardware import Lifecycle, Nic
from metalwright.model.observed import BootProgress, Identity, Power
from metalwright.model.operation import OperationState, Stage, Verb
from metalwright.model.plan import BlockedReason, Cause, Fate
from metalwright.plan import check

from ..schedule.fleet import T0, Fleet, hours, image_of  # noqa: TID252 - one fleet for both rooms
from .world import World


@pytest.fixture
def world() -> World:
    """Four nodes that rest switched off, two that rest in a rescue system; all as desired."""
    fleet = Fleet()
    fleet.node("n-[1-6]")
    fleet.template("rescue")
    fleet.template("ci", kernel_args=("quiet",))
    fleet.template("wiped", wipe="metadata")
    fleet.template("installed", method="disk", image=image_of("rocky", disk=True))
    fleet.pool("ci", "n-[1-4]", power="off", drift="correct")
    fleet.pool("rescue", "n-[5-6]", template="rescue")
    world = World(fleet)
    world.adopt()
    assert world.plan().totals.as_desired == 6
    return world


def lend(world: World, node: str = "n-1", template: str = "ci", **spec) -> None:
    world.fleet.assignment("loan", "ci", node, template, **spec)
    world.commit()


# -- boundaries -----------------------------------------------------------------------------------


def test_an_assignment_deploys_its_template(world):
    lend(world)
    action = world.action("n-1")
    assert action.verb is Verb.DEPLOY
    assert action.stages == (Stage.POWER_OFF, Stage.BOOT)
    assert not action.disruptive, "it is off"
    assert not action.destroys_data
    holder, template = action.reasons
    assert (holder.field, holder.observed, holder.desired) == (
        "holder",
        "pool/ci",
        "assignment/loan",
    )
    assert (template.field, template.observed, template.desired) == ("template", "power off", "ci")
    assert holder.cause is Cause.GIT
    assert str(holder.source) == "assignments/loan.yaml:1"
    assert str(holder.former_source) == "pools/ci.yaml:1"
    assert holder.former_revision == f"{1:040x}"
    assert world.plan().totals.changes == 1
    world.nothing_left()


def test_the_end_of_an_assignment_undeploys_into_power_off(world):
    lend(world)
    world.nothing_left()
    del world.fleet.assignments["loan"]
    world.commit()
    action = world.action("n-1")
    assert action.verb is Verb.UNDEPLOY
    assert action.stages == (Stage.POWER_OFF,)
    assert action.disruptive
    world.nothing_left()


def test_undeploying_a_node_that_is_off_disrupts_nothing(world):
    lend(world)
    world.nothing_left()
    del world.fleet.assignments["loan"]
    world.commit()
    world.see("n-1", Power.OFF)
    assert world.action("n-1").verb is Verb.UNDEPLOY
    assert not world.action("n-1").disruptive
    world.nothing_left()


def test_a_new_tenant_gets_a_fresh_machine_although_the_template_is_the_same(world):
    lend(world, template="wiped")
    world.nothing_left()
    del world.fleet.assignments["loan"]
    world.fleet.assignment("other", "ci", "n-1", "wiped", owner="bob")
    world.commit()
    action = world.action("n-1")
    assert action.verb is Verb.DEPLOY
    assert [reason.field for reason in action.reasons] == ["holder"]
    world.nothing_left()


def test_the_next_window_of_a_schedule_is_a_boundary(world):
    world.fleet.schedule("shifts", (T0, T0 + hours(2)), (T0 + hours(2), T0 + hours(4)))
    lend(world, when={"schedule": "shifts"})
    world.nothing_left()
    world.forward(hours(2))
    action = world.action("n-1")
    assert action.verb is Verb.DEPLOY
    assert action.reasons[0].observed == "assignment/loan since 2026-11-20T08:00:00Z"
    assert action.reasons[0].desired == "assignment/loan since 2026-11-20T10:00:00Z"
    world.nothing_left()
    world.forward(hours(2))
    assert world.action("n-1").verb is Verb.UNDEPLOY
    world.nothing_left()


WINDOW = (T0 - hours(2), T0 + hours(6))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([WINDOW], [(T0 - hours(1), T0 + hours(6))]),
        ([(T0 - hours(2), T0), (T0 - hours(1), T0 + hours(6))], [(T0 - hours(1), T0 + hours(6))]),
        ([WINDOW], [(T0 - hours(2), T0), (T0, T0 + hours(6))]),
        ([WINDOW, (T0 + hours(6), T0 + hours(8))], [(T0 - hours(1), T0 + hours(8))]),
    ],
    ids=["later start", "overlapping one deleted", "cut in two", "merged with the next"],
)
def test_an_edit_of_the_window_in_force_never_costs_the_tenant_the_machine(world, before, after):
    world.fleet.schedule("shifts", *before)
    lend(world, template="wiped", when={"schedule": "shifts"})
    world.nothing_left()
    world.forward(hours(1))
    world.fleet.schedule("shifts", *after)
    world.commit()
    assert world.plan().actions == ()
    world.nothing_left()
    world.forward(hours(7) - (T0 + hours(8) - after[-1][1]))
    assert world.action("n-1").verb is Verb.UNDEPLOY, "its end is where git has it now"


def test_a_window_that_was_prolonged_is_one_although_its_first_part_is_pruned(world):
    """Recorded is the end that git had last, also while an edit waits for it."""
    world.fleet.schedule("shifts", (T0 - hours(1), T0 + hours(1)))
    lend(world, template="wiped", when={"schedule": "shifts"})
    world.nothing_left()
    began = world.memory["n-1"].applied
    world.fleet.template("wiped", wipe="full", kernel_args=("quiet",))
    world.fleet.schedule("shifts", (T0 - hours(1), T0 + hours(4)))
    world.commit()
    world.succeed()
    assert world.memory["n-1"].applied == replace(
        began, holder=replace(began.holder, until=T0 + hours(4))
    )
    world.forward(hours(2))
    world.fleet.schedule("shifts", (T0 + hours(1), T0 + hours(4)))
    world.commit()
    assert world.reason("n-1") is BlockedReason.WAITS_FOR_BOUNDARY


def test_the_next_window_is_a_boundary_although_the_one_before_was_pruned(world):
    world.fleet.schedule("shifts", (T0 - hours(1), T0 + hours(1)))
    lend(world, template="wiped", when={"schedule": "shifts"})
    world.nothing_left()
    world.fleet.schedule("shifts", (T0 + hours(3), T0 + hours(5)))
    world.forward(hours(3))
    world.commit()
    action = world.action("n-1")
    assert (action.verb, action.destroys_data) == (Verb.DEPLOY, True)
    world.nothing_left()


def test_a_pool_that_rests_switched_on_takes_a_machine_back_as_it_is(world):
    world.fleet.pool("spare", "n-4", power="on")
    world.fleet.pool("ci", "n-[1-3]", power="off")
    world.commit()
    assert world.action("n-4").verb is Verb.POWER_ON
    assert world.action("n-4").stages == (Stage.BOOT,)
    assert not world.action("n-4").disruptive
    world.nothing_left()


@pytest.mark.parametrize(
    "edit",
    [
        {"name": "loan-2"},
        {"owner": "alice@lab.example"},
        {"when": {"start": T0 - hours(1)}},
        {"when": {"start": T0 - hours(9)}},
        {"when": {"end": T0 + hours(9)}},
    ],
    ids=["renamed", "another owner", "later start", "earlier start", "no start"],
)
def test_another_name_for_the_same_tenancy_changes_no_machine(world, edit):
    began = {"start": T0 - hours(2)}
    lend(world, template="wiped", **({"when": began} if "when" in edit else {}))
    world.nothing_left()
    del world.fleet.assignments["loan"]
    name = edit.pop("name", "loan")
    world.fleet.assignment(name, "ci", "n-1", "wiped", **edit)
    world.commit()
    assert world.plan().actions == ()
    assert world.plan().totals.as_desired == 6
    world.nothing_left()
    applied = world.memory["n-1"].applied
    assert applied.holder == world.desired().nodes["n-1"].holder
    assert applied.source == world.desired().nodes["n-1"].source
    assert applied.revision == world.inventory().revision.id


def test_a_rename_with_another_owner_or_target_is_a_boundary(world):
    lend(world, template="wiped")
    world.nothing_left()
    del world.fleet.assignments["loan"]
    world.fleet.assignment("loan-2", "ci", "n-1", "wiped", owner="bob")
    world.commit()
    assert world.action("n-1").verb is Verb.DEPLOY
    world.fleet.assignment("loan-2", "ci", "n-1", "ci")
    world.commit()
    assert world.action("n-1").verb is Verb.DEPLOY
    world.nothing_left()


def test_a_node_that_moves_between_pools_that_rest_alike_is_only_recorded(world):
    world.fleet.pool("ci", "n-[1-3]", power="off")
    world.fleet.pool("spare", "n-4", power="off")
    world.commit()
    assert world.plan().actions == ()
    world.nothing_left()
    assert world.memory["n-4"].applied.holder.name == "spare"


def test_a_node_that_moves_to_a_pool_that_rests_otherwise_is_deployed(world):
    world.fleet.pool("ci", "n-[1-3]", power="off")
    world.fleet.pool("rescue", "n-[4-6]", template="rescue")
    world.commit()
    assert world.action("n-4").verb is Verb.DEPLOY
    world.nothing_left()


# -- edits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edit", "field", "verb"),
    [
        ({"kernel_args": ("quiet",)}, "kernelArgs", Verb.REBOOT),
        ({"image": image_of("rocky-9")}, "image", Verb.REBOOT),
        ({"user_data": "#cloud-config"}, "userData", Verb.REBOOT),
        ({"vendor_data": "#cloud-config"}, "vendorData", Verb.REBOOT),
        ({"method": "local"}, "method", Verb.REBUILD),
    ],
)
def test_an_edited_field_of_a_template_reboots_or_rebuilds(world, edit, field, verb):
    world.fleet.template("rescue", **edit)
    world.commit()
    action = world.action("n-5")
    assert action.verb is verb
    assert action.disruptive
    (reason,) = action.reasons
    assert reason.field == field
    assert reason.source.path == "boottemplates/rescue.yaml"
    assert reason.source.field == f"spec.{field}"
    world.nothing_left()


@pytest.mark.parametrize(
    "edit", [{"kernel_args": ("quiet",)}, {"user_data": "x"}, {"vendor_data": "x"}]
)
def test_an_edit_of_an_installed_system_rebuilds_it(world, edit):
    disk = {"method": "disk", "image": image_of("rocky", disk=True)}
    world.fleet.pool("rescue", "n-[5-6]", template="installed", data_loss_consent=True)
    world.commit()
    world.nothing_left()
    world.fleet.template("installed", **disk, **edit)
    world.commit()
    action = world.action("n-5")
    assert action.verb is Verb.REBUILD
    assert action.stages == (Stage.POWER_OFF, Stage.BOOT, Stage.INSTALLING)
    assert action.destroys_data
    world.nothing_left()


def test_user_data_is_shown_as_a_digest(world):
    world.fleet.template("rescue", user_data="password: hunter2")
    world.commit()
    (reason,) = world.action("n-5").reasons
    assert reason.observed == "(none)"
    assert reason.desired.startswith("sha256:")
    world.nothing_left()


def test_a_longer_timeout_or_another_wipe_level_changes_no_machine(world):
    before = world.fleet.templates["rescue"]
    after = world.fleet.template("rescue", wipe="full")
    assert before.digest == after.digest
    world.commit()
    assert world.plan().totals.as_desired == 6
    world.nothing_left()


def test_an_inherited_field_is_found_where_the_parent_gives_it(world):
    world.fleet.template("base", kernel_args=("console=ttyS0",), user_data="a")
    world.fleet.template("rescue", "base", kernel_args=("console=ttyS0", "rd"), user_data="a")
    world.adopt("n-5", "n-6")
    world.fleet.template("base", kernel_args=("console=ttyS1",), user_data="b")
    world.fleet.template("rescue", "base", kernel_args=("console=ttyS1", "rd"), user_data="b")
    world.commit()
    sources = {one.field: one.source.path for one in world.action("n-5").reasons}
    assert sources == {
        "kernelArgs": "boottemplates/base.yaml",
        "userData": "boottemplates/base.yaml",
    }
    world.fleet.template("rescue", "base", kernel_args=("console=ttyS0", "rw"), user_data="b")
    sources = {one.field: one.source.path for one in world.action("n-5").reasons}
    assert sources["kernelArgs"] == "boottemplates/rescue.yaml"
    world.nothing_left()


def test_a_pool_that_names_another_template_is_where_the_edit_is(world):
    world.fleet.pool("rescue", "n-[5-6]", template="ci")
    world.commit()
    (reason,) = world.action("n-5").reasons
    assert str(reason.source) == "pools/rescue.yaml:1"
    assert reason.source.field == "spec.resting.template"
    assert reason.former_source is None
    world.nothing_left()


def test_a_pool_edited_from_a_template_to_power_off_undeploys_and_back(world):
    world.fleet.pool("rescue", "n-[5-6]", power="off")
    world.commit()
    action = world.action("n-5")
    assert action.verb is Verb.UNDEPLOY
    (reason,) = action.reasons
    assert (reason.field, reason.observed, reason.desired) == ("power", "template rescue", "off")
    world.nothing_left()
    world.fleet.pool("rescue", "n-[5-6]", template="rescue")
    world.commit()
    assert world.action("n-5").verb is Verb.DEPLOY
    world.nothing_left()


def test_an_edit_waits_for_the_end_of_a_live_assignment(world):
    lend(world)
    world.nothing_left()
    world.fleet.template("ci", kernel_args=("debug",))
    world.commit()
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.WAITS_FOR_BOUNDARY
    assert blocked.verb is Verb.REBOOT
    assert blocked.cause is Cause.GIT
    assert blocked.reasons[0].field == "kernelArgs"
    world.converged()
    lend(world, template_edits="immediate")
    assert world.action("n-1").verb is Verb.REBOOT
    world.nothing_left()


def test_an_edit_made_before_the_machine_was_ready_does_not_wait(world):
    lend(world)
    world.remember("n-1", operation=world.operation("n-1", state=OperationState.RUNNING))
    world.interrupted("n-1")
    world.fleet.template("ci", kernel_args=("debug",))
    world.commit()
    assert world.progress("n-1").fate is Fate.SUPERSEDE
    world.succeed()
    assert world.action("n-1").verb is Verb.DEPLOY
    world.nothing_left()


# -- data loss ------------------------------------------------------------------------------------


@pytest.mark.parametrize("template", ["wiped", "installed"])
def test_a_boundary_of_an_assignment_consents_to_data_loss_on_both_sides(world, template):
    world.fleet.pool("rescue", "n-[5-6]", template=template)
    world.adopt("n-5", "n-6")
    world.fleet.assignment("loan", "rescue", "n-5", template)
    world.commit()
    assert world.action("n-5").destroys_data
    assert world.action("n-5").disruptive
    world.nothing_left()
    del world.fleet.assignments["loan"]
    world.commit()
    assert world.action("n-5").destroys_data
    world.nothing_left()


def test_a_wipe_without_a_boundary_needs_consent_in_git(world):
    world.fleet.template("rescue", method="local", wipe="full")
    world.commit()
    blocked = world.blocked("n-5")
    assert blocked.reason is BlockedReason.DATA_LOSS_NOT_CONSENTED
    assert blocked.destroys_data
    assert blocked.verb is Verb.REBUILD
    assert "Pool rescue has to consent: spec.dataLossConsent: true" in blocked.message
    world.converged()
    world.fleet.pool("rescue", "n-[5-6]", template="rescue", data_loss_consent=True)
    world.commit()
    assert world.action("n-5").stages == (Stage.POWER_OFF, Stage.WIPE, Stage.BOOT)
    world.nothing_left()


def test_a_move_between_pools_is_no_consent(world):
    world.fleet.pool("ci", "n-[1-3]", power="off")
    world.fleet.pool("clean", "n-4", template="wiped")
    world.commit()
    assert world.reason("n-4") is BlockedReason.DATA_LOSS_NOT_CONSENTED
    world.converged()


def test_a_reboot_never_wipes_although_the_template_says_so(world):
    world.fleet.pool("rescue", "n-[5-6]", template="wiped")
    world.adopt("n-5")
    world.fleet.template("wiped", wipe="metadata", kernel_args=("x",))
    world.commit()
    action = world.action("n-5")
    assert action.verb is Verb.REBOOT
    assert not action.destroys_data
    assert Stage.WIPE not in action.stages
    world.converged()


# -- what is not known ----------------------------------------------------------------------------


def test_a_node_adopted_to_be_rebuilt_is_deployed(world):
    world.adopt("n-1", "n-5", rebuild=True)
    assert world.action("n-5").verb is Verb.DEPLOY
    assert world.action("n-5").reasons[0].observed == "unknown"
    assert world.action("n-1").verb is Verb.UNDEPLOY
    world.nothing_left()


def test_to_be_rebuilt_is_no_consent_to_data_loss_not_even_for_an_assignment(world):
    lend(world, template="wiped")
    world.adopt("n-1", rebuild=True)
    assert world.reason("n-1") is BlockedReason.DATA_LOSS_NOT_CONSENTED
    world.converged()
    lend(world, template="wiped", data_loss_consent=True)
    assert world.action("n-1").destroys_data
    world.nothing_left()


def test_a_deployment_that_was_interrupted_on_its_way_in_keeps_its_consent(world):
    lend(world, template="wiped")
    world.interrupted("n-1")
    world.fleet.template("wiped", wipe="metadata", kernel_args=("fixed",))
    world.commit()
    action = world.action("n-1")
    assert (action.verb, action.destroys_data) == (Verb.DEPLOY, True)
    world.nothing_left()


def test_a_release_that_is_taken_back_while_it_runs_destroys_nothing(world):
    lend(world, template="wiped")
    world.nothing_left()
    loan = world.fleet.assignments.pop("loan")
    world.commit()
    assert world.action("n-1").verb is Verb.UNDEPLOY
    world.interrupted("n-1")
    world.see("n-1", Power.OFF)
    world.fleet.assignments["loan"] = loan
    world.commit()
    action = world.action("n-1")
    assert action.verb is Verb.REBOOT
    assert not action.destroys_data
    assert action.reasons[0].observed == "unknown"
    world.nothing_left()


def test_a_reboot_that_was_interrupted_within_a_tenancy_is_not_a_deployment(world):
    lend(world, template="wiped")
    world.nothing_left()
    world.fleet.template("wiped", wipe="metadata", kernel_args=("x",))
    lend(world, template="wiped", template_edits="immediate")
    assert world.action("n-1").verb is Verb.REBOOT
    world.interrupted("n-1")
    assert world.action("n-1").verb is Verb.REBOOT
    assert not world.action("n-1").destroys_data
    world.nothing_left()


def test_disks_that_a_wipe_was_begun_on_are_made_anew_although_git_went_back(world):
    """As it was: the same tenancy, and the template that the record has."""
    lend(world, template="wiped", template_edits="immediate")
    world.nothing_left()
    world.interrupted("n-1", overwritten=True)
    blocked = world.blocked("n-1")
    assert (blocked.reason, blocked.verb) == (BlockedReason.DATA_LOSS_NOT_CONSENTED, Verb.REBUILD)
    lend(world, template="wiped", template_edits="immediate", data_loss_consent=True)
    action = world.action("n-1")
    assert (action.verb, action.destroys_data) == (Verb.REBUILD, True)
    assert action.reasons[0].observed == "unknown, its disks were being overwritten"
    world.nothing_left()


def test_a_plan_that_boots_disks_that_a_wipe_was_begun_on_is_refused(world):
    lend(world, template="wiped", template_edits="immediate")
    world.nothing_left()
    world.interrupted("n-1")
    plan = world.plan()
    assert world.action("n-1").verb is Verb.REBOOT
    world.remember("n-1", overwritten=True)
    said = check(plan, *world.values())
    assert "n-1: boots as it was although its disks were being overwritten" in said


def test_a_tenancy_that_is_left_after_a_wipe_was_begun_is_left_all_the_same(world):
    lend(world, template="wiped")
    world.nothing_left()
    world.interrupted("n-1", overwritten=True)
    del world.fleet.assignments["loan"]
    world.commit()
    assert world.action("n-1").verb is Verb.UNDEPLOY
    world.nothing_left()


def test_an_interrupted_power_off_is_made_good(world):
    world.see("n-1", Power.ON)
    assert world.action("n-1").verb is Verb.POWER_OFF
    world.interrupted("n-1")
    assert world.action("n-1").verb is Verb.UNDEPLOY
    world.nothing_left()


def test_a_node_without_memory_is_never_changed(world):
    del world.memory["n-1"]
    lend(world)
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.NOT_ADOPTED
    assert "`mw adopt NODE`" in blocked.message
    assert world.plan().actions == ()
    world.converged()


def test_an_empty_memory_starts_nothing_at_all(world):
    world.memory.clear()
    lend(world, "n-1 n-2 n-3")
    plan = world.plan()
    assert plan.actions == ()
    assert plan.totals.by_blocked == {"NOT_ADOPTED": 6}
    world.converged()


@pytest.mark.parametrize("wanted", [True, False], ids=["git differs", "git does not differ"])
def test_a_node_that_cannot_be_asked_is_told_of_and_left_alone(world, wanted):
    if wanted:
        lend(world)
    world.unreachable("n-1")
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.NOT_OBSERVED
    assert blocked.message == "timeout: no answer within 5s"
    assert blocked.next_attempt_at == T0 + timedelta(minutes=2)
    assert blocked.cause is (Cause.GIT if wanted else Cause.DRIFT)
    assert blocked.verb is (Verb.DEPLOY if wanted else None)
    world.converged()


def test_a_node_that_was_never_asked_or_does_not_tell_its_power_is_not_off(world):
    lend(world, "n-1 n-2")
    del world.observed["n-1"]
    world.see("n-2", Power.UNKNOWN)
    assert world.blocked("n-1").message == "it has not been asked yet"
    assert world.blocked("n-2").message == "its BMC does not say whether the power is on"
    assert world.plan().totals.by_blocked == {"NOT_OBSERVED": 2}
    world.converged()


@pytest.mark.parametrize(
    ("age_s", "stale"), [(120, False), (120.001, True), (-2, False), (-3_600, True)]
)
def test_an_observation_counts_until_its_ttl_has_passed(world, age_s, stale):
    lend(world)
    world.see("n-1", Power.OFF, age_s=age_s)
    if stale:
        assert world.reason("n-1") is BlockedReason.STALE_OBSERVATION
        assert "more than 2m ago" in world.blocked("n-1").message
    else:
        assert world.action("n-1").verb is Verb.DEPLOY
    world.converged()


def test_an_old_observation_that_agrees_is_no_news(world):
    world.see("n-1", Power.OFF, age_s=4_000)
    assert world.plan().totals.as_desired == 6
    world.see("n-1", Power.ON, age_s=4_000)
    assert world.reason("n-1") is BlockedReason.STALE_OBSERVATION
    world.converged()


def test_without_asking_the_hardware_a_plan_shows_what_git_changes(world):
    world.context = replace(world.context, observed_kind="none")
    world.observed.clear()
    assert world.plan().totals.as_desired == 6
    lend(world, template="wiped")
    assert world.action("n-1").destroys_data
    assert world.plan().observed == "none"
    world.converged()


# -- identity -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("identity", "message"),
    [
        (Identity(serial="S-other"), "serial is S-other, git declares S-n-1"),
        (
            Identity(system_uuid="00000000-0000-0000-0000-000000000009"),
            "system UUID is 00000000-0000-0000-0000-000000000009",
        ),
        (Identity(serial="S-n-1", macs=("52:54:00:99:99:99",)), "no boot MAC 52:54:00:00:00:01"),
    ],
)
@pytest.mark.parametrize("wanted", [True, False], ids=["git differs", "git does not differ"])
def test_another_machine_than_git_means_is_never_touched(world, identity, message, wanted):
    world.fleet.node("n-1", system_uuid="00000000-0000-0000-0000-000000000001")
    if wanted:
        lend(world)
    world.see("n-1", Power.OFF, identity=identity)
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.IDENTITY_MISMATCH
    assert message in blocked.message
    world.converged()


def test_data_is_not_destroyed_on_a_machine_that_does_not_say_which_it_is(world):
    lend(world, template="wiped")
    world.see("n-1", Power.OFF, identity=Identity(system_uuid="x"))
    assert world.reason("n-1") is BlockedReason.IDENTITY_UNKNOWN
    world.converged()
    lend(world, template="ci")
    world.see("n-1", Power.OFF, identity=Identity())
    assert world.action("n-1").verb is Verb.DEPLOY, "netbooting destroys nothing"
    world.nothing_left()


def test_data_is_not_destroyed_where_only_the_running_system_tells_which_machine_it_is(world):
    lend(world, template="wiped")
    told = Identity(serial="S-n-1", system_uuid="x")
    world.see("n-1", Power.ON, identity=told, bmc_identity=Identity(system_uuid="x"))
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.IDENTITY_UNKNOWN
    assert "only its running system told who it is" in blocked.message
    assert "spec.systemUuid" in blocked.message
    world.converged()
    # What it tells counts where it is another machine.
    other = Identity(serial="S-other", macs=told.macs)
    world.see("n-1", Power.ON, identity=other, bmc_identity=Identity())
    assert world.reason("n-1") is BlockedReason.IDENTITY_MISMATCH
    world.converged()
    world.see("n-1", Power.ON, identity=told, bmc_identity=Identity(serial="S-n-1"))
    assert world.action("n-1").destroys_data
    world.nothing_left()


@pytest.mark.parametrize(
    "identity",
    [
        Identity(serial=" s-N-1 "),
        Identity(system_uuid="33221100-5544-7766-8899-AABBCCDDEEFF"),
        Identity(system_uuid="00112233-4455-6677-8899-AABBCCDDEEFF"),
        Identity(system_uuid="{00112233-4455-6677-8899-AABBCCDDEEFF}"),
        Identity(system_uuid="33221100554477668899aabbccddeeff"),
        Identity(serial="", system_uuid="", macs=("52:54:00:00:00:01", "52:54:00:00:00:ff")),
    ],
    ids=["serial", "swapped UUID", "UUID", "in braces", "bare digits", "one of several MACs"],
)
def test_the_same_machine_in_another_spelling_is_the_same(world, identity):
    world.fleet.node(
        "n-1",
        system_uuid="00112233-4455-6677-8899-aabbccddeeff",
        nics=(Nic(mac="52:54:00:00:00:01", boot=True), Nic(mac="52:54:00:00:00:02")),
    )
    lend(world, template="wiped")
    world.see("n-1", Power.OFF, identity=identity)
    assert world.action("n-1").destroys_data
    world.nothing_left()


# -- what the driver cannot do, freezes, failures -------------------------------------------------


def test_an_installation_that_the_boot_service_has_no_ramdisk_for_is_not_begun(world):
    world.fleet.node("n-1", driver="ipmi")
    lend(world, template="installed")
    assert world.action("n-1").verb is Verb.DEPLOY, "somebody else may serve what installs it"
    world.context = replace(world.context, no_ramdisk=frozenset({"ipmi"}))
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.NOT_SUPPORTED
    assert blocked.message == (
        "driver ipmi cannot install without a ramdisk (spec.ramdisk of the policy), which"
        " spec.method: disk of template installed needs"
    )
    world.converged()


def test_what_the_driver_cannot_do_is_told_with_the_field_that_asks_for_it(world):
    world.fleet.node("n-1", driver="ipmi")
    lend(world, template="wiped")
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.NOT_SUPPORTED
    assert blocked.message == (
        "driver ipmi cannot wipe, which spec.wipe: metadata of template wiped needs"
    )
    world.converged()
    world.context = replace(world.context, no_ramdisk=frozenset({"ipmi"}))
    assert world.blocked("n-1").message == (
        "driver ipmi cannot wipe without a ramdisk (spec.ramdisk of the policy), which"
        " spec.wipe: metadata of template wiped needs"
    )
    world.converged()
    world.context = replace(world.context, capabilities={})
    world.see("n-2", Power.ON)
    assert "driver fake cannot soft power off" in world.blocked("n-2").message
    world.converged()


def test_a_freeze_holds_what_has_no_priority_over_it(world):
    lend(world, "n-1 n-2")
    world.fleet.assignment("urgent", "ci", "n-3", "ci", priority=900)
    world.fleet.freeze("exams", until=T0 + hours(5), pass_priority=900)
    world.commit()
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.FROZEN
    assert blocked.next_attempt_at == T0 + hours(5)
    assert "freeze exams until 2026-11-20T13:00:00Z: because of exams" in blocked.message
    assert world.action("n-3").verb is Verb.DEPLOY
    world.converged()
    world.forward(hours(5))
    assert {one.node for one in world.plan().actions} == {"n-1", "n-2"}
    world.nothing_left()


@pytest.mark.parametrize(("attempt", "told"), [(1, "1 attempt"), (3, "3 attempts")])
def test_what_failed_is_not_tried_again_until_something_changes(world, attempt, told):
    lend(world)
    failed = world.operation(
        "n-1",
        state=OperationState.FAILED,
        stage=Stage.BOOT,
        attempt=attempt,
        last_error="no boot within 20m",
    )
    world.interrupted("n-1", failed=failed)
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.OPERATION_FAILED
    assert f"deploy failed at boot after {told}: no boot within 20m" in blocked.message
    assert "`mw retry NODE`" in blocked.message
    world.converged()
    world.fleet.template("ci", kernel_args=("fixed",))
    world.commit()
    assert world.action("n-1").verb is Verb.DEPLOY
    world.nothing_left()


def test_a_failure_for_another_tenant_does_not_hold(world):
    lend(world)
    world.interrupted("n-1", failed=world.operation("n-1", state=OperationState.FAILED))
    del world.fleet.assignments["loan"]
    world.fleet.assignment("other", "ci", "n-1", "ci", owner="bob")
    world.commit()
    assert world.action("n-1").verb is Verb.DEPLOY
    world.nothing_left()


def test_a_failed_correction_that_came_right_by_itself_is_as_desired(world):
    world.remember(
        "n-1", failed=world.operation("n-1", verb=Verb.POWER_OFF, state=OperationState.FAILED)
    )
    assert world.plan().totals.as_desired == 6
    world.see("n-1", Power.ON)
    assert world.reason("n-1") is BlockedReason.OPERATION_FAILED
    world.converged()


# -- drift ----------------------------------------------------------------------------------------


def test_drift_is_corrected_where_the_pool_says_so(world):
    world.see("n-1", Power.ON)
    action = world.action("n-1")
    assert (action.verb, action.disruptive) == (Verb.POWER_OFF, True)
    assert action.reasons[0].cause is Cause.DRIFT
    lend(world, "n-2")
    world.nothing_left()
    world.see("n-2", Power.OFF)
    assert world.action("n-2").verb is Verb.POWER_ON
    assert not world.action("n-2").disruptive
    world.nothing_left()


@pytest.mark.parametrize(
    ("corrections", "since", "left_alone"), [(2, 1, False), (3, 1, True), (3, 61, False)]
)
def test_drift_that_comes_back_each_time_is_left_alone_for_an_hour(
    world, corrections, since, left_alone
):
    applied = world.memory["n-1"].applied
    world.remember("n-1", applied=replace(applied, corrections=corrections))
    world.forward(timedelta(minutes=since))
    world.see("n-1", Power.ON)
    if not left_alone:
        assert world.action("n-1").verb is Verb.POWER_OFF
        return
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.DRIFT_REPORTED
    assert blocked.message.startswith("corrected 3 times in a row and undone each time")
    assert blocked.next_attempt_at == applied.at + timedelta(hours=1)
    world.converged()


def test_a_change_in_git_does_not_wait_for_drift_that_comes_back(world):
    world.remember("n-1", applied=replace(world.memory["n-1"].applied, corrections=3))
    lend(world, "n-1")
    assert world.action("n-1").verb is Verb.DEPLOY


def test_drift_is_reported_where_the_pool_does_not_say_to_correct_it(world):
    world.see("n-5", Power.OFF)
    blocked = world.blocked("n-5")
    assert blocked.reason is BlockedReason.DRIFT_REPORTED
    assert (blocked.verb, blocked.cause) == (Verb.POWER_ON, Cause.DRIFT)
    assert (blocked.reasons[0].observed, blocked.reasons[0].desired) == ("off", "on")
    world.converged()


def test_a_machine_that_runs_another_template_has_drifted(world):
    world.fleet.pool("rescue", "n-[5-6]", template="rescue", drift="correct")
    other = world.fleet.templates["ci"].digest
    world.see("n-5", Power.ON, boot_progress=BootProgress.OS_BOOT_STARTED, template_digest=other)
    assert world.plan().totals.as_desired == 6, "it still boots"
    world.see("n-5", Power.ON, boot_progress=BootProgress.OS_RUNNING, template_digest=other)
    world.see("n-6", Power.ON, boot_progress=BootProgress.OS_RUNNING, template_digest="f" * 64)
    assert world.action("n-5").verb is Verb.REBOOT
    assert world.action("n-5").reasons[0].observed == "ci"
    assert world.action("n-6").reasons[0].observed == "another (sha256:ffffffffffff)"
    world.nothing_left()


def test_another_installed_system_is_only_reported(world):
    world.fleet.pool(
        "rescue", "n-[5-6]", template="installed", drift="correct", data_loss_consent=True
    )
    world.adopt("n-5", "n-6")
    world.see("n-5", Power.ON, boot_progress=BootProgress.OS_RUNNING, template_digest="f" * 64)
    assert world.reason("n-5") is BlockedReason.DRIFT_REPORTED
    world.converged()


# -- operations under way -------------------------------------------------------------------------


@pytest.mark.parametrize("state", [OperationState.PENDING, OperationState.RUNNING])
def test_an_operation_goes_on_while_it_is_still_wanted(world, state):
    lend(world)
    world.remember("n-1", operation=world.operation("n-1", state=state))
    line = world.progress("n-1")
    assert (line.fate, line.why, line.operation_id) == (Fate.CONTINUE, "", "op-n-1")
    plan = world.plan()
    assert plan.actions == ()
    assert plan.totals.in_progress == 1
    world.nothing_left()


@pytest.mark.parametrize(
    ("state", "fate"),
    [(OperationState.PENDING, Fate.CANCEL), (OperationState.RUNNING, Fate.SUPERSEDE)],
)
@pytest.mark.parametrize("change", ["edited", "taken back", "given to another"])
def test_the_newest_commit_wins(world, state, fate, change):
    lend(world)
    operation = world.operation("n-1", state=state)
    world.remember("n-1", operation=operation)
    if state is OperationState.RUNNING:
        world.interrupted("n-1")
    if change == "edited":
        world.fleet.template("ci", kernel_args=("debug",))
    else:
        del world.fleet.assignments["loan"]
        if change == "given to another":
            world.fleet.assignment("other", "ci", "n-1", "ci", owner="bob")
    world.commit()
    line = world.progress("n-1")
    assert line.fate is fate
    assert line.why
    assert world.plan().actions == (), "what comes instead is in the following plan"
    world.nothing_left()


def test_an_operation_goes_on_under_its_assignments_new_name(world):
    lend(world)
    world.remember("n-1", operation=world.operation("n-1", state=OperationState.RUNNING))
    del world.fleet.assignments["loan"]
    world.fleet.assignment("loan-2", "ci", "n-1", "ci")
    world.commit()
    assert world.progress("n-1").fate is Fate.CONTINUE
    world.nothing_left()


def test_a_freeze_takes_back_what_has_not_begun_and_lets_finish_what_has(world):
    lend(world, "n-1 n-2")
    world.remember("n-1", operation=world.operation("n-1"))
    world.remember("n-2", operation=world.operation("n-2", state=OperationState.RUNNING))
    world.fleet.freeze("exams", until=T0 + hours(5))
    world.commit()
    assert world.progress("n-1").fate is Fate.CANCEL
    assert "freeze exams" in world.progress("n-1").why
    assert world.progress("n-2").fate is Fate.CONTINUE
    world.succeed()
    assert world.reason("n-1") is BlockedReason.FROZEN
    world.converged()


@pytest.mark.parametrize(("attempt", "fate"), [(0, Fate.CANCEL), (1, Fate.CONTINUE)])
def test_consent_that_is_taken_back_stops_what_was_not_tried_yet(world, attempt, fate):
    world.fleet.pool("rescue", "n-[5-6]", template="wiped")
    world.commit()
    world.interrupted("n-5")
    world.fleet.node("n-6")
    world.remember("n-5", former=None, operation=world.operation("n-5", attempt=attempt))
    world.adopt("n-6")
    assert world.progress("n-5").fate is fate
    world.converged()


# -- nodes beside git -----------------------------------------------------------------------------


def test_a_node_that_is_not_managed_is_counted_and_left_alone(world):
    world.fleet.lifecycle("n-5", Lifecycle.OBSERVED)
    world.fleet.lifecycle("n-1", Lifecycle.BROKEN)
    world.commit()
    plan = world.plan()
    assert (plan.totals.nodes, plan.totals.unmanaged, plan.blocked) == (4, 2, ())
    lend(world, "n-1 n-2")
    blocked = world.blocked("n-1")
    assert blocked.reason is BlockedReason.NOT_MANAGED
    assert blocked.message == "assignment/loan wants it, but it is broken (spec.lifecycle)"
    assert world.plan().totals.blocked == 0, "totals count managed nodes"
    assert world.plan().totals.by_blocked == {"NOT_MANAGED": 1}
    world.converged()


def test_an_assignment_of_a_broken_node_that_was_never_adopted_is_told_of(world):
    world.fleet.lifecycle("n-1", Lifecycle.BROKEN)
    world.fleet.lifecycle("n-2", Lifecycle.OBSERVED)
    del world.memory["n-1"], world.memory["n-2"]
    lend(world, "n-1")
    assert [one.node for one in world.plan().blocked] == ["n-1"]
    world.converged()


def test_a_node_that_vanished_from_git_is_left_as_it_is(world):
    for name, document in list(world.fleet.nodes.items()):
        if name in ("n-4", "n-5"):
            del world.fleet.nodes[document.metadata.name]
    world.fleet.pool("ci", "n-[1-3]", power="off")
    world.fleet.pool("rescue", "n-6", template="rescue")
    world.commit()
    plan = world.plan()
    assert plan.actions == ()
    assert plan.totals.absent == 2
    assert [(one.node, one.reason) for one in plan.blocked] == [
        ("n-5", BlockedReason.ABSENT_FROM_GIT)
    ], "n-4 was at rest, switched off"
    world.converged()


def test_an_operation_of_a_node_that_git_let_go_gives_way(world):
    for name in ("n-1", "n-2", "n-3"):
        world.remember(name, operation=world.operation(name, state=OperationState.RUNNING))
    world.remember("n-3", operation=world.operation("n-3"))
    world.fleet.lifecycle("n-1", Lifecycle.BROKEN)
    del world.fleet.nodes["n-2"], world.fleet.nodes["n-3"]
    world.fleet.pool("ci", "n-1", power="off")
    world.fleet.pool("spare", "n-4", power="off")
    world.commit()
    whys = {one.node: (one.fate, one.why) for one in world.plan().in_progress}
    assert whys == {
        "n-1": (Fate.SUPERSEDE, "it is broken"),
        "n-2": (Fate.SUPERSEDE, "it is not in git any more"),
        "n-3": (Fate.CANCEL, "it is not in git any more"),
    }
    assert world.plan().totals.in_progress == 0, "totals count managed nodes"
    world.converged()


def test_a_node_that_left_its_pool_is_only_observed(world):
    world.fleet.pool("ci", "n-[1-3]", power="off")
    world.commit()
    plan = world.plan()
    assert (plan.totals.nodes, plan.totals.unmanaged, plan.blocked) == (5, 1, ())
    world.converged()


def test_an_inventory_without_nodes_changes_nothing(world):
    world.fleet = Fleet()
    world.commit()
    plan = world.plan()
    assert plan.actions == ()
    assert plan.totals.by_blocked == {"ABSENT_FROM_GIT": 2}
    world.converged()


def test_a_plan_for_some_nodes_speaks_of_no_other(world):
    lend(world, "n-1 n-2")
    world.see("n-5", Power.OFF)
    world.context = replace(world.context, limit_nodes=frozenset({"n-2", "n-6"}))
    plan = world.plan()
    assert [one.node for one in plan.actions] == ["n-2"]
    assert (plan.totals.nodes, plan.totals.as_desired, plan.blocked) == (2, 1, ())
    world.converged()
