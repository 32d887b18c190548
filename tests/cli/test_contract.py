"""The command line is a contract: names, examples in every help, exit codes for wrong calls."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from metalwright import __version__

from ..warm import Warm  # noqa: TID252 - one for every room

TIMEOUT_S = 60

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
    "queue",
    "hold",
    "resume",
    "cancel",
    "forget",
    "schema",
    "demo",
    "dnsmasq",
    "ramdisk",
    "lab",
)
PRINTS_DATA = ("validate", "plan", "status", "show", "explain", "history", "queue")


def mw(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metalwright", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.fixture(scope="module")
def help_text() -> str:
    return mw("--help").stdout


@pytest.mark.parametrize("name", ["mw", "metalwright"])
def test_both_names_of_the_command_tell_the_version(name: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name(name), "--version"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"metalwright {__version__}\n", "")


def test_every_command_is_listed_and_no_other(help_text: str) -> None:
    listed = re.findall(
        r"^\s{2,4}([a-z]+)\s{2,}\S", help_text.partition("Commands")[2], re.MULTILINE
    )
    assert sorted(listed) == sorted(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command: str, warm: Warm, tmp_path: Path) -> None:
    code, told = warm.run([command, "--help"], tmp_path, os.environ, TIMEOUT_S)
    assert code == 0
    assert f"Example: mw {command}" in told
    usage = told.partition("\n\n")[0]
    assert "...}" not in usage, "what may be repeated is told once"
    assert "[[" not in usage, "and so is what may be left out"
    if command in PRINTS_DATA:
        assert "--format" in told


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
def test_a_wrong_call_is_never_taken_for_a_plan_with_changes(
    words: tuple[str, ...], warm: Warm
) -> None:
    code, told = warm.run(words, Path.cwd(), os.environ, TIMEOUT_S)
    assert code == 64
    assert told
    assert "Traceback" not in told


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


def test_without_git_what_needs_none_works_and_the_rest_says_what_is_missing(
    tmp_path: Path,
) -> None:
    assert mw("--version", PATH=str(tmp_path)).stdout.startswith("metalwright")
    done = mw("plan", "--repo", str(tmp_path), PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.strip() == "error: the program git is not installed, or not on PATH"


def test_a_command_by_itself_is_its_help() -> None:
    done = mw()
    assert done.returncode == 64
    assert done.stderr.startswith("Usage: ")


def test_examples_stand_one_below_the_other(help_text: str) -> None:
    assert "\n           mw plan --at 2026" in mw("plan", "--help").stdout
    assert "..." not in help_text.partition("Commands")[2]


def test_a_file_that_cannot_be_written_is_named(tmp_path: str) -> None:
    Path(f"{tmp_path}/file").touch()
    for words in (
        ("schema", "--out", f"{tmp_path}/file/schemas"),
        ("schema", "--out", f"{tmp_path}/file"),
    ):
        done = mw(*words)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {tmp_path}/file")


def test_schemas_are_printed_and_written(tmp_path: str) -> None:
    assert '"$schema"' in mw("schema", "--kind", "Node").stdout
    done = mw("schema", "--out", f"{tmp_path}/schemas")
    assert "schemas written" in done.stdout
    assert mw("schema", "--kind", "Nod").returncode == 64
