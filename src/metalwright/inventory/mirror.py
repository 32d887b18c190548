"""The bare mirror of a remote inventory: fetching into it so that nothing good is ever lost.

A fetch goes to a reference of its own; only when every object has arrived and was checked does one
transaction move the branch. So a fetch that breaks off leaves the last good state. When the remote
history was rewritten, the old head is anchored below `refs/metalwright/seen/` in the same
transaction: its objects stay, and `is_ancestor` can tell the rewrite apart from a damaged mirror.

It never checks anything out, and writes to the mirror only.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from metalwright.errors import RepositoryError
from metalwright.inventory.bulk import written
from metalwright.inventory.git_commands import GitCommands
from metalwright.inventory.location import SCHEMES, Location

LOCK_POLL_S: Final = 0.05
FILTERS_MAX: Final = 2_000
_LOCK_NAME: Final = "metalwright.lock"
_CONFIG: Final = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"


def create_mirror(mirror: Path, branch: str) -> None:
    """Makes an empty bare repository at `mirror` unless something is there.

    Raises:
        RepositoryError: it cannot be made.
    """
    try:
        if mirror.exists() and any(mirror.iterdir() if mirror.is_dir() else [mirror]):
            return
        mirror.parent.mkdir(parents=True, exist_ok=True)
        # Made elsewhere and renamed, so that a crash leaves no half of a repository behind.
        fresh = Path(tempfile.mkdtemp(prefix=".mirror-", dir=mirror.parent))
        try:
            # Not `git init`, which a hook's GIT_WORK_TREE makes fail and a template fills with
            # hooks; these are the files that gitrepository-layout(5) asks for.
            (fresh / "objects").mkdir()
            (fresh / "refs").mkdir()
            (fresh / "config").write_text(_CONFIG)
            (fresh / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
            fresh.rename(mirror)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        if is_made(mirror):
            return  # another process was faster
        raise RepositoryError(f"the mirror {mirror} cannot be made: {error}") from error


def is_made(mirror: Path) -> bool:
    """Whether there is a repository. Raises RepositoryError where one may not look."""
    try:
        return (mirror / "HEAD").exists()
    except OSError as error:
        raise RepositoryError(f"the mirror {mirror} cannot be read: {error}") from error


def fetch_into(mirror: Path, location: Location, branch: str, timeout_s: float) -> None:
    """Brings the mirror's branch to where the remote's is.

    Raises:
        RepositoryError: unreachable, refused, no such branch, or not within `timeout_s`.
    """
    git = GitCommands(mirror, mirror, SCHEMES)
    deadline = time.monotonic() + timeout_s
    with _locked(mirror / _LOCK_NAME, deadline):
        incoming = f"refs/metalwright/incoming/{branch}"
        status, _out, errors = git.run(
            [
                "fetch",
                "--quiet",
                "--force",
                "--no-tags",
                "--no-recurse-submodules",
                "--no-write-fetch-head",
                "--no-auto-maintenance",
                "--end-of-options",
                location.url or "",
                f"+refs/heads/{branch}:{incoming}",
            ],
            timeout_s=max(deadline - time.monotonic(), 0.1),
        )
        if status != 0:
            raise RepositoryError(_fetch_error(location, branch, errors, status))
        new = git.output(["rev-parse", "--verify", f"{incoming}^{{commit}}"]).strip()
        _move(git, branch, new)


def _fetch_error(location: Location, branch: str, errors: str, status: int) -> str:
    if "couldn't find remote ref" in errors:
        return f"{location.shown} has no branch {branch!r} (it is empty, or the branch was deleted)"
    return f"{location.shown} could not be fetched: {errors or f'git exit status {status}'}"


def _move(git: GitCommands, branch: str, new: str) -> None:
    """Sets the branch to a commit that has arrived, keeping the old one if it would be lost."""
    head = f"refs/heads/{branch}"
    _status, old, _errors = git.run(["rev-parse", "--verify", "--quiet", f"{head}^{{commit}}"])
    old = old.strip()
    if old == new:
        return
    lines = [f"update {head} {new} {old or '0' * len(new)}"]
    if old:
        status, _out, errors = git.run(["merge-base", "--is-ancestor", old, new])
        if status == 1:
            lines.append(f"update refs/metalwright/seen/{old} {old}")
        elif status != 0:
            raise RepositoryError(f"the mirror could not be read: {errors}")
    with written(line.encode() for line in lines) as stdin:
        git.output(["update-ref", "--stdin"], stdin=stdin)
    # Only a help for `git log -- path` (80 ms become 5); a failure changes no answer.
    git.run(
        [
            "commit-graph",
            "write",
            "--reachable",
            "--changed-paths",
            f"--max-new-filters={FILTERS_MAX}",
            "--no-progress",
        ]
    )


@contextmanager
def _locked(path: Path, deadline: float) -> Iterator[None]:
    """One fetch at a time into one mirror, among all processes of this machine."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise RepositoryError(f"the mirror cannot be locked: {error}") from error
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RepositoryError(
                        f"another process has been fetching into {path.parent} all the time"
                    ) from None
                time.sleep(LOCK_POLL_S)
            except OSError as error:
                raise RepositoryError(f"the mirror cannot be locked: {error}") from error
        yield
    finally:
        os.close(descriptor)
