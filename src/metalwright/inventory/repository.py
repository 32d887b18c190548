"""The git repository of the inventory, read safely: heads, commits, ancestry, history, content.

A directory of this machine is read straight from its objects, so what is not committed is not seen
and nothing is ever written there. A URL is fetched into a bare mirror first. No checkout, no hook,
no submodule; a revision that a person gives is resolved to a commit id before anything else.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from metalwright.errors import RepositoryError
from metalwright.inventory import bulk
from metalwright.inventory.git_commands import GitCommands, open_repository
from metalwright.inventory.lineage import (
    COMMIT_FORMAT,
    Lineage,
    commit_from,
    line_arguments,
    lineage_of,
)
from metalwright.inventory.location import checked_branch, parse_location
from metalwright.inventory.mirror import create_mirror, fetch_into, is_made
from metalwright.model.inventory import Commit

REVISION_LENGTH_MAX: Final = 256
COMMITS_MAX: Final = 10_000
ANSWERS_MAX: Final = 10_000
"""Answers of git about commits that are kept, so that a daemon of years does not grow."""
BRANCHES_SHOWN_MAX: Final = 10
_COMMIT_ID = re.compile(r"^[0-9a-f]{40}([0-9a-f]{24})?$")


class Repository:
    """One branch of one repository. Use it from one thread, and close it.

    Raises:
        RepositoryError: from every method, and nothing else: not a repository, no such branch or
            commit, unreachable, too slow, damaged.
    """

    def __init__(
        self, location: str, branch: str, *, mirror: Path | None, fetch_timeout_s: float = 60.0
    ) -> None:
        self._location = parse_location(location)
        self._branch = checked_branch(branch)
        self._fetch_timeout_s = fetch_timeout_s
        self._mirror = mirror
        self._git: GitCommands | None = None
        # A commit and its history never change: what git has said of ids is not asked again.
        self._known: set[str] = set()
        self._ancestors: dict[tuple[str, str], bool] = {}
        self._lineage: tuple[str, Lineage] | None = None
        if self._location.directory is not None:
            git_dir, common_dir = open_repository(self._location.directory)
            self._git = GitCommands(git_dir, common_dir, ())
        elif mirror is None:
            raise RepositoryError(
                f"{self._location.shown} has to be fetched, and no directory for its mirror is set"
            )
        elif is_made(mirror):
            self._git = GitCommands(*open_repository(mirror), ())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the use. No process and no file is held between calls, so this cannot fail."""
        self._git = None

    @property
    def is_remote(self) -> bool:
        """Whether it is fetched from a URL."""
        return self._location.url is not None

    @property
    def name(self) -> str:
        """The location for people, without credentials."""
        return self._location.shown

    def fetch(self) -> None:
        """Brings the mirror up to date; nothing for a local directory, which is always so.

        Raises:
            RepositoryError: unreachable, refused, no such branch, or not in time. What was fetched
                before stays in force.
        """
        if self._location.url is None or self._mirror is None:
            return
        create_mirror(self._mirror, self._branch)
        git_dir, common_dir = open_repository(self._mirror)
        fetch_into(self._mirror, self._location, self._branch, self._fetch_timeout_s)
        self._git = GitCommands(git_dir, common_dir, ())

    def head(self) -> str:
        """The full id of the branch's newest commit.

        Raises:
            RepositoryError: no such branch, or it has no commit yet.
        """
        reference = f"refs/heads/{self._branch}"
        status, out, errors = self._commands.run(
            ["rev-parse", "--verify", "--quiet", "--end-of-options", f"{reference}^{{commit}}"]
        )
        if status == 0:
            return out.strip()
        raise RepositoryError(self._no_head(errors))

    def _no_head(self, errors: str) -> str:
        status, out, _errors = self._commands.run(
            [
                "for-each-ref",
                f"--count={BRANCHES_SHOWN_MAX}",
                "--format=%(refname:lstrip=2)",
                "refs/heads",
            ]
        )
        names = out.split()
        if status != 0 or self._branch in names:
            why = errors or "its newest commit is damaged"
            return f"the branch {self._branch!r} of {self.name} cannot be read: {why}"
        if not names:
            return f"{self.name} has no commit on any branch yet"
        return f"{self.name} has no branch {self._branch!r}; it has {', '.join(names)}"

    def commit(self, rev: str) -> Commit:
        """The commit that a person's revision names: an id or its beginning, a branch, a tag,
        `HEAD~2`.

        Raises:
            RepositoryError: it names none, or more than one.
        """
        return self._log(["-1"], [self.resolve(rev)], ())[0]

    def resolve(self, rev: str) -> str:
        """The full commit id of a revision; see `commit`."""
        if not rev or len(rev) > REVISION_LENGTH_MAX or not rev.isprintable() or rev[0] in "-^:":
            raise RepositoryError(f"{rev[:REVISION_LENGTH_MAX]!r} is not a revision")
        if rev in self._known:
            return rev
        status, out, errors = self._commands.run(
            ["rev-parse", "--verify", "--end-of-options", f"{rev}^{{commit}}"]
        )
        found = out.strip()
        if status == 0 and _COMMIT_ID.match(found):
            if len(self._known) >= ANSWERS_MAX:
                self._known.clear()
            self._known.add(found)
            return found
        if "ambiguous" in errors:
            raise RepositoryError(f"{rev!r} is the beginning of more than one commit id; give more")
        raise RepositoryError(f"{rev!r} is not a commit of {self.name}")

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether the commit `new` contains `old` in its history (a commit is its own ancestor).

        A commit `old` that the repository no longer has is not an ancestor: the history was
        rewritten, or cut off by a shallow clone.

        Raises:
            RepositoryError: `new` is not there, or one of the two is no full commit id.
        """
        for identity in (old, new):
            if not _COMMIT_ID.match(identity):
                raise RepositoryError(f"{identity[:REVISION_LENGTH_MAX]!r} is not a full commit id")
        if (old, new) in self._ancestors:
            return self._ancestors[old, new]
        if self._line(self.resolve(new)).has(old):
            return True
        status, _out, _errors = self._commands.run(["cat-file", "-e", f"{old}^{{commit}}"])
        if status != 0:
            return False
        status, _out, errors = self._commands.run(["merge-base", "--is-ancestor", old, new])
        if status not in (0, 1):
            raise RepositoryError(f"the history of {self.name} cannot be read: {errors}")
        if len(self._ancestors) >= ANSWERS_MAX:
            self._ancestors.clear()
        self._ancestors[old, new] = status == 0
        return status == 0

    def outside(self, revision: str, ids: Collection[str]) -> frozenset[str]:
        """Those of these full commit ids that the history of a revision does not contain. One that
        the repository does not have is left out: nothing can be said of it.

        Raises:
            RepositoryError: the revision is not there, or the history cannot be read.
        """
        wanted = [one for one in ids if _COMMIT_ID.match(one)]
        if not wanted:
            return frozenset()
        lines = [f"^{self.resolve(revision)}", *wanted]
        with bulk.written(line.encode() for line in lines) as stdin:
            out = self._commands.output(["rev-list", "--ignore-missing", "--stdin"], stdin=stdin)
        return frozenset(wanted).intersection(out.split())

    def latest_commit(
        self, revision: str, paths: Sequence[str], since: str | None = None
    ) -> Commit | None:
        """The newest commit in `since..revision` that touched one of the paths; any, for no path.

        Where there is none after `since`, the newest one before it. None when the whole history
        of `revision` has none.

        Raises:
            RepositoryError: a revision is unknown.
        """
        new = self.resolve(revision)
        # Along a line without merges the newest one is the newest after `since` as well.
        told = self._line(new).latest(paths)
        if told is not None:
            return told
        if since is not None:
            found = self._log(["-1"], [new, f"^{self.resolve(since)}"], paths)
            if found:
                return found[0]
        found = self._log(["-1"], [new], paths)
        return found[0] if found else None

    def commits(
        self, revision: str, count_max: int, *, first_parents: bool = False
    ) -> tuple[Commit, ...]:
        """The newest `count_max` commits (10,000 at most) of a revision's history, newest first;
        or it, its first parent, that one's first parent, and so on.

        Raises:
            RepositoryError: the revision is unknown.
        """
        count = min(max(count_max, 0), COMMITS_MAX)
        options = [f"-{count}", *(["--first-parent"] if first_parents else ())]
        return self._log(options, [self.resolve(revision)], ()) if count else ()

    def files(self, commit: str, *paths: str) -> list[bulk.Entry]:
        """Every file of a commit given by its full id; with paths, those at or below them.

        Raises:
            RepositoryError: it cannot be read.
            bulk.TooManyEntriesError: it has more than can be read.
        """
        return bulk.list_tree(self._commands, commit, *paths)

    def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        """The size in bytes of each blob."""
        return bulk.sizes(self._commands, ids)

    def blobs(self, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """(id, content) of each blob; check the sizes first."""
        return bulk.blobs(self._commands, ids)

    @property
    def _commands(self) -> GitCommands:
        if self._git is None:
            raise RepositoryError(f"{self.name} has not been fetched yet")
        return self._git

    def _line(self, revision: str) -> Lineage:
        """The newest commits of a revision and what they touched; kept for one revision."""
        if self._lineage is None or self._lineage[0] != revision:
            out = self._commands.output(line_arguments(revision))
            self._lineage = (revision, lineage_of(revision, out))
        return self._lineage[1]

    def _log(
        self, options: Sequence[str], revisions: Sequence[str], paths: Sequence[str]
    ) -> tuple[Commit, ...]:
        """Commits of `git log`; the revisions are full ids, the paths are taken literally."""
        if any("\n" in path or "\0" in path for path in paths):
            raise RepositoryError("a path with a line break cannot be asked for")
        lines = [*revisions, *(("--", *paths) if paths else ())]
        with bulk.written(line.encode("utf-8", "surrogateescape") for line in lines) as stdin:
            out = self._commands.output(["log", *options, COMMIT_FORMAT, "--stdin"], stdin=stdin)
        fields = out.split("\0")
        return tuple(
            commit_from(*(part.strip() for part in fields[at : at + 5]))
            for at in range(0, len(fields) - 5, 5)
        )
