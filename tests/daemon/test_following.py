"""Which revision is in force when the newest commit has errors: never one that a good commit
before it has taken something back from.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta

import pytest

from metalwright.daemon.clock import system_clock
from metalwright.daemon.fleet import open_fleet
from metalwright.daemon.following import FACT_IN_FORCE, LOADS_MAX
from metalwright.daemon.reconcile import Reconciler, applied_as
from metalwright.model.plan import Plan

from ..warm import Warm  # noqa: TID252 - one for every room
from .conftest import WAIT_S, Rig

SCRATCH = """\
apiVersion: metalwright/v1
kind: BootTemplate
metadata: {name: scratch}
spec: {method: local, wipe: full}
"""
WIPED = """\
apiVersion: metalwright/v1
kind: Assignment
metadata: {{name: loan}}
spec: {{pool: lab, nodes: [n1], template: scratch, owner: tenant{when}}}
"""


class Pushed:
    """Commits that arrive together: nobody sees the branch between them."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig

    def __enter__(self) -> None:
        self.rig.git("checkout", "--quiet", "-b", "next")

    def __exit__(self, *_error: object) -> None:
        self.rig.git("update-ref", "refs/heads/main", "next")


def wiped(rig: Rig, when: str = "") -> str:
    rig.write("scratch.yaml", SCRATCH)
    rig.write("loan.yaml", WIPED.format(when=when))
    return rig.commit("one: n1 is wiped")


def taken_back(rig: Rig) -> str:
    (rig.inventory / "loan.yaml").unlink()
    return rig.commit("two: no, it is not")


def broken(rig: Rig, text: str = "n: [") -> str:
    rig.write("broken.yaml", text)
    return rig.commit("three: broken")


def operations(rig: Rig) -> int:
    with open_fleet(rig.settings(), drive=False, wake=lambda: None) as fleet:
        return len(fleet.store.operations(None, 9))


def test_a_wipe_that_a_good_commit_took_back_is_not_done_below_a_broken_one(rig: Rig) -> None:
    rig.adopt_all()
    at = system_clock() + timedelta(hours=1)
    one = wiped(rig, f", when: {{start: {at:%Y-%m-%dT%H:%M:%SZ}}}")
    rig.start()
    rig.wait_settled(one)
    with Pushed(rig):
        two = taken_back(rig)
        broken(rig)
        broken(rig, "n: {")
    result = rig.wait(lambda result: result.trouble != "", "the trouble told")
    assert result.plan is not None
    assert result.plan.revision.id == two
    assert f"revision {two[:7]}: 4 as desired; the last good commit" in result.sentence
    assert "the newest 2 commits are refused: revision" in result.sentence


def test_the_time_of_a_wipe_that_was_taken_back_passes(rig: Rig) -> None:
    rig.adopt_all()
    at = system_clock() + timedelta(hours=1)
    wiped(rig, f", when: {{start: {at:%Y-%m-%dT%H:%M:%SZ}}}")
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        reconciler = Reconciler(fleet)
        _observed(reconciler)
        with Pushed(rig):
            taken_back(rig)
            broken(rig)
        fleet.wall = lambda: at + timedelta(minutes=1)
        plan = _observed(reconciler)
        assert (plan.totals.as_desired, plan.actions) == (4, ())
        assert fleet.store.operations(None, 9) == ()


def test_a_node_adopted_at_a_good_commit_is_not_brought_to_an_older_one(
    rig: Rig, warm: Warm
) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("METALWRIGHT_")}
    wiped(rig)
    rig.start()
    rig.wait(lambda result: result.plan is not None, "a plan")
    rig.stop()
    two = taken_back(rig)
    code, told = warm.run(["adopt", "n1", "--config", str(rig.config)], rig.home, kept, 60)
    assert (code, "adopted 1: n1" in told) == (0, True), told
    broken(rig)
    rig.start()
    result = rig.wait(lambda result: result.observed is not None and result.observed.nodes, "asked")
    assert result.plan is not None
    assert result.plan.revision.id == two
    rig.wait(lambda result: len(rig.results) > 3, "more cycles")
    rig.stop()
    assert operations(rig) == 0


def test_below_a_merge_counts_the_branch_and_not_what_was_merged(rig: Rig) -> None:
    with open_fleet(rig.settings(), drive=False, wake=lambda: None) as fleet:
        reconciler = Reconciler(fleet)
        reconciler.follow_head()
        rig.git("checkout", "--quiet", "-b", "feature")
        wiped(rig)
        rig.git("checkout", "--quiet", "main")
        with Pushed(rig):
            rig.write("note.yaml", "# of the branch")
            good = rig.commit("Of the branch")
            broken(rig)
            rig.git("merge", "--quiet", "--no-edit", "feature")
        reconciler.follow_head()
        assert reconciler.inventory is not None
        assert reconciler.inventory.revision.id == good
        assert "the newest 2 commits are refused" in reconciler.trouble


