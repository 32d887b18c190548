"""After a process whose clock was days ahead, its operations go on and give their slots back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from execute_rig import RULES, START, Rig, a_node, a_target, an_inventory

from metalwright.model.observed import Observed
from metalwright.model.operation import OperationState, Verb
from metalwright.model.policy import FleetLimits


def test_an_operation_of_a_clock_that_was_days_ahead_ends_and_the_next_one_runs(
    tmp_path: Path,
) -> None:
    with Rig(tmp_path, nodes=2) as rig:
        nodes = [a_node("n0"), a_node("n1")]
        rig.inventory = an_inventory(nodes, replace(RULES, limits=FleetLimits(fleet=1)))
        rig.clock.now = START + timedelta(days=2)
        rig.adopt()
        rig.want("n0", Verb.DEPLOY, a_target(), 900)
        rig.want("n1", Verb.DEPLOY, a_target())
        rig.run(lambda: "power on" in rig.told("n0"))
        before = rig.operation("n0")
        rig.store.close()
        rig.clock.now = START
        rig.observed = Observed()
        rig.open()
        rig.store.claim("the next one", rig.clock())
        assert rig.store.bring_back(rig.clock()) == ("n0", "n1")
        after = rig.operation("n0")
        assert before.stage_deadline_at is not None
        assert after.stage_deadline_at is not None
        assert before.entered_at is not None
        assert after.entered_at is not None
        was = before.stage_deadline_at - before.entered_at
        assert after.stage_deadline_at - after.entered_at == was
        assert "ahead of the clock" in rig.store.journal("n0", 1)[0].detail
        assert rig.store.bring_back(rig.clock()) == ()
        # The simulated machine's own clock went back too, so its boot may not be seen to end.
        rig.run(lambda: not rig.operation("n0").unfinished or rig.operation("n0").attempt > 1)
        rig.run(lambda: rig.operation("n1").state is OperationState.ACTIVE)
