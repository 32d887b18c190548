"""Puts every bug of `mutants.py` into a copy of the code and sees that the tests catch it.

    python tests/mutation/run.py [--only WORDS] [--jobs 2] [--write]

It fails when a bug survives or no longer fits the code, and when a test fails without any bug.
`--write` puts the table, with the test that failed first, into docs/verification.md. The work tree
is not touched otherwise.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from mutants import MUTANTS, SEEDS, Mutant

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "metalwright"
DOCUMENT = ROOT / "docs" / "verification.md"
BEGIN, END = "<!-- mutants:begin -->", "<!-- mutants:end -->"
SIMULATION = "tests/simulation/test_simulation.py::test_nothing_is_broken_whatever_happens[{seed}]"
TIMEOUT_S = 600.0
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Found:
    """What became of one bug: the first test that failed, or none."""

    mutant: Mutant
    caught_by: str
    took_s: float
    said: str


def applied(mutant: Mutant, text: str) -> str:
    """The file with the bug. Raises ValueError where the text to be changed is not there once."""
    if text.count(mutant.before) != 1:
        times = text.count(mutant.before)
        raise ValueError(f"{mutant.bug}: its text is {times} times in {mutant.file}, not once")
    return text.replace(mutant.before, mutant.after)


def try_one(mutant: Mutant, place: Path) -> Found:
    """Run the tests of one bug against a copy of the code that has it."""
    copy = Path(tempfile.mkdtemp(prefix="mutant-", dir=place))
    try:
        shutil.copytree(SOURCE, copy / "metalwright", ignore=shutil.ignore_patterns("__pycache__"))
        file = copy / "metalwright" / mutant.file
        file.write_text(applied(mutant, file.read_text(encoding="utf-8")), encoding="utf-8")
        found = _run(mutant, mutant.caught_by.split(), copy)
        seed = SEEDS.get(mutant.bug)
        if seed is None or not found.caught_by:
            return found
        # The simulation has to find it too, without being told where to look.
        simulated = _run(mutant, [SIMULATION.format(seed=seed)], copy)
        return found if simulated.caught_by else simulated
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def without_a_bug(place: Path, chosen: list[Mutant]) -> str:
    """What the same tests say of the code as it is; empty when they all pass."""
    tests = " ".join(dict.fromkeys(" ".join(each.caught_by for each in chosen).split()))
    file = chosen[0].file
    text = (SOURCE / file).read_text(encoding="utf-8")
    found = try_one(Mutant(bug="none", file=file, before=text, after=text, caught_by=tests), place)
    return found.said if found.caught_by or " passed" not in found.said else ""


def _run(mutant: Mutant, tests: list[str], copy: Path) -> Found:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-m",
        "not live",
        "-p",
        "no:cacheprovider",
    ]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    environment |= {"CI": "true", "TESTS_SHRINK": "no"}
    began = time.monotonic()
    try:
        done = subprocess.run(
            [*command, "--tb=line", *tests],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        return Found(mutant, "", time.monotonic() - began, "the tests did not end in time")
    took_s = time.monotonic() - began
    failed = _FAILED.search(done.stdout)
    # Code 1 is a test that failed; anything else but 0 says that no test was run.
    caught = failed.group(1) if done.returncode == 1 and failed is not None else ""
    return Found(mutant, caught, took_s, done.stdout[-2_000:])


def table(caught: dict[str, str]) -> str:
    """The table of the manual. `caught` has the first test that failed, by the bug."""
    lines = ["| bug | file | caught by | seed |", "|---|---|---|---|"]
    for mutant in MUTANTS:
        test, seed = _shown(caught[mutant.bug]), SEEDS.get(mutant.bug, "")
        lines.append(f"| {mutant.bug} | `{mutant.file}` | {test} | {seed} |")
    return "\n".join(lines)


def _shown(test: str) -> str:
    """A test without its parameters, which may hold anything."""
    path, _, name = test.partition("::")
    return f"`{Path(path).name}` {name.partition('[')[0].replace('_', ' ')}".strip()


def write(found: list[Found]) -> None:
    """Put the table between the marks of the manual."""
    text = DOCUMENT.read_text(encoding="utf-8")
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    rows = table({each.mutant.bug: each.caught_by for each in found})
    DOCUMENT.write_text(f"{text[:start]}\n{rows}\n{text[end:]}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="bugs whose words or file contain this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write docs/verification.md")
    arguments = parser.parse_args()
    chosen = [each for each in MUTANTS if arguments.only in f"{each.bug} {each.file}"]
    if arguments.write and len(chosen) != len(MUTANTS):
        parser.error("--write needs all of them")
    for each in chosen:
        applied(each, (SOURCE / each.file).read_text(encoding="utf-8"))
    found = []
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as place,
        ThreadPoolExecutor(arguments.jobs) as pool,
    ):
        trouble = without_a_bug(Path(place), chosen)
        if trouble:
            print(f"the tests fail without any bug:\n{trouble}")
            return 2
        for each in pool.map(lambda mutant: try_one(mutant, Path(place)), chosen):
            found.append(each)
            verdict = _shown(each.caught_by) if each.caught_by else "SURVIVED"
            print(f"{each.took_s:5.1f} s  {each.mutant.bug}: {verdict}", flush=True)
            if not each.caught_by:
                print(each.said, flush=True)
    survived = [each for each in found if not each.caught_by]
    print(f"{len(found)} bugs, {len(found) - len(survived)} caught, {len(survived)} survived")
    if arguments.write and not survived:
        write(found)
    return 1 if survived else 0


if __name__ == "__main__":
    raise SystemExit(main())
