"""Start rates: how many machines are powered on within a time, whatever waits and whoever dies."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from execute_rig import RULES, Rig, a_node, a_target, an_inventory

from metalwright.drivers.fake_faults import Fault, FaultKind
from metalwright.model.operation import OperationState, Stage, Verb
from metalwright.model.policy import FleetLimits, PolicySpec, StartRate
from metalwright.model.template import Timeouts

BOOT_S = 600
ONE_A_MINUTE = (StartRate(label="rack", starts=1, per=60),)


def rated(rig: Rig, racks: str, rates: tuple[StartRate, ...] = ONE_A_MINUTE) -> PolicySpec:
    rules = replace(
        RULES,
        limits=FleetLimits(fleet=20),
        start_rates=rates,
        timeouts=Timeouts(boot=BOOT_S),
    )
    nodes = [a_node(f"n{number}", rack) for number, rack in enumerate(racks)]
    rig.inventory = an_inventory(nodes, rules)
    rig.adopt()
    for name in rig.inventory.nodes:
        rig.want(name, Verb.DEPLOY, a_target())
    return rules


def power_ons(rig: Rig, rack: str | None = None) -> list[datetime]:
    return [
        line.at
        for line in rig.journal()
        if line.event == "intent" and line.effect is not None
        if str(line.effect.kind) == "power on"
        if rack in (None, rig.inventory.nodes[line.node].metadata.labels["rack"])
    ]


def test_machines_of_one_rack_start_one_after_the_other(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rated(rig, "aaab")
        rig.cycle()
        rig.cycle()
        assert dict(rig.reports[-1].waiting_for) == {"a start token": 2}
        due = rig.engine.next_due_at()
        assert due is not None
        first = power_ons(rig)[0]
        assert due == first + timedelta(seconds=60)
        rig.settle()
        assert [rig.state(name) for name in rig.inventory.nodes] == [OperationState.ACTIVE] * 4
        starts = power_ons(rig, "a")
        assert len(starts) == 3
        for before, after in pairwise(starts):
            assert timedelta(seconds=60) <= after - before <= timedelta(seconds=60 + rig.step_s)
        assert power_ons(rig, "b")[0] == first, "and another rack does not wait"
        order = [line.node for line in rig.journal() if line.event == "active"]
        assert [name for name in order if name != "n3"] == ["n0", "n1", "n2"]


def test_the_time_for_booting_counts_from_the_power_on_however_long_it_waited(
    tmp_path: Path,
) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        slow = (StartRate(starts=1, per=BOOT_S * 2),)
        rated(rig, "aab", slow)
        rig.step_s = 10.0
        rig.settle()
        assert [rig.operation(name).attempt for name in rig.inventory.nodes] == [1, 1, 1]
        assert [rig.state(name) for name in rig.inventory.nodes] == [OperationState.ACTIVE] * 3
        moved = [line for line in rig.journal() if "waits for a start token" in line.detail]
        assert moved
        assert {line.stage for line in moved} == {Stage.BOOT}
        assert moved[0].detail.endswith("deadline 600s, of the policy from here")
        began = power_ons(rig)
        for before, after in pairwise(began):
            assert after - before >= timedelta(seconds=BOOT_S * 2)


def test_a_machine_that_never_comes_up_has_all_of_its_time_from_the_power_on(
    tmp_path: Path,
) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rated(rig, "aa", (StartRate(starts=1, per=900),))
        rig.step_s = 10.0
        rig.driver.inject("n1", Fault(kind=FaultKind.NEVER_BOOTS))
        rig.cycle()
        rig.run(lambda: "retry" in rig.events("n1"))
        retry = next(line for line in rig.journal("n1") if line.event == "retry")
        took = retry.at - power_ons(rig)[1]
        assert timedelta(seconds=BOOT_S) <= took <= timedelta(seconds=BOOT_S + 20)


def test_a_machine_that_dies_while_it_waits_for_a_token_gives_its_slot_back(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rated(rig, "aa", (StartRate(starts=1, per=36_000),))
        rig.step_s = 20.0
        rig.cycle()
        rig.cycle()
        rig.driver.inject("n1", Fault(kind=FaultKind.SILENT))
        rig.run(lambda: rig.state("n1") is OperationState.PENDING, within_s=3 * BOOT_S)
        assert len(power_ons(rig)) == 1


def test_a_power_on_that_is_told_again_takes_another_token(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rated(rig, "a")
        rig.run(lambda: rig.told() == ["set boot device"])
        rig.look()
        rig.driver.inject("n0", Fault(kind=FaultKind.SILENT))
        rig.cycle(look=False)
        assert len(power_ons(rig)) == 1
        rig.cycle()
        rig.driver.heal("n0")
        rig.settle()
        first, second = power_ons(rig)
        assert second - first >= timedelta(seconds=60)
        assert rig.operation().attempt == 1


def test_the_tokens_outlive_the_process(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rated(rig, "aaaa", (StartRate(starts=2, per=120),))
        rig.run(lambda: len(power_ons(rig)) == 2)
        for _ in range(5):
            rig.reopen()
            rig.cycle()
            rig.cycle()
        assert len(power_ons(rig)) == 2
        rig.settle()
        starts = power_ons(rig)
        for before, third in zip(starts, starts[2:], strict=False):
            assert third - before >= timedelta(seconds=60)


def test_a_token_is_taken_with_the_intent_or_not_at_all(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0, effects_in_flight_max=1) as rig:
        rated(rig, "ab", (StartRate(starts=1, per=60),))
        rig.settle()
        assert len(power_ons(rig)) == 2
        bucket = rig.store.memory().starts["start/fleet"]
        assert bucket == power_ons(rig)[1] + timedelta(seconds=60)


def test_a_clock_that_is_set_back_blocks_no_start_for_ever(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rated(rig, "a")
        rig.store.take_starts({"start/rack=a": rig.clock() + timedelta(days=400)})
        rig.settle(within_s=300)
        assert rig.state() is OperationState.ACTIVE
