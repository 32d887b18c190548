"""What stages took is learnt, where it was all of their time, and bounds the next ones."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from execute_rig import OFF, RULES, Rig, a_node, a_target, an_inventory

from metalwright.drivers.fake import FakeDriver
from metalwright.model.observed import Power
from metalwright.model.operation import OperationState, Stage, Verb, stage_key
from metalwright.model.plan import Fate
from metalwright.model.policy import Learning, StageTimeouts, StartRate
from metalwright.model.template import Method, Timeouts, WipePolicy

DEBIAN = a_target(wipe=WipePolicy.METADATA).template
BOOT, WIPE = (stage_key(stage, "fake", DEBIAN) for stage in (Stage.BOOT, Stage.WIPE))


def samples(rig: Rig, key: str = BOOT) -> tuple[float, ...]:
    known = rig.store.memory().stage_times.get(key)
    return known.samples_s if known is not None else ()


def test_each_stage_of_a_life_is_measured_from_its_entry(rig: Rig) -> None:
    rig.adopt()
    rig.driver.press("n0", Power.ON)
    rig.clock.pass_s(600)
    rig.want("n0", Verb.REBUILD, a_target(wipe=WipePolicy.METADATA, method=Method.DISK))
    rig.settle()
    entered = {line.stage: line.at for line in rig.journal("n0") if line.event == "stage"}
    ended = rig.operation().ended_at
    admitted = next(line.at for line in rig.journal("n0") if line.event == "admitted")
    marks = [admitted, *entered.values(), ended]
    took = [
        (after - before).total_seconds()
        for before, after in pairwise(marks)
        if after is not None and before is not None
    ]
    stages = [stage for stage in Stage if stage is not Stage.VALIDATING]
    keys = [stage_key(stage, "fake", DEBIAN) for stage in stages]
    assert [samples(rig, key) for key in keys] == [(each,) for each in took]
    assert samples(rig, stage_key(Stage.VALIDATING, "fake", DEBIAN)) == ()
    assert min(took) > 0


def test_what_was_so_already_teaches_nothing(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.POWER_OFF, OFF)
    rig.settle()
    assert rig.state() is OperationState.ACTIVE
    assert rig.store.memory().stage_times == {}


def test_a_stage_that_is_superseded_or_outlived_a_process_teaches_nothing(rig: Rig) -> None:
    rig.adopt()
    rig.want("n0", Verb.DEPLOY, a_target(wipe=WipePolicy.METADATA))
    rig.run(lambda: rig.told() == ["wipe"])
    rig.fates["n0"] = Fate.SUPERSEDE
    rig.run(lambda: rig.state() is OperationState.SUPERSEDED)
    rig.fates.clear()
    rig.cycle()
    rig.run(lambda: rig.operation().stage is Stage.WIPE and rig.told().count("wipe") == 2)
    rig.reopen()
    rig.settle()
    assert rig.state() is OperationState.ACTIVE
    assert samples(rig, WIPE) == ()
    assert len(samples(rig)) == 1, "but the boot, which began in this process, does"


def test_waiting_for_a_start_token_is_no_part_of_a_boot(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rules = replace(RULES, start_rates=(StartRate(starts=1, per=900),))
        rig.inventory = an_inventory([a_node("n0"), a_node("n1")], rules)
        rig.adopt()
        for name in rig.inventory.nodes:
            rig.want(name, Verb.DEPLOY, a_target())
        rig.settle()
        assert len(samples(rig)) == 2
        assert max(samples(rig)) < 600


def test_a_learnt_deadline_is_in_force_and_in_the_journal(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rules = replace(RULES, learning=Learning(factor=3, samples_min=30), timeouts=Timeouts())
        rig.inventory = an_inventory([a_node("n0")], rules)
        rig.adopt()
        rig.store.learn({BOOT: [30.0] * 48}, rig.clock())
        rig.driver.press("n0", Power.ON)
        rig.clock.pass_s(600)
        rig.want("n0", Verb.REBOOT, a_target())
        rig.run(lambda: rig.operation().stage is Stage.BOOT)
        rig.cycle()
        operation = rig.operation()
        assert operation.stage_deadline_at is not None
        assert operation.entered_at is not None
        assert (operation.stage_deadline_at - operation.entered_at).total_seconds() == 90
        details = [line.detail for line in rig.journal("n0") if line.event in ("stage", "intent")]
        assert details[:2] == [
            "deadline 300s, the default",
            "entered boot; deadline 90s, learnt from 48",
        ]


def test_one_image_wiped_at_two_levels_has_two_deadlines(tmp_path: Path) -> None:
    with Rig(tmp_path, nodes=0) as rig:
        rules = replace(RULES, learning=Learning(factor=3, samples_min=30), timeouts=Timeouts())
        rig.inventory = an_inventory([a_node("n0"), a_node("n1")], rules)
        rig.adopt()
        rig.store.learn({WIPE: [30.0] * 48}, rig.clock())
        rig.want("n0", Verb.DEPLOY, a_target(wipe=WipePolicy.METADATA))
        rig.want("n1", Verb.DEPLOY, a_target(wipe=WipePolicy.FULL))
        rig.run(lambda: rig.told("n0") == rig.told("n1") == ["wipe"])
        said = [line.detail for name in ("n0", "n1") for line in rig.journal(name)]
        assert [each for each in said if "deadline" in each] == [
            "entered wipe; deadline 90s, learnt from 48",
            f"entered wipe; deadline {StageTimeouts().wipe}s, the default",
        ]


def test_a_retry_has_all_of_its_time_so_that_slower_machines_are_learnt_of(tmp_path: Path) -> None:
    """What takes longer by now would else fail for ever by what its quick days taught."""
    with Rig(tmp_path, nodes=0) as rig:
        rules = replace(RULES, learning=Learning(factor=3, samples_min=30), timeouts=Timeouts())
        rig.inventory = an_inventory([a_node("n0")], rules)
        rig.driver = rig.provisioner = FakeDriver(None, seed=rig.seed, clock=rig.clock, speed=0.5)
        rig.stack.callback(rig.driver.close)
        rig.engine = rig.make_engine()
        rig.adopt()
        rig.store.learn({BOOT: [30.0] * 48}, rig.clock())
        rig.want("n0", Verb.DEPLOY, a_target())
        rig.settle()
        assert (rig.state(), rig.operation().attempt) == (OperationState.ACTIVE, 2), rig.story()
        assert max(samples(rig)) > 90
        said = [line.detail for line in rig.journal("n0") if "entered boot" in line.detail]
        assert said == [
            "entered boot; deadline 90s, learnt from 48",
            "entered boot; deadline 1200s, the default",
        ]
