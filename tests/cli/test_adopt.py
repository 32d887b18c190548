"""`mw adopt`: it takes machines over, changes none of them, and says so where it would."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from metalwright.cli import app
from metalwright.errors import MetalwrightError

NODES = """\
apiVersion: metalwright/v1
kind: Node
metadata: {name: n1}
spec: {driver: fake}
---
apiVersion: metalwright/v1
kind: Node
metadata: {name: n2}
spec: {driver: ipmi, bmc: {address: 127.0.0.1, port: 9, credentials: bmc/none}}
---
"""
POOL = """\
apiVersion: metalwright/v1
kind: Pool
metadata: {name: lab}
spec: {owner: Lab, nodes: [n1, n2], drift: %s, resting: {power: %s}}
"""


class Lab:
    """A repository with one simulated machine, which is off, and one that nobody can ask."""

    def __init__(self, home: Path) -> None:
        self.home, self.inventory = home, home / "inventory"
        self.inventory.mkdir()
        (home / "metalwright.toml").write_text('repository = "inventory"\nstate_dir = "state"\n')
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str, where: Path | None = None) -> None:
        names = ("-c", "user.name=A", "-c", "user.email=a@lab.example")
        subprocess.run(["git", *names, *words], cwd=where or self.inventory, check=True)

    def wants(self, power: str, drift: str = "correct", more: str = "") -> None:
        (self.inventory / "all.yaml").write_text(NODES + POOL % (drift, power) + more)
        self.git("add", "--all")
        self.git("commit", "-qm", f"All {power}")

    def mw(self, *words: str, code: int = 0) -> str:
        command = [*words, "--config", str(self.home / "metalwright.toml")]
        done = CliRunner().invoke(app, command)
        if isinstance(done.exception, MetalwrightError):
            assert code == 1
            return str(done.exception)
        assert done.exit_code == code, done.output
        return done.output


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


def test_a_machine_that_is_as_git_wants_it_is_taken_over(lab: Lab) -> None:
    lab.wants("off")
    assert lab.mw("adopt", "n1").startswith("adopted 1: n1 (as of ")
    assert "0 to change" in lab.mw("status")


def test_one_that_would_be_changed_at_once_is_not(lab: Lab) -> None:
    lab.wants("on")
    told = lab.mw("adopt", "n1", code=1)
    assert told.startswith("nothing adopted (as of ")
    assert "not adopted: n1: it would be changed at once (power on)\n" in told
    assert "NOT_ADOPTED" in lab.mw("explain", "n1")
    assert lab.mw("adopt", "--rebuild", "n1").startswith("adopted 1: n1 (as of ")


def test_one_that_nobody_can_ask_is_not(lab: Lab) -> None:
    lab.wants("off")
    told = lab.mw("adopt", "*", code=1)
    assert told.startswith("adopted 1: n1 (as of ")
    assert "not adopted: n2: " in told


def test_where_drift_is_only_reported_all_are(lab: Lab) -> None:
    lab.wants("on", drift="report")
    assert lab.mw("adopt", "*").startswith("adopted 2: n[1-2] (as of ")
    assert "DRIFT_REPORTED" in lab.mw("explain", "n1")


def test_nothing_is_adopted_by_a_revision_that_is_not_the_newest(lab: Lab) -> None:
    lab.wants("off")
    lab.mw("adopt", "n1")
    lab.wants("off", more="---\nkind: [\n")
    assert "all.yaml" in lab.mw("adopt", "n2", code=1)


def test_what_was_pushed_since_counts(lab: Lab, tmp_path: Path) -> None:
    remote = tmp_path / "remote.git"
    lab.git("init", "--quiet", "--bare", "--initial-branch=main", str(remote))
    lab.wants("off")
    lab.git("push", "-q", str(remote), "main")
    config = lab.home / "metalwright.toml"
    config.write_text(f'repository = "file://{remote}"\nstate_dir = "state"\n')
    assert "All off" in lab.mw("status")
    lab.wants("on", drift="report")
    lab.git("push", "-q", str(remote), "main")
    assert "All on" in lab.mw("adopt", "n1")
