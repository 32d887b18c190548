"""`mw hold`, `resume`, `cancel` and `retry`, beside a fleet that nobody drives at the moment."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metalwright.store import Store

from ..warm import Warm  # noqa: TID252 - one for every room

TIMEOUT_S = 60
NODE = """apiVersion: metalwright/v1
kind: Node
metadata: {name: %s}
spec:
  driver: fake  # simulated
%s---
"""
POOL = """apiVersion: metalwright/v1
kind: Pool
metadata: {name: lab}
spec: {owner: Lab, selector: "*", resting: {power: on}}
"""
HOLD = "  hold: {reason: a fan is changed}\n"


class Lab:
    """An inventory of three simulated nodes, its settings, and `mw` in it."""

    def __init__(self, home: Path, warm: Warm) -> None:
        self.home, self.inventory, self.warm = home, home / "inventory", warm
        self.inventory.mkdir()
        (home / "metalwright.toml").write_text('repository = "inventory"\nstate_dir = "state"\n')
        self.git("init", "--quiet", "--initial-branch=main")
        self.write(NODE % ("n1", "") + NODE % ("n2", "") + NODE % ("n3", HOLD) + POOL)
        self.commit("Three machines")

    def write(self, text: str) -> None:
        (self.inventory / "all.yaml").write_text(text)

    def git(self, *words: str, stdin: str = "") -> None:
        names = ("-c", "user.name=A", "-c", "user.email=a@lab.example")
        subprocess.run(
            ["git", *names, *words], cwd=self.inventory, check=True, input=stdin, text=True
        )

    def commit(self, subject: str) -> None:
        self.git("add", "--all")
        self.git("commit", "-qm", subject)

    def mw(self, *words: str, code: int = 0) -> str:
        """What a command answers on both channels, once its exit code is the expected one."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("METALWRIGHT_")}
        returned, told = self.warm.run(words, self.home, kept | {"NO_COLOR": "1"}, TIMEOUT_S)
        assert returned == code, told
        assert "Traceback" not in told
        return told


@pytest.fixture
def lab(tmp_path: Path, warm: Warm) -> Lab:
    return Lab(tmp_path, warm)


def test_a_hold_is_told_everywhere_and_lifted_again(lab: Lab) -> None:
    lab.mw("adopt", "n1", "n2")
    answer = lab.mw("hold", "n[1-2]", "--reason", 'the "left" fan')
    assert answer.startswith("held 2: n[1-2]\n")
    assert '\nspec:\n  hold:\n    reason: "the \\"left\\" fan"\n' in answer
    assert "no daemon drives this fleet now" in answer
    status = lab.mw("status")
    assert 'the "left" fan' in next(line for line in status.splitlines() if "n[1-2]" in line)
    row = next(line for line in status.splitlines() if line.startswith("n1 "))
    assert "`mw resume n1`" in row, "the command can be copied as it stands"
    assert "HELD" in lab.mw("explain", "n1")
    assert lab.mw("resume", "n1").startswith("resumed 1: n1\n")
    assert "HELD" not in lab.mw("explain", "n1")
    assert "nothing holds these nodes here" in lab.mw("resume", "n1", code=1)


def test_what_git_holds_is_left_to_git(lab: Lab) -> None:
    lab.mw("adopt", "*")
    answer = lab.mw("hold", "*", "--reason", "a new switch")
    assert "held 2: n[1-2]\n" in answer
    assert "held in git already: n3\n" in answer
    assert "git holds them still" in lab.mw("resume", "*")
    assert "held in git already" in lab.mw("hold", "n3", "--reason", "more", code=1)
    status = lab.mw("status")
    assert "n3 (in git): a fan is changed" in status
    assert HOLD in (lab.inventory / "all.yaml").read_text()
    ends = HOLD.replace("}", ", until: 2099-01-01T00:00:00Z}")
    lab.write((lab.inventory / "all.yaml").read_text().replace(HOLD, ends))
    lab.commit("The fan is there in time")
    assert "held 1: n3" in lab.mw("hold", "n3", "--reason", "for longer than git says")


def test_nodes_that_nobody_handed_over_need_no_brake(lab: Lab) -> None:
    for words in (("hold", "n1", "--reason", "why"), ("resume", "n1"), ("cancel", "n1")):
        assert "not adopted, so nothing is ever started on them: n1" in lab.mw(*words, code=1)


@pytest.mark.parametrize("command", ["resume", "cancel", "retry"])
def test_a_node_that_nobody_knows_is_a_wrong_call(lab: Lab, command: str) -> None:
    assert "selects no node" in lab.mw(command, "n9", code=64)
    assert "error:" in lab.mw(command, "n[", code=64)


def test_a_hold_needs_a_reason(lab: Lab) -> None:
    lab.mw("adopt", "n1")
    assert "--reason" in lab.mw("hold", "n1", code=64)
    assert "--reason" in lab.mw("hold", "n1", "--reason", " ", code=64)


def test_nothing_is_cancelled_where_nothing_is_under_way(lab: Lab) -> None:
    lab.mw("adopt", "n1")
    assert "nothing is under way: n1" in lab.mw("cancel", "n1", code=1)
    assert "has failed or was cancelled" in lab.mw("retry", "n1")


def test_the_brake_works_while_git_cannot_be_read(lab: Lab) -> None:
    lab.mw("adopt", "n[1-2]")
    (lab.inventory / ".git").rename(lab.home / "elsewhere")
    answer = lab.mw("hold", "n[1-2]", "--reason", "the repository is gone")
    assert "warning: git cannot be read" in answer
    assert "held 2: n[1-2]" in answer
    assert "resumed 2: n[1-2]" in lab.mw("resume", "n[1-2]")
    assert "nothing is under way: n1" in lab.mw("cancel", "n1", code=1)
    assert "error:" in lab.mw("hold", "n9", "--reason", "nobody knows it", code=1)
    (lab.home / "elsewhere").rename(lab.inventory / ".git")
    lab.write("kind: Nonsense\n")
    lab.commit("A commit that is refused, with nothing in force before")
    answer = lab.mw("hold", "n[1-2]", "--reason", "nobody knows what git wants")
    assert "warning: git cannot be read" in answer
    assert "held 2: n[1-2]" in answer
    assert "refused" in lab.mw("hold", "pool=lab", "--reason", "no such word", code=1)


def test_the_answer_for_programs_has_the_rollouts_and_who_drives(lab: Lab) -> None:
    told = json.loads(lab.mw("status", "--format", "json"))
    assert told["driven_by"] is None
    assert told["rollouts"] == []
    assert "none drives this fleet" in lab.mw("status")


def test_a_node_in_quarantine_comes_with_a_commit_that_can_be_applied(lab: Lab) -> None:
    lab.mw("adopt", "n[1-2]")
    with Store.open(f"sqlite:///{lab.home}/state/metalwright.sqlite") as store:
        store.quarantine("n1", "boot: not done in time", datetime.now(UTC))
    assert "quarantine n1" in lab.mw("status")
    told = lab.mw("show", "n1")
    assert "QUARANTINED" in told
    begin, end = told.index("--- a/all.yaml"), told.index("declared  ")
    lab.git("apply", stdin=told[begin:end])
    assert (lab.inventory / "all.yaml").read_text().count("lifecycle: broken") == 1
    lab.commit("n1 is broken")
    assert "its lifecycle is broken" in lab.mw("explain", "n1")
    answer = lab.mw("resume", "n1")
    assert "out of quarantine, to be tried again: n1" in answer
    assert "quarantine" not in lab.mw("status")
