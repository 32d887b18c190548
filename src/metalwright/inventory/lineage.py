"""Which commit touched a file last, answered for all files of a revision by one call of git.

A plan asks this for every place in git that wants something, and each `git log` of its own is a
process. The newest commits of a branch mostly follow one another without a merge; for those the
answer can be read off one list of commits with the files that each touched. Where there is a merge,
or the list is too short, nothing is answered and git is asked about the file itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from metalwright.model.inventory import Commit

LINE_COMMITS_MAX: Final = 32
"""How many commits back the list goes."""

# A subject or a name of 100 MB is cut by git itself, before it reaches our memory.
_FIELDS: Final = ("%H", "%<(200,trunc)%an", "%<(200,trunc)%ae", "%at", "%<(400,trunc)%s")
COMMIT_FORMAT: Final = "--format=tformat:" + "".join(f"{part}%x00" for part in _FIELDS)
# Each record begins with an empty field, which no path is.
_STEP_FORMAT: Final = "--format=tformat:%x00" + "".join(f"{part}%x00" for part in ("%P", *_FIELDS))
_YEAR_9999_S: Final = 253_370_764_800


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One commit of a line: the ids of its parents, and the files that differ from its only one."""

    commit: Commit
    parents: tuple[str, ...]
    touched: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The newest commits of a revision, newest first, each the only parent of the one before."""

    steps: tuple[Step, ...] = ()

    def has(self, identity: str) -> bool:
        """Whether a commit is one of them, or the parent of the last; else this cannot tell."""
        return any(identity == one.commit.id or identity in one.parents for one in self.steps)

    def latest(self, paths: Sequence[str]) -> Commit | None:
        """The newest commit that touched one of the paths; `None` where this cannot tell."""
        wanted = set(paths)
        return next((one.commit for one in self.steps if not wanted.isdisjoint(one.touched)), None)


def line_arguments(revision: str) -> list[str]:
    """What git is asked for the line that begins at a commit id."""
    shape = ["--topo-order", "--name-only", "--no-renames", "--no-diff-merges", "--no-relative"]
    listed = ["log", f"-{LINE_COMMITS_MAX}", *shape, "-z", _STEP_FORMAT]
    return [*listed, "--end-of-options", revision]


def lineage_of(revision: str, out: str) -> Lineage:
    """The line that begins at a commit id, cut off at the first merge, of what git printed."""
    line: list[Step] = []
    expected = revision
    for step in _steps(out):
        if step.commit.id != expected or len(step.parents) > 1:
            break
        line.append(step)
        if not step.parents:
            break
        expected = step.parents[0]
    return Lineage(steps=tuple(line))


def _steps(out: str) -> Iterator[Step]:
    """What `git log --name-only -z` printed in our format."""
    fields, at = out.split("\0"), 0
    width = len(_FIELDS) + 2
    while at + width < len(fields) and not fields[at]:
        parents, *rest = fields[at + 1 : at + width]
        at += width + 1
        touched: list[str] = []
        while at < len(fields) and fields[at]:
            touched.append(fields[at] if touched else fields[at].removeprefix("\n"))
            at += 1
        yield Step(
            commit=commit_from(*(part.strip() for part in rest)),
            parents=tuple(parents.split()),
            touched=frozenset(touched),
        )


def commit_from(identity: str, name: str, email: str, seconds: str, subject: str) -> Commit:
    """A commit from the fields that git printed of it."""
    # An author writes any time into a commit; what no calendar has is taken for the epoch.
    at = int(seconds) if seconds.lstrip("-").isdigit() else 0
    return Commit(
        id=identity,
        author=f"{name} <{email}>",
        subject=subject,
        at=datetime.fromtimestamp(at if 0 <= at < _YEAR_9999_S else 0, UTC),
    )