def test_a_merge_of_the_revision_in_force_into_something_else_does_not_go_back(rig: Rig) -> None:
    rig.git("checkout", "--quiet", "-b", "own")
    rig.write("note.yaml", "# my own")
    rig.commit("My own, on an older commit")
    rig.git("checkout", "--quiet", "main")
    good = rig.loan("n1")
    with open_fleet(rig.settings(), drive=False, wake=lambda: None) as fleet:
        reconciler = Reconciler(fleet)
        reconciler.follow_head()
        rig.git("checkout", "--quiet", "own")
        rig.git("merge", "--quiet", "--no-edit", "main")
        broken(rig)
        rig.git("update-ref", "refs/heads/main", "own")
        reconciler.follow_head()
        assert reconciler.inventory is not None
        merge = rig.git("rev-parse", "own~1")
        assert reconciler.inventory.revision.id == merge, "a good one"
        rig.git("checkout", "--quiet", "--detach", "own~2")
        rig.git("merge", "--quiet", "--no-commit", "--no-ff", good)
        broken(rig)
        rig.git("update-ref", "refs/heads/main", "HEAD")
        reconciler = Reconciler(fleet)
        fleet.store.put_fact(FACT_IN_FORCE, f'{{"revision": "{good}"}}', fleet.clock())
        reconciler.follow_head()
        assert reconciler.inventory is not None
        assert reconciler.inventory.revision.id == good


def test_a_long_row_of_broken_commits_is_read_over_several_cycles_and_starts_nothing(
    rig: Rig,
) -> None:
    rig.adopt_all()
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        reconciler = Reconciler(fleet)
        assert reconciler.cycle().plan is not None
        with Pushed(rig):
            two = rig.loan("n1")
            for count in range(LOADS_MAX + 2):
                broken(rig, f"n: [{count}")
        result = reconciler.cycle()
        assert (result.plan, reconciler.planned_until) == (None, result.at)
        assert "is not known yet" in result.trouble
        plan = reconciler.cycle().plan
        assert plan is not None
        assert plan.revision.id == two
        assert f"the newest {LOADS_MAX + 2} commits are refused" in reconciler.trouble


def test_what_cannot_be_read_at_start_up_is_told_once_and_tried_again(rig: Rig) -> None:
    good = rig.git("rev-parse", "HEAD")
    rest = rig.git("rev-parse", "HEAD:rest.yaml")
    rig.write("rest.yaml", "n: [")
    rig.commit("broken")
    content = rig.inventory / ".git" / "objects" / rest[:2] / rest[2:]
    away = rig.home / "away"
    content.rename(away)
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        fleet.store.put_fact(FACT_IN_FORCE, f'{{"revision": "{good}"}}', fleet.clock())
        reconciler = Reconciler(fleet)
        sentences = {reconciler.cycle().sentence for _ in range(3)}
        (sentence,) = sentences
        assert sentence.count("the last good revision cannot be read either") == 1
        away.rename(content)
        plan = reconciler.cycle().plan
        assert plan is not None
        assert plan.revision.id == good
        assert "cannot be read" not in reconciler.trouble


@pytest.mark.parametrize("readable", [True, False])
def test_records_of_a_later_commit_than_the_one_in_force_are_left_alone(
    rig: Rig, readable: bool
) -> None:
    rig.adopt_all()
    one = rig.loan("n[1-2]")
    (rig.inventory / "loan.yaml").unlink()
    two = rig.commit("Nobody has them")
    with open_fleet(rig.settings(), drive=True, wake=lambda: None) as fleet:
        reconciler = Reconciler(fleet)
        reconciler.follow_head()
        now = fleet.clock()
        wanted = reconciler.resolve(now).nodes["n1"]
        fleet.store.forget("n1", "ada", now)
        fleet.store.adopt({"n1": applied_as(wanted, two, now)}, "ada", now)
        rig.git("reset", "--quiet", "--hard", one)
        if not readable:  # what nobody has any more is no later commit
            rig.git("reflog", "expire", "--expire=now", "--all")
            rig.git("gc", "--quiet", "--prune=now")
        plan = _observed(Reconciler(fleet))
        blocked = {line.node: line for line in plan.blocked}
        assert ("n1" in blocked) == readable
        if readable:
            assert blocked["n1"].reason == "OLDER_REVISION"
            assert two[:12] in blocked["n1"].message
            assert "n2" not in blocked


def _observed(reconciler: Reconciler) -> Plan:
    deadline = time.monotonic() + WAIT_S
    while True:
        result = reconciler.cycle()
        assert result.plan is not None
        assert result.observed is not None
        if len(result.observed.nodes) == 4:
            return result.plan
        assert time.monotonic() < deadline
        time.sleep(0.05)
