"""The command line is a contract: names, examples in every help, exit codes for wrong calls."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

COMMANDS = (
    "validate",
    "plan",
    "apply",
    "daemon",
    "status",
    "show",
    "explain",
    "history",
    "adopt",
    "retry",
    "schema",
    "demo",
)
PRINTS_DATA = ("validate", "plan", "status", "show", "explain", "history")


def mw(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metalwright", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def help_text() -> str:
    return mw("--help").stdout


def test_every_command_is_listed_and_no_other(help_text: str) -> None:
    listed = re.findall(
        r"^\s{2,4}([a-z]+)\s{2,}\S", help_text.partition("Commands")[2], re.MULTILINE
    )
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command: str) -> None:
    done = mw(command, "--help")
    assert done.returncode == 0
    assert f"Example: mw {command}" in done.stdout
    if command in PRINTS_DATA:
        assert "--format" in done.stdout


@pytest.mark.parametrize(
    "words",
    [
        ("frobnicate",),
        ("plan", "--frobnicate"),
        ("show",),
        ("daemon",),
        ("plan", "--format", "xml"),
        ("plan", "--at", "yesterday"),
        ("history", "--count", "0"),
    ],
)
def test_a_wrong_call_is_never_taken_for_a_plan_with_changes(words: tuple[str, ...]) -> None:
    done = mw(*words)
    assert done.returncode == 64
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_trouble_is_one_line_and_exit_code_1(tmp_path: str) -> None:
    for words in (
        ("daemon", "--config", f"{tmp_path}/absent.toml"),
        ("plan", "--repo", f"{tmp_path}/absent", "--config", "/dev/null"),
        ("validate", f"{tmp_path}/absent"),
    ):
        done = mw(*words)
        assert done.returncode == 1, done
        assert (done.stderr + done.stdout).strip()
        assert "Traceback" not in done.stderr


def test_schemas_are_printed_and_written(tmp_path: str) -> None:
    assert '"$schema"' in mw("schema", "--kind", "Node").stdout
    done = mw("schema", "--out", f"{tmp_path}/schemas")
    assert "schemas written" in done.stdout
    assert mw("schema", "--kind", "Nod").returncode == 64
