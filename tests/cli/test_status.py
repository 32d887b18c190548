"""`mw status` in a pipe, and what a command says that has nothing to look at."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

NODE = """apiVersion: metalwright/v1
kind: Node
metadata: {name: %s}
spec: {driver: %s}
---
"""
POOL = """apiVersion: metalwright/v1
kind: Pool
metadata: {name: lab}
spec: {owner: Lab, selector: "*", resting: {power: off}}
---
"""
IPMI = "ipmi, bmc: {address: 127.0.0.1, credentials: bmc/none}"


def mw(
    where: Path, *words: str, stdout: int = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("METALWRIGHT_")}
    return subprocess.run(
        [sys.executable, "-m", "metalwright", *words],
        cwd=where,
        env=kept
        | {"METALWRIGHT_STATE_DIR": str(where / "state"), "COLUMNS": "60", "LINES": "25"}
        | environment,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    inventory = tmp_path / "inventory"
    inventory.mkdir()
    (inventory / "all.yaml").write_text(NODE % ("n1", "fake") + NODE % ("n2", IPMI) + POOL)
    for words in (
        ("init", "--quiet", "--initial-branch=main"),
        ("add", "--all"),
        ("-c", "user.name=A", "-c", "user.email=a@lab.example", "commit", "-qm", "Two machines"),
    ):
        subprocess.run(["git", *words], cwd=inventory, check=True)
    return inventory


def test_a_pipe_gets_every_row_whole_on_one_line(tmp_path: Path, repository: Path) -> None:
    done = mw(tmp_path, "status", "--repo", str(repository))
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert rows["node"].endswith("state")
    assert rows["n1"].endswith("take it over with `mw adopt n1`")
    assert "NOT_ADOPTED" in rows["n2"]


def test_a_narrow_terminal_leaves_out_other_columns_before_the_state(
    tmp_path: Path, repository: Path
) -> None:
    ours, theirs = pty.openpty()
    try:
        done = mw(tmp_path, "status", "--repo", str(repository), stdout=theirs, TERM="dumb")
        assert done.returncode == 0, done.stderr
        text = ""
        while "NOT_ADOPTED: not adopted" not in text:  # a terminal gives what it has, line by line
            text += os.read(ours, 65_536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    heading = next(line for line in text.splitlines() if line.startswith("node "))
    assert heading.split() == ["node", "wanted", "power", "state"]
    assert "NOT_ADOPTED: not adopted" in text


def test_a_node_that_is_left_alone_anyway_tells_that_it_was_not_asked(
    tmp_path: Path, repository: Path
) -> None:
    rows = mw(tmp_path, "status", "--repo", str(repository)).stdout.splitlines()
    assert "(not observed: credentials bmc/none" in rows[-1]
    assert "not observed" not in rows[-2]


def test_a_remote_repository_is_fetched_by_the_first_look(tmp_path: Path, repository: Path) -> None:
    done = mw(tmp_path, "status", "--repo", f"file://{repository}")
    assert done.returncode == 0, done.stderr
    assert "Two machines" in done.stdout
    done = mw(tmp_path, "status", "--repo", f"file://{tmp_path}/absent.git")
    assert done.returncode == 1
    assert "could not be fetched" in done.stderr


@pytest.mark.parametrize("command", ["plan", "status", "apply", "validate", "history"])
def test_a_command_without_a_repository_says_how_to_name_one(tmp_path: Path, command: str) -> None:
    done = mw(tmp_path, command)
    assert done.returncode == 1
    assert "--repo" in done.stderr


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path, repository: Path) -> None:
    state = str(repository / "all.yaml" / "state")
    done = mw(tmp_path, "plan", "--repo", str(repository), METALWRIGHT_STATE_DIR=state)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: state_dir {state} cannot be made")
    assert "Traceback" not in done.stderr
