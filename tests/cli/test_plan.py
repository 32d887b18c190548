"""`mw plan` as a program meets it: the same bytes for the same inputs, exit codes, the written
file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "inventory-example"
AT = ("--at", "2026-11-20T12:00:00Z")


class Home:
    """A repository of the example inventory and a settings file beside it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        subprocess.run(["cp", "-r", str(EXAMPLE), str(home / "inventory")], check=True)
        self.config = home / "metalwright.toml"
        self.config.write_text('repository = "inventory"\nstate_dir = "state"\n')
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("The example")

    def git(self, *words: str) -> None:
        subprocess.run(["git", *words], cwd=self.home / "inventory", check=True)

    def commit(self, subject: str) -> None:
        self.git("add", "--all")
        self.git("-c", "user.name=A", "-c", "user.email=a@lab.example", "commit", "-qm", subject)

    def mw(self, *words: str, hash_seed: str = "0") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "metalwright", *words, "--config", str(self.config)],
            capture_output=True,
            timeout=120,
            check=False,
            env=os.environ | {"PYTHONHASHSEED": hash_seed, "COLUMNS": "100"},
        )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def test_the_same_inputs_give_the_same_bytes(home: Home) -> None:
    assert home.mw("adopt", "--rebuild", "*").returncode == 0
    status = home.mw("status", "--format", "json")
    assert status.returncode == 0
    observed = home.home / "observed.json"
    observed.write_bytes(status.stdout)
    now = max(each["at"] for each in json.loads(status.stdout)["observed"]["nodes"].values())
    # Asked, the machines are off and booting them disturbs nobody; not asked, they might be on.
    for code, words in (
        (2, ("--observed", str(observed), "--at", now, "--format", "json")),
        (2, ("--observed", str(observed), "--at", now)),
        (3, ("--observed", "none", *AT, "--format", "json")),
        (3, ("--observed", "none", *AT)),
    ):
        first, second = (home.mw("plan", *words, hash_seed=seed) for seed in ("1", "2"))
        assert first.returncode == second.returncode == code, first.stderr
        assert first.stdout == second.stdout
        assert len(first.stdout) > 1_000


def test_the_plan_is_also_written_as_json(home: Home) -> None:
    out = home.home / "plan.json"
    done = home.mw("plan", "--observed", "none", *AT, "--out", str(out))
    plan = json.loads(out.read_text())
    assert plan["format"] == "metalwright.plan/v1"
    assert plan["totals"]["byBlocked"] == {"NOT_ADOPTED": 46}
    assert b"NOT_ADOPTED: 46 nodes" in done.stdout
    assert done.returncode == 2


def test_a_plan_for_another_instant_wants_what_is_wanted_then(home: Home) -> None:
    pools = home.home / "inventory" / "pools.yaml"
    pools.write_text(pools.read_text().replace("drift: correct", "drift: report"))
    home.commit("What is otherwise stays so")
    assert home.mw("adopt", "*").returncode == 0
    assert home.mw("plan", "--observed", "none").returncode == 0
    done = home.mw("plan", "--observed", "none", "--at", "2027-02-15T08:00:00Z", "--format", "json")
    actions = json.loads(done.stdout)["actions"]
    assert {each["node"] for each in actions} == {"sm1029-05", "sm1029-06"}
    assert all(each["destroysData"] for each in actions)
    live = home.mw("plan", "--at", "2027-02-15T08:00:00Z", "--limit", "sm1029-05")
    assert b"STALE_OBSERVATION" not in live.stdout
