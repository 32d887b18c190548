from __future__ import annotations

from execute_rig import OFF, Rig, a_target

from metalwright.model.observed import Power
from metalwright.model.operation import OperationState, Verb
from metalwright.model.template import Method, WipePolicy


def test_a_deploy_goes_through_its_whole_life(rig: Rig) -> None:
    rig.adopt()
    target = a_target(wipe=WipePolicy.METADATA, method=Method.DISK)
    rig.want("n0", Verb.DEPLOY, target)
    rig.settle()
    assert rig.state() is OperationState.ACTIVE, rig.story()
    print(rig.story())
    remembered = rig.store.memory().nodes["n0"]
    assert remembered.applied is not None
    assert remembered.applied.target == target
    assert remembered.applied.revision == rig.inventory.revision.id
    assert rig.store.memory().applied_revision == rig.inventory.revision.id
    assert rig.store.slots() == {}
    assert rig.told() == ["wipe", "set boot device", "power on"]
    assert rig.driver.observe(rig.inventory.nodes["n0"], 1).power is Power.ON


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
    assert rig.driver.observe(rig.inventory.nodes["n0"], 1).power is Power.OFF
