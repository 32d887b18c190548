"""The engine over a simulated fleet: whole lives, illness, newer commits, limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from execute_rig import (
    OFF,
    ON,
    RULES,
    HeldExecutor,
    Rig,
    a_commit,
    a_node,
    a_target,
    an_inventory,
    held_at_most,
    unmanaged,
)

from metalwright.drivers.fake_faults import Fault, FaultKind
from metalwright.errors import StoreError
from metalwright.execute.effects import OVERDUE_FACTOR
from metalwright.model.desired import Target
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Bmc
from metalwright.model.observed import Power, Reading
from metalwright.model.operation import Effect, EffectKind, OperationState, Stage, Verb
from metalwright.model.plan import Fate
from metalwright.model.policy import FleetLimits
from metalwright.model.template import Method, WipePolicy
from metalwright.store import Store

WIPES = a_target(wipe=WipePolicy.METADATA)


def power(rig: Rig, node: str = "n0") -> Power:
    return rig.driver.observe(rig.inventory.nodes[node], 1).power


def runs_something(rig: Rig, *nodes: str) -> None:
    """The machines are on and their systems have come up."""
    for node in nodes or rig.inventory.nodes:
        rig.driver.press(node, Power.ON)
    rig.clock.pass_s(600)


def at_stage(rig: Rig, stage: Stage, node: str = "n0") -> Callable[[], bool]:
    return lambda: rig.operation(node).stage is stage


def test_a_deploy_goes_through_its_whole_life(rig: Rig) -> None:
    rig.adopt()
    target = a_target(wipe=WipePolicy.METADATA, method=Method.DISK)
    rig.want("n0", Verb.DEPLOY, target)
    rig.settle()
    assert rig.state() is OperationState.ACTIVE, rig.story()
    remembered = rig.store.memory().nodes["n0"]
    assert remembered.applied is not None
    assert remembered.applied.target == target
    assert remembered.applied.revision == rig.inventory.revision.id
    assert rig.store.memory().applied_revision == rig.inventory.revision.id
    assert rig.store.slots() == {}
    assert rig.told() == ["wipe", "set boot device", "power on"]
    assert power(rig) is Power.ON
    assert [event for event in rig.events() if event in ("stage", "active")] == [
        "stage",
        "stage",
        "stage",
        "active",
    ]


def test_every_intent_is_durable_before_the_driver_is_called(rig: Rig) -> None:
    """Durable: another process sees it; our own one sees what is not committed too."""
    seen: list[tuple[EffectKind, bool]] = []
    beside = rig.stack.enter_context(Store.open(f"sqlite:///{rig.directory / 'store.sqlite'}"))

    class Watching:
        capabilities = rig.driver.capabilities

        def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
            stored = beside.memory().nodes[node.metadata.name].operation
            seen.append((effect.kind, stored is not None and stored.intent == effect))
            rig.driver.apply(node, effect, timeout_s)

    rig.provisioner = Watching()
    rig.engine = rig.make_engine()
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, WIPES)
    rig.settle()
    assert seen == [
        (EffectKind.WIPE, True),
        (EffectKind.SET_BOOT_DEVICE, True),
        (EffectKind.POWER_ON, True),
    ]


def test_plan_apply_plan_again_nothing(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.settle()
    before = rig.journal()
    for _ in range(5):
        report = rig.cycle()
        assert (report.created, report.admitted, report.effects, report.events) == (0, 0, 0, ())
    assert rig.journal() == before
    rig.want("n0", Verb.UNDEPLOY, OFF)
    rig.settle()
    assert rig.state() is OperationState.ACTIVE
    assert power(rig) is Power.OFF


@pytest.mark.parametrize(
    ("verb", "target", "told"),
    [
        (Verb.POWER_OFF, OFF, ["soft power off"]),
        (Verb.REBOOT, a_target(), ["soft power off", "set boot device", "power on"]),
        (Verb.REBUILD, WIPES, ["soft power off", "wipe", "set boot device", "power on"]),
    ],
)
def test_a_machine_that_is_on_is_asked_to_shut_down_first(
    rig: Rig, verb: Verb, target: Target, told: list[str]
) -> None:
    rig.adopt()
    runs_something(rig)
    rig.want("n0", verb, target)
    rig.settle()
    assert rig.told() == told, rig.story()
    assert rig.state() is OperationState.ACTIVE


def test_power_on_without_a_template_leaves_the_boot_device_alone(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.POWER_ON, ON)
    rig.settle()
    assert rig.told() == ["power on"]
    assert power(rig) is Power.ON


def test_what_is_so_already_is_not_done_again(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.POWER_OFF, OFF)
    report = rig.cycle()
    assert (report.created, report.admitted, report.finished, report.effects) == (1, 1, 1, 0)
    assert rig.state() is OperationState.ACTIVE


def test_a_soft_power_off_that_is_ignored_is_forced(rig: Rig) -> None:
    rig.adopt()
    runs_something(rig)
    rig.driver.inject("n0", Fault(kind=FaultKind.SOFT_OFF_IGNORED))
    rig.want("n0", Verb.POWER_OFF, OFF)
    rig.settle()
    assert rig.told() == ["soft power off", "power off"]
    intents = [line.at for line in rig.journal("n0") if line.event == "intent"]
    waited = intents[1] - intents[0]
    assert timedelta(seconds=120) <= waited <= timedelta(seconds=130)
    assert rig.state() is OperationState.ACTIVE


def test_a_boot_that_never_happens_fails_after_its_attempts(rig: Rig) -> None:
    rig.step_s = 10.0
    rig.adopt()
    rig.driver.inject("n0", Fault(kind=FaultKind.NEVER_BOOTS))
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    rig.run(lambda: rig.state() is OperationState.FAILED)
    failed = rig.operation()
    assert failed.attempt == 3
    assert "boot: not done in time (the power is on" in failed.last_error
    assert rig.events().count("retry") == 2
    assert rig.store.slots() == {}
    remembered = rig.store.memory().nodes["n0"]
    assert (remembered.failed, remembered.applied) == (failed, None)
    lines = [line for line in rig.journal() if line.event in ("retry", "admitted")]
    for before, after in pairwise(lines):
        if before.event == "retry":
            assert timedelta(seconds=30) <= after.at - before.at <= timedelta(seconds=125)
    rig.driver.heal("n0")
    rig.store.retry_failed(["n0"], "ada", rig.clock())
    rig.settle()
    assert rig.state() is OperationState.ACTIVE
    assert rig.store.memory().nodes["n0"].failed is None


def test_a_wipe_is_done_once_however_many_attempts_there_are(rig: Rig) -> None:
    rig.step_s = 10.0
    rig.adopt()
    rig.driver.inject("n0", Fault(kind=FaultKind.NEVER_BOOTS))
    rig.want("n0", Verb.DEPLOY, WIPES)
    rig.run(lambda: rig.events().count("retry") == 1)
    rig.driver.heal("n0")
    rig.settle()
    assert rig.state() is OperationState.ACTIVE
    assert rig.told().count("wipe") == 1


def test_a_node_that_cannot_be_observed_burns_no_attempt(rig: Rig) -> None:
    rig.step_s = 10.0
    rig.adopt()
    rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.run_for(1_200)
    waiting = rig.operation()
    assert (waiting.state, waiting.attempt) == (OperationState.PENDING, 0)
    assert rig.reports[-1].waiting_for == {"a fresh observation": 1}
    assert rig.engine.busy() == {"n0"}, "it is asked often, for it could start at once"
    rig.driver.heal("n0")
    rig.settle()
    assert rig.operation().attempt == 1


def test_a_stale_observation_starts_nothing(rig: Rig) -> None:
    rig.adopt()
    rig.look()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.clock.pass_s(RULES.observation_ttl + 1)
    assert rig.cycle(look=False).admitted == 0
    assert rig.cycle().admitted == 1


def test_a_bmc_that_dies_in_mid_operation_is_waited_for(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.run(lambda: rig.told() == ["set boot device", "power on"])
    rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
    rig.run_for(400)
    assert rig.state() is OperationState.RUNNING
    rig.driver.heal("n0")
    rig.settle()
    assert (rig.state(), rig.operation().attempt) == (OperationState.ACTIVE, 1)


def test_a_dead_bmc_gives_its_slot_back_only_after_it_was_asked_again(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.run(lambda: rig.told() == ["set boot device", "power on"])
    rig.cycle()
    last = rig.observed.nodes["n0"]
    rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
    rig.cycle()  # the effect has come back; from here on nobody asks
    rig.observed = replace(rig.observed, nodes=FrozenDict(n0=last))
    deadline = rig.operation().stage_deadline_at
    assert deadline is not None
    rig.clock.pass_s(5_000)
    operation = rig.operation()
    assert operation.acknowledged_at is not None
    old = replace(last, at=operation.acknowledged_at - timedelta(seconds=1))
    rig.observed = replace(rig.observed, nodes=FrozenDict(n0=old))
    for _ in range(3):
        rig.cycle(look=False)
    assert rig.operation().failing
    assert rig.state() is OperationState.RUNNING
    assert rig.store.memory().slots == {"fleet": 1, "label/rack=a01": 1}
    rig.cycle()
    assert rig.state() is OperationState.PENDING
    assert rig.store.slots() == {}
    assert rig.operation().fence == 2
    rig.run_for(1_000)
    assert rig.operation().attempt == 1, "and none is begun while it is dead"


def test_a_passing_fault_is_tried_again_within_the_stage(rig: Rig) -> None:
    rig.adopt()
    rig.look()
    rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle(look=False)
    rig.cycle(look=False)
    assert rig.operation().tries == 1
    rig.driver.heal("n0")
    rig.settle()
    assert (rig.state(), rig.operation().attempt) == (OperationState.ACTIVE, 1)
    assert rig.told() == ["set boot device", "set boot device", "power on"]


def test_tries_of_one_effect_are_bounded(rig: Rig) -> None:
    class Refusing:
        capabilities = rig.driver.capabilities
        calls = 0

        def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
            self.calls += 1
            silent = Fault(kind=FaultKind.SILENT)
            rig.driver.inject("n0", silent)
            try:
                rig.driver.apply(node, effect, timeout_s)
            finally:
                rig.driver.heal("n0")

    rig.provisioner = refusing = Refusing()
    rig.engine = rig.make_engine()
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    rig.run(lambda: rig.state() is OperationState.FAILED)
    assert refusing.calls == 3 * 3
    assert rig.operation().last_error == "set boot device: no answer within 20 s (3 tries)"


def test_a_lost_acknowledgement_is_read_back_not_repeated(rig: Rig) -> None:
    rig.adopt()
    runs_something(rig)
    rig.driver.inject("n0", Fault(kind=FaultKind.LOSES_ACKNOWLEDGEMENT))
    rig.want("n0", Verb.REBUILD, WIPES)
    rig.run(lambda: rig.operation().stage is Stage.BOOT)
    rig.driver.heal("n0")
    rig.settle()
    assert (rig.state(), rig.operation().attempt) == (OperationState.ACTIVE, 1)
    assert rig.told().count("soft power off") == 1, rig.story()
    state = rig.driver._fleet.node("n0")
    assert (state.soft_power_offs, state.power_offs, state.wipes) == (1, 0, 1)


def test_refused_credentials_fail_the_attempt_after_one_try(rig: Rig) -> None:
    rig.step_s = 10.0
    rig.adopt()
    rig.look()
    rig.driver.inject("n0", Fault(kind=FaultKind.WRONG_PASSWORD))
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle(look=False)
    rig.cycle(look=False)
    assert rig.told() == ["set boot device"]
    assert rig.operation().failing
    rig.run_for(600)
    assert rig.told() == ["set boot device"], "nothing more is told to a BMC that refuses us"
    assert (rig.state(), rig.operation().attempt) == (OperationState.PENDING, 1)


def test_a_bug_of_a_driver_fails_the_attempt_and_not_the_cycle(rig: Rig) -> None:
    class Broken:
        capabilities = rig.driver.capabilities

        def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
            raise ZeroDivisionError("of https://admin:s3cret@192.0.2.1/")

    rig.provisioner = Broken()
    rig.engine = rig.make_engine()
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    rig.run(lambda: rig.state() is OperationState.FAILED)
    assert "the driver broke: ZeroDivisionError at test_engine.py:" in rig.operation().last_error
    assert len(rig.told()) == 3
    said = [each for report in rig.reports for each in report.events]
    assert "s3cret" not in str(said + rig.journal("n0")), "its text could carry anything"


@pytest.mark.parametrize("leaks", [asyncio.CancelledError, SystemExit])
def test_whatever_a_driver_ends_with_is_an_answer(rig: Rig, leaks: type[BaseException]) -> None:
    class Leaky:
        capabilities = rig.driver.capabilities

        def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
            raise leaks

    with ThreadPoolExecutor(1) as threads:
        rig.executor, rig.provisioner = threads, Leaky()
        rig.engine = rig.make_engine()
        rig.adopt()
        rig.want("n0", Verb.DEPLOY, a_target())
        rig.cycle()
        rig.engine.drain(5.0)
    assert f"the driver broke: {leaks.__name__} at" in rig.operation().last_error


def test_a_driver_that_does_not_come_back_is_told_until_it_does(rig: Rig) -> None:
    rig.executor = held = HeldExecutor()
    rig.engine = rig.make_engine()
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    began = rig.operation().intent_at
    assert began is not None
    due = began + timedelta(seconds=OVERDUE_FACTOR * rig.settings.effect_timeout_s)
    assert rig.engine.next_due_at() == due, "it is told when it is late, not by chance later"
    while rig.clock() < due:
        assert rig.engine.alerts(rig.clock()) == ()
        rig.cycle()
    since = f"{began:%Y-%m-%d %H:%M:%S}"
    said = f"n0: the driver has not answered `set boot device` since {since}; restart the daemon"
    assert rig.engine.alerts(rig.clock()) == (said,)
    rig.cycle()
    assert rig.store.slots() != {}, "what may still reach the machine holds its slots"
    held.let_go()
    assert rig.engine.alerts(rig.clock()) == ()
    rig.cycle()
    assert rig.told() == ["set boot device", "power on"]


def test_another_machine_is_never_wiped(rig: Rig) -> None:
    rig.adopt()
    runs_something(rig)
    rig.driver.inject("n0", Fault(kind=FaultKind.WRONG_IDENTITY))
    rig.want("n0", Verb.REBUILD, WIPES)
    rig.cycle()
    assert rig.state() is OperationState.FAILED
    assert "this may be another machine: the serial is OTHER-" in rig.operation().last_error
    assert rig.told() == []


def test_a_machine_swapped_after_the_power_off_is_not_wiped(rig: Rig) -> None:
    rig.adopt()
    runs_something(rig)
    rig.want("n0", Verb.REBUILD, WIPES)
    rig.run(lambda: rig.told() == ["soft power off"])
    rig.driver.inject("n0", Fault(kind=FaultKind.WRONG_IDENTITY))
    rig.run(lambda: rig.state() is OperationState.FAILED)
    assert "wipe" not in rig.told()


def test_a_machine_of_unknown_identity_is_not_wiped(rig: Rig) -> None:
    nameless = a_node("n0", serial=None, nics=())
    rig.inventory = an_inventory([nameless])
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, WIPES)
    rig.cycle()
    rig.run(lambda: rig.state() is OperationState.FAILED)
    assert rig.operation().attempt == 3
    assert "git declares no serial" in rig.operation().last_error
    assert rig.told() == []


def test_somebody_who_switches_a_machine_on_does_not_get_it_booted_as_ours(rig: Rig) -> None:
    rig.adopt()
    runs_something(rig)
    rig.want("n0", Verb.REBUILD, WIPES)
    rig.run(at_stage(rig, Stage.WIPE))
    rig.driver.press("n0", Power.ON)
    rig.run(lambda: "retry" in rig.events())
    rig.settle()
    assert rig.state() is OperationState.ACTIVE, rig.story()
    assert rig.operation().attempt == 2


def test_a_pending_operation_that_git_no_longer_wants_is_cancelled(rig: Rig) -> None:
    rig.adopt()
    rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    rig.fates["n0"] = Fate.CANCEL
    rig.wanted.clear()
    report = rig.cycle()
    assert (report.cancelled, rig.state()) == (1, OperationState.CANCELLED)
    assert rig.told() == []


def test_a_boot_is_superseded_at_once_and_the_newest_commit_wins(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target(letter="d"))
    rig.run(lambda: rig.told() == ["set boot device", "power on"])
    rig.cycle()
    rig.fates["n0"] = Fate.SUPERSEDE
    newest = a_target(letter="e")
    rig.want("n0", Verb.DEPLOY, newest)
    report = rig.cycle()
    assert (report.superseded, rig.store.slots()) == (1, {})
    rig.fates.clear()
    rig.inventory = replace(rig.inventory, revision=a_commit("f"))
    rig.settle()
    applied = rig.store.memory().nodes["n0"].applied
    assert applied is not None
    assert (applied.target, applied.revision) == (newest, "f" * 40)


def test_a_power_off_is_finished_before_it_is_superseded(rig: Rig) -> None:
    rig.adopt()
    runs_something(rig)
    rig.want("n0", Verb.REBUILD, WIPES)
    rig.run(lambda: rig.told() == ["soft power off"])
    rig.fates["n0"] = Fate.SUPERSEDE
    rig.run(lambda: rig.state() is OperationState.SUPERSEDED)
    assert power(rig) is Power.OFF
    assert rig.told() == ["soft power off"], "and the wipe is not begun"


def test_a_wipe_that_has_begun_is_finished_before_it_is_superseded(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, WIPES)
    rig.run(lambda: rig.told() == ["wipe"])
    operation = rig.operation()
    rig.fates["n0"] = Fate.SUPERSEDE
    rig.run(lambda: rig.state() is OperationState.SUPERSEDED)
    assert rig.driver.observe(rig.inventory.nodes["n0"], 1).last_wipe == operation.id
    assert rig.told() == ["wipe"]


def test_the_last_stage_of_a_superseded_operation_that_is_done_counts(rig: Rig) -> None:
    rig.adopt()
    runs_something(rig)
    rig.want("n0", Verb.UNDEPLOY, OFF)
    rig.run(lambda: rig.told() == ["soft power off"])
    rig.fates["n0"] = Fate.SUPERSEDE
    rig.run(lambda: not rig.operation().unfinished)
    assert rig.state() is OperationState.ACTIVE


def test_nothing_is_superseded_while_an_effect_is_in_flight(rig: Rig) -> None:
    rig.executor = held = HeldExecutor()
    rig.engine = rig.make_engine()
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    assert len(held.held) == 1
    rig.fates["n0"] = Fate.SUPERSEDE
    rig.wanted.clear()
    for _ in range(5):
        rig.cycle()
    assert rig.state() is OperationState.RUNNING
    held.let_go()
    assert rig.wakes == 1
    rig.cycle()
    rig.cycle()
    assert rig.state() is OperationState.SUPERSEDED


def test_one_effect_is_in_flight_for_a_node_at_most(rig: Rig) -> None:
    rig.executor = held = HeldExecutor()
    rig.engine = rig.make_engine()
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    for _ in range(3):
        rig.cycle()
        assert len(held.held) == 1
    rig.clock.pass_s(10_000)
    rig.cycle()
    assert rig.state() is OperationState.RUNNING, "a deadline decides nothing meanwhile"


@pytest.mark.parametrize("how", ["absent", "broken"])
def test_a_node_that_vanishes_from_git_is_not_touched_any_more(rig: Rig, how: str) -> None:
    rig.inventory = an_inventory([a_node("n0"), a_node("n1")])
    rig.adopt("n0", "n1")
    runs_something(rig, "n0")
    rig.driver.inject("n1", Fault(kind=FaultKind.SILENT))
    for node in ("n0", "n1"):
        rig.want(node, Verb.REBUILD, WIPES)
    rig.run(lambda: rig.told() == ["soft power off"])
    gone = rig.inventory.nodes if how == "broken" else {}
    rig.inventory = an_inventory([unmanaged(node) for node in gone.values()])
    rig.wanted.clear()
    rig.run(lambda: not rig.operation("n0").unfinished)
    assert rig.state("n0") is OperationState.SUPERSEDED
    assert rig.state("n1") is OperationState.CANCELLED
    assert rig.told() == ["soft power off"]
    assert rig.store.slots() == {}


@pytest.mark.parametrize("how", ["absent", "broken", "observed"])
def test_a_boot_of_a_node_that_vanishes_keeps_its_slots_while_the_machine_may_be_coming_on(
    tmp_path: Path, how: str
) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        one = replace(RULES, limits=FleetLimits(fleet=1))
        n0, n1 = a_node("n0"), a_node("n1")
        rig.inventory = an_inventory([n0, n1], one)
        rig.adopt()
        rig.want("n0", Verb.DEPLOY, a_target(), 900)
        rig.want("n1", Verb.DEPLOY, a_target())
        rig.run(lambda: rig.told() == ["set boot device", "power on"])
        deadline = rig.operation().stage_deadline_at
        assert deadline is not None
        gone = [] if how == "absent" else [unmanaged(n0, how)]
        rig.inventory = an_inventory([*gone, n1], one)
        del rig.wanted["n0"]
        rig.cycle(look=False)
        assert rig.told("n1") == [], "one at a time, and nobody has asked n0 since"
        looks = ["n0", "n1"] if how == "observed" else ["n1"]
        while rig.state("n1") is OperationState.PENDING:
            assert rig.clock() < deadline + timedelta(minutes=1), rig.story()
            rig.look(*looks)
            rig.cycle(look=False)
        assert rig.state("n0") is OperationState.SUPERSEDED
        assert (rig.clock() < deadline) is (how == "observed"), rig.story()
        assert rig.told() == ["set boot device", "power on"]


def test_what_one_bmc_was_told_is_never_finished_by_the_answer_of_another(rig: Rig) -> None:
    """Plain power: nothing but the address tells the two machines apart."""

    class TwoMachines:
        capabilities = frozenset(EffectKind)
        power = {"192.0.2.1": Power.OFF, "192.0.2.2": Power.ON}  # noqa: RUF012

        def observe(self, node: Node, timeout_s: float) -> Reading:
            assert node.spec.bmc is not None
            return Reading(power=self.power[node.spec.bmc.address])

        def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
            assert node.spec.bmc is not None
            told.append((node.spec.bmc.address, effect.kind))
            if effect.kind is EffectKind.POWER_ON:
                self.power[node.spec.bmc.address] = Power.ON

        def close(self) -> None:
            """Nothing is open."""

    told: list[tuple[str, EffectKind]] = []
    rig.driver.close()
    rig.driver = rig.provisioner = TwoMachines()
    rig.engine = rig.make_engine()
    rig.inventory = an_inventory([a_node("n0", bmc=Bmc(address="192.0.2.1"))])
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.run(lambda: EffectKind.POWER_ON in [kind for _, kind in told])
    deadline = rig.operation().stage_deadline_at
    rig.inventory = an_inventory([a_node("n0", bmc=Bmc(address="192.0.2.2"))])
    rig.wanted.clear()
    rig.run(lambda: not rig.operation().unfinished)
    assert rig.state() is OperationState.SUPERSEDED
    assert rig.journal("n0")[-1].detail.startswith("git moved it to another BMC")
    assert rig.store.memory().nodes["n0"].applied is None, "nobody knows what .2 carries"
    assert {address for address, _ in told} == {"192.0.2.1"}
    assert deadline is not None
    assert rig.clock() > deadline, "what .1 was told is not asked any more"


def test_limits_hold_in_every_scope(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0, seed=11) as rig:
        racks = ["a01"] * 6 + ["a02"] * 3 + ["a03"] * 3
        nodes = [a_node(f"n{number:02}", rack) for number, rack in enumerate(racks)]
        rig.inventory = an_inventory(nodes, pool_limit=3)
        rig.step_s = 10.0
        rig.adopt()
        runs_something(rig, "n00", "n03", "n07")
        for kind in (FaultKind.FLAPPING, FaultKind.SLOW, FaultKind.LOSES_ACKNOWLEDGEMENT):
            rig.driver.inject("*", Fault(kind=kind, rate=0.4))
        for name in rig.inventory.nodes:
            rig.want(name, Verb.DEPLOY, WIPES)
        rig.run_for(1_800)
        rig.driver.heal("*")
        rig.settle(within_s=40_000)
        rig.store.retry_failed(rig.inventory.nodes, "ada", rig.clock())
        rig.settle(within_s=40_000)
        states = [rig.state(name) for name in rig.inventory.nodes]
        assert states == [OperationState.ACTIVE] * 12, rig.story()
        limits = {"fleet": 4, "pool/ci": 3, "lane/retry": 1} | {
            f"label/rack=a0{number}": 2 for number in (1, 2, 3)
        }
        most = held_at_most(rig.journal(), limits)
        assert most["pool/ci"] == 3, "and they are used"
        assert rig.store.slots() == {}
        for name in rig.inventory.nodes:
            operations = rig.store.operations(name, 99)
            assert rig.driver._fleet.node(name).wipes <= len(operations)


def test_a_freed_slot_is_used_in_the_same_cycle(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=3) as rig:
        rules = replace(RULES, limits=FleetLimits(fleet=1))
        rig.inventory = an_inventory([a_node(f"n{number}") for number in range(3)], rules)
        rig.adopt()
        for name in rig.inventory.nodes:
            rig.want(name, Verb.DEPLOY, a_target())
        rig.settle()
        handed_over = [each for each in rig.reports if each.finished]
        assert [each.admitted for each in handed_over] == [1, 1, 0]


def test_a_lowered_limit_kills_nothing_and_admits_nothing(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=5) as rig:
        nodes = [a_node(f"n{number}", f"r{number}") for number in range(5)]
        rig.inventory = an_inventory(nodes)
        rig.adopt()
        for name in rig.inventory.nodes:
            rig.want(name, Verb.DEPLOY, a_target())
        rig.run(lambda: rig.reports[-1].running == 4 if rig.reports else False)
        lower = replace(RULES, limits=FleetLimits(fleet=1))
        rig.inventory = an_inventory(nodes, lower)
        rig.cycle()
        assert rig.reports[-1].running == 4
        rig.run(lambda: rig.store.memory().slots == {})
        admitted = [line for line in rig.journal() if line.event == "admitted"]
        ends = [line for line in rig.journal() if line.event == "active"]
        assert admitted[-1].seq > ends[3].seq, "the fifth starts when all four are done"
        assert len(ends) == 5


@pytest.mark.parametrize("how", ["rack limit", "pool limit", "moved"])
def test_what_runs_already_counts_in_a_scope_that_is_limited_later(
    tmp_path: Path, how: str
) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        before = {"rack limit": "a01", "pool limit": "a01", "moved": "a09"}[how]
        free = replace(RULES, limits=FleetLimits(fleet=4))
        names = [f"n{number}" for number in range(4)]
        rules = RULES if how == "moved" else free
        first = [a_node(name, before) for name in names[:2]]
        rest = [a_node(name, "a01") for name in names[2:]]
        rig.inventory = an_inventory(first + rest, rules)
        rig.adopt()
        for name in names[:2]:
            rig.want(name, Verb.DEPLOY, a_target())
        rig.cycle()
        assert rig.reports[-1].running == 2
        nodes = [a_node(name, "a01") for name in names]
        if how == "pool limit":
            rig.inventory = an_inventory(nodes, free, pool_limit=2)
        else:
            rig.inventory = an_inventory(nodes, RULES)
        for name in names:
            rig.want(name, Verb.DEPLOY, a_target())
        rig.settle()
        assert max(report.running for report in rig.reports) == 2, rig.story()
        assert [rig.state(name) for name in names] == [OperationState.ACTIVE] * 4


def test_pending_operations_start_by_priority_then_age_then_name(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=4) as rig:
        rules = replace(RULES, limits=FleetLimits(fleet=1))
        rig.inventory = an_inventory([a_node(f"n{number}") for number in range(4)], rules)
        rig.adopt()
        rig.driver.inject("*", Fault(kind=FaultKind.SILENT))
        rig.want("n3", Verb.DEPLOY, a_target())
        rig.cycle()
        rig.want("n0", Verb.DEPLOY, a_target())
        rig.want("n1", Verb.DEPLOY, a_target(), priority=900)
        rig.want("n2", Verb.DEPLOY, a_target())
        rig.cycle()
        rig.driver.heal("*")
        rig.settle()
        order = [line.node for line in rig.journal() if line.event == "admitted"]
        assert order == ["n1", "n3", "n0", "n2"]


def test_a_failing_node_stands_behind_the_others(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=3) as rig:
        rules = replace(RULES, limits=FleetLimits(fleet=1))
        rig.inventory = an_inventory([a_node(f"n{number}") for number in range(3)], rules)
        rig.step_s = 10.0
        rig.adopt()
        rig.driver.inject("n0", Fault(kind=FaultKind.NEVER_BOOTS))
        for name in rig.inventory.nodes:
            rig.want(name, Verb.DEPLOY, a_target())
        rig.settle(within_s=20_000)
        order = [line.node for line in rig.journal() if line.event == "admitted"]
        assert order == ["n0", "n1", "n2", "n0", "n0"] or order == ["n0", "n1", "n0", "n2", "n0"]


def test_what_the_plan_does_not_mention_is_not_started(rig: Rig) -> None:
    rig.adopt()
    rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    rig.driver.heal("n0")
    rig.look()
    empty = replace(rig.plan(), in_progress=(), actions=())
    report = rig.engine.carry_out(empty, rig.inventory, rig.observed, rig.clock())
    assert (report.admitted, dict(report.waiting_for)) == (0, {"not in the plan": 1})


def test_a_rewritten_history_is_not_taken_for_applied(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.settle()
    first = rig.inventory.revision.id
    rig.inventory = replace(rig.inventory, revision=a_commit("f"))
    rig.abandoned_revision = first
    rig.cycle()
    assert rig.store.memory().applied_revision == first
    rig.abandoned_revision = None
    rig.cycle()
    assert rig.store.memory().applied_revision == "f" * 40


def test_effects_in_flight_are_bounded(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=4, effects_in_flight_max=2) as rig:
        rig.inventory = an_inventory([a_node(f"n{number}", f"r{number}") for number in range(4)])
        rig.executor = held = HeldExecutor()
        rig.engine = rig.make_engine()
        rig.adopt()
        for name in rig.inventory.nodes:
            rig.want(name, Verb.DEPLOY, a_target())
        for _ in range(3):
            report = rig.cycle()
            assert len(held.held) == 2
        assert dict(report.waiting_for) == {"an effect to come back": 2}
        assert rig.store.memory().slots["fleet"] == 2, "no slot is held by what cannot begin"
        for _ in range(400):
            held.let_go()
            rig.cycle()
            assert len(held.held) <= 2
        assert {rig.state(name) for name in rig.inventory.nodes} == {OperationState.ACTIVE}


def test_a_store_that_fails_starts_nothing_and_forgets_no_outcome(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()  # the first effect was carried out; its outcome is not recorded yet
    told = rig.told()
    rig.look()
    plan = rig.plan()
    rig.store.close()
    path = rig.directory / "store.sqlite"
    aside = rig.directory / "aside.sqlite"
    path.rename(aside)
    path.mkdir()
    with pytest.raises(StoreError):
        rig.engine.carry_out(plan, rig.inventory, rig.observed, rig.clock())
    path.rmdir()
    aside.rename(path)
    assert rig.told() == told
    rig.settle()
    assert rig.state() is OperationState.ACTIVE
    assert rig.told() == ["set boot device", "power on"]


def test_an_answer_counts_once_also_where_the_commit_was_not_confirmed(rig: Rig) -> None:
    """What follows from it is durable by then: the next effect, that nobody has been told yet."""

    class Unconfirmed(Store):
        lost = False

        @contextmanager
        def batch(self) -> Iterator[None]:
            with super().batch():
                yield
            if self.lost:
                self.lost = False
                raise StoreError("the connection was lost after the commit")

    store = Unconfirmed.open(f"sqlite:///{rig.directory / 'store.sqlite'}")
    rig.store.close()
    rig.store = store
    rig.engine = rig.make_engine()
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.run(lambda: rig.told() == ["set boot device"])
    store.lost = True
    with pytest.raises(StoreError):
        rig.run(lambda: False)
    assert rig.told() == ["set boot device", "power on"]
    rig.clock.pass_s(1)
    rig.cycle()
    assert rig.operation().acknowledged_at is None, "no driver was called for this intent"
    assert power(rig) is Power.OFF
    rig.settle()
    assert rig.state() is OperationState.ACTIVE
    assert rig.told() == ["set boot device", "power on", "power on"]


def test_draining_starts_nothing_and_records_what_comes_back(rig: Rig) -> None:
    with ThreadPoolExecutor(2) as threads:
        rig.executor = threads
        rig.engine = rig.make_engine()
        rig.adopt()
        rig.want("n0", Verb.DEPLOY, a_target())
        rig.cycle()
        report = rig.engine.drain(5.0)
        assert report.running == 1
        operation = rig.operation()
        assert operation.acknowledged_at is not None
        assert operation.effects == 1
        for _ in range(3):
            assert rig.cycle().effects == 0
    rig.executor = HeldExecutor()
    rig.reopen()
    rig.cycle()
    assert rig.told() == ["set boot device", "power on"]


def test_draining_gives_up_on_an_effect_that_does_not_come_back(rig: Rig) -> None:
    rig.executor = HeldExecutor()
    rig.engine = rig.make_engine()
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    report = rig.engine.drain(0.05)
    assert report.events == ("1 effects did not come back in 0.05 s",)
    assert rig.operation().acknowledged_at is None


def test_a_pool_of_threads_and_a_clock_that_runs(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=6) as rig, ThreadPoolExecutor(3) as threads:
        rig.inventory = an_inventory([a_node(f"n{number}", f"r{number}") for number in range(6)])
        rig.executor = threads
        rig.engine = rig.make_engine()
        rig.adopt()
        for name in rig.inventory.nodes:
            rig.want(name, Verb.DEPLOY, WIPES)
        rig.settle(within_s=40_000)
        assert {rig.state(name) for name in rig.inventory.nodes} == {OperationState.ACTIVE}
        assert rig.wakes == sum(report.effects for report in rig.reports)


def test_the_engine_says_when_it_has_to_be_woken(rig: Rig) -> None:
    assert rig.engine.next_due_at() is None
    assert rig.engine.busy() == frozenset()
    rig.adopt()
    runs_something(rig)
    rig.driver.inject("n0", Fault(kind=FaultKind.SOFT_OFF_IGNORED))
    rig.want("n0", Verb.POWER_OFF, OFF)
    rig.cycle()
    rig.cycle()
    due = rig.engine.next_due_at()
    assert due == rig.operation().stage_deadline_at
    assert rig.engine.busy() == {"n0"}
    rig.settle()
    assert rig.engine.next_due_at() is None
    assert rig.engine.busy() == frozenset()


def test_a_new_engine_is_busy_with_what_it_finds(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target())
    rig.cycle()
    rig.reopen()
    assert rig.engine.busy() == {"n0"}
