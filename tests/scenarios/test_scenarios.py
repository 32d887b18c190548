"""Golden scenarios: what a user types and what the real commands answer, on the simulated fleet.

Each `*.txt` here is a session. A line `$ command` is run, and what follows is what it printed, with
its exit code in brackets when that is not 0. `mw` is the command, `git` is git in the
inventory, and `put PATH` writes the lines below it that begin with `| ` to a file of the inventory.
`speed N` sets how much faster than life the simulated machines are, `faults SPEC...` what is wrong
with them, and `daemon until TEXT` lets a daemon run until `mw status` shows the text, then ends it.
Instants and ages are replaced by words, since they are never the same twice, and commit ids by
`<commit 1>`, `<commit 2>` and so on, so that an edit of the example is no difference here. So are
digests of changes by `<digest>`; in a file that is `put` that word is the one that was last shown
to be acknowledged.

METALWRIGHT_REWRITE_GOLDEN=1 writes what was answered into the files. Read the difference.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ..warm import Warm  # noqa: TID252 - one for every room

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "inventory-example"
TIMEOUT_S = 120.0
SETTINGS = """\
repository = "inventory"
state_dir = "state"

[drivers.fake]
seed = 7
speed = {speed}
faults = [{faults}]

[observe]
interval_s = 0.5
busy_interval_s = 0.1
backoff_min_s = 0.2
backoff_max_s = 1
"""
REPLACED = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), "<instant>"),
    (re.compile(r"\b(\d+[dhms])+ ago\b"), "<age> ago"),
    (re.compile(r"(?<=, changes )[0-9a-f]{12}\b"), "<digest>"),
    (re.compile(r"(acknowledge:\s+\[)[0-9a-f]{12}\b"), r"\1<digest>"),
)
ACKNOWLEDGE = re.compile(r"acknowledge:\s+\[([0-9a-f]{12})\]")


@dataclass
class Session:
    """One scenario under way: its directory, and the environment of its commands."""

    home: Path
    warm: Warm
    environment: dict[str, str] = field(init=False)
    commits: list[str] = field(default_factory=list)
    speed: str = "2000"
    faults: str = ""
    digest: str = "<digest>"
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.settings()
        (self.home / "inventory").mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("METALWRIGHT_", "GIT_"))}
        self.environment = kept | {
            "GIT_AUTHOR_NAME": "Ada Operator",
            "GIT_AUTHOR_EMAIL": "ada@lab.example",
            "GIT_COMMITTER_NAME": "Ada Operator",
            "GIT_COMMITTER_EMAIL": "ada@lab.example",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "LOGNAME": "ada",
            "COLUMNS": "110",
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
        }

    def settings(self) -> None:
        """Write the settings file."""
        text = SETTINGS.format(speed=self.speed, faults=self.faults)
        (self.home / "metalwright.toml").write_text(text, encoding="utf-8")

    def run(self, line: str, content: list[str]) -> list[str]:
        """Run one command line; the lines it answered."""
        words = shlex.split(line)
        if words[0] == "put":
            target = self.home / "inventory" / words[1]
            target.parent.mkdir(parents=True, exist_ok=True)
            text = "".join(f"{each}\n" for each in content).replace("<digest>", self.digest)
            target.write_text(text, encoding="utf-8")
            return []
        if words[0] == "example":
            subprocess.run(["cp", "-r", f"{EXAMPLE}/.", self.home / "inventory"], check=True)
            return []
        if words[0] == "speed":
            self.speed = words[1]
            self.settings()
            return []
        if words[0] == "faults":
            named = (word.partition("=") for word in words[1:])
            self.faults = ", ".join(f'{{node = "{n}", fault = "{f}"}}' for n, _, f in named)
            self.settings()
            return []
        if words[:2] == ["daemon", "until"]:
            self._daemon_until(words[2])
            return []
        return self._command(words)

    def _daemon_until(self, text: str) -> None:
        with Path(os.devnull).open("wb") as nowhere:
            daemon = self.warm.start(
                ["daemon", "--config", "metalwright.toml"], self.home, self.environment, nowhere
            )
        last, until = "", time.monotonic() + TIMEOUT_S
        try:
            while text not in last:
                assert time.monotonic() < until, f"mw status never showed {text!r}:\n{last}"
                assert daemon.poll() is None, "the daemon has ended"
                last = "\n".join(self._command(["mw", "status"]))
        finally:
            daemon.terminate()
            daemon.wait(TIMEOUT_S)
            self.interrupted = True

    def _command(self, words: list[str]) -> list[str]:
        if words[0] == "mw":
            code, text = self.warm.run(words[1:], self.home, self.environment, TIMEOUT_S)
        elif words[0] == "git":
            code, text = self._git(words)
        else:
            raise AssertionError(f"a scenario does not know {words[0]}")
        text = text.replace(str(self.home), "~")
        for shown in ACKNOWLEDGE.finditer(text):
            self.digest = shown[1]
        for number, commit in enumerate(self.commits, start=1):
            text = re.sub(rf"\b{commit[:7]}[0-9a-f]*\b", f"<commit {number}>", text)
        for pattern, word in REPLACED:
            text = pattern.sub(word, text)
        if "apply" in words:
            self.interrupted = False
        if self.interrupted:  # in which cycle the daemon was stopped is never the same
            text = re.sub(r"(?<=the last one said: ).*(?= \(<instant>\))", "<sentence>", text)
        if "queue" in words:  # the widths of its columns follow the times
            text = re.sub(r"(?<=\S) {2,}", "  ", re.sub(r"\b(\d+[dhms])+\b", "<time>", text))
        answer = [line.rstrip() for line in text.splitlines()]
        return [*answer, f"[exit {code}]"] if code else answer

    def _git(self, words: list[str]) -> tuple[int, str]:
        where, date = self.home / "inventory", f"2026-11-20T08:{len(self.commits):02}:00Z"
        done = subprocess.run(
            words,
            cwd=where,
            env=self.environment | {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        if words[1] in ("commit", "revert"):
            head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=where, text=True)
            self.commits.append(head.strip())
        return done.returncode, done.stdout


def replay(script: str, home: Path, warm: Warm) -> str:
    """Run every command of a session again; the session with the answers of this time."""
    session, told = Session(home, warm), []
    lines = script.splitlines()
    at = 0
    while at < len(lines):
        line = lines[at]
        at += 1
        if line.startswith("#") or (not line and (not told or told[-1].startswith("#"))):
            told.append(line)
            continue
        if not line.startswith("$ "):
            continue  # an answer of last time
        content = []
        while at < len(lines) and lines[at].startswith("|"):
            content.append(lines[at].removeprefix("|").removeprefix(" "))
            at += 1
        if told and told[-1] and not told[-1].startswith("#"):
            told.append("")
        told.append(line)
        told += [f"| {each}".rstrip() for each in content]
        quiet = " > /dev/null" in line
        answer = session.run(line[2:].replace(" > /dev/null", ""), content)
        told += [each for each in answer if each.startswith("[exit ")] if quiet else answer
    return "\n".join(told) + "\n"


@pytest.mark.parametrize("path", sorted(HERE.glob("*.txt")), ids=lambda path: path.stem)
def test_scenario(path: Path, tmp_path: Path, warm: Warm) -> None:
    expected = path.read_text(encoding="utf-8")
    answered = replay(expected, tmp_path, warm)
    if os.environ.get("METALWRIGHT_REWRITE_GOLDEN"):
        path.write_text(answered, encoding="utf-8")
    else:
        assert answered == expected


def test_there_are_scenarios() -> None:
    assert len(list(HERE.glob("*.txt"))) >= 8
