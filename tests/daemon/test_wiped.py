"""What git takes back when a wipe was begun already is made anew, and not only booted."""

from __future__ import annotations

import time

from metalwright.daemon.fleet import open_fleet
from metalwright.daemon.reconcile import CycleResult, Reconciler
from metalwright.model.operation import EffectKind, OperationState, Verb
from metalwright.model.plan import BlockedReason

from .conftest import WAIT_S, Rig

TEMPLATES = """\
apiVersion: metalwright/v1
kind: BootTemplate
metadata: {name: one}
spec: {method: netboot, image: live, wipe: metadata, kernelArgs: [one]}
---
apiVersion: metalwright/v1
kind: BootTemplate
metadata: {name: other}
spec: {method: netboot, image: live, wipe: metadata, kernelArgs: [other]}
"""
LOAN = """\
apiVersion: metalwright/v1
kind: Assignment
metadata: {{name: {name}}}
spec: {{pool: lab, nodes: [n1], template: {template}, owner: tenant{consent}}}
"""


def lend(rig: Rig, template: str, consent: str = "") -> str:
    rig.write("loan.yaml", LOAN.format(name=f"to-{template}", template=template, consent=consent))
    return rig.commit(f"Lend n1 for {template}")


def test_a_wipe_that_git_takes_back_is_followed_by_another_and_not_by_a_reboot(rig: Rig) -> None:
    rig.write("templates.yaml", TEMPLATES)
    rig.commit("Templates")
    rig.adopt_all()
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        reconciler = Reconciler(fleet)

        def until(reached: str) -> CycleResult:
            deadline = time.monotonic() + WAIT_S
            while True:
                result = reconciler.cycle()
                plan = result.plan
                assert plan is not None
                lines = fleet.store.journal("n1", 1)
                effect = lines[0].effect if lines else None
                wipes = effect is not None and effect.kind is EffectKind.WIPE
                found = {
                    "as desired": plan.totals.as_desired == 4,
                    "wiping": wipes and lines[0].event == "intent",
                    "blocked": bool(plan.blocked) and not plan.in_progress,
                }
                if found[reached]:
                    return result
                assert time.monotonic() < deadline, result.sentence
                time.sleep(0.02)

        lend(rig, "one")
        until("as desired")
        lend(rig, "other")
        until("wiping")
        lend(rig, "one")
        blocked = until("blocked")
        assert blocked.plan is not None
        assert [line.reason for line in blocked.plan.blocked] == [
            BlockedReason.DATA_LOSS_NOT_CONSENTED
        ]
        assert fleet.store.operations("n1", 1)[0].state is OperationState.SUPERSEDED
        lend(rig, "one", ", dataLossConsent: true")
        until("as desired")
        last = fleet.store.operations("n1", 1)[0]
        assert (last.verb, last.state) == (Verb.REBUILD, OperationState.ACTIVE)
        assert not fleet.store.memory().nodes["n1"].overwritten
