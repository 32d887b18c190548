"""Writing to an inventory repository, which is making commits: the only way that anything is asked
for.

Used by the demonstration and by tests as a person's `git` would be. The daemon itself only reads.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from metalwright.errors import RepositoryError
from metalwright.inventory.git_commands import gitpython

if TYPE_CHECKING:
    from git import Repo

AUTHOR: Final = "Ada Operator"
EMAIL: Final = "ada@lab.example"


def create_repository(target: Path, content: Path, subject: str) -> str:
    """Make a git repository of a directory's files, with one commit on `main`; returns its id.

    Raises:
        RepositoryError: `target` exists already, git refused, or there is no git.
    """
    if target.exists():
        raise RepositoryError(f"{target} exists already")
    gitpython()
    from git import Repo

    shutil.copytree(content, target)
    with Repo.init(target, initial_branch="main"):
        pass
    return commit_all(target, subject)


def commit_all(target: Path, subject: str) -> str:
    """Commit every change of the work tree; returns the commit's id. Raises RepositoryError."""
    with _open(target, "commit") as repository:
        from git import Actor

        who = Actor(AUTHOR, EMAIL)
        repository.git.add("--all")
        commit = repository.index.commit(subject, author=who, committer=who, skip_hooks=True)
        return str(commit.hexsha)


def revert_head(target: Path) -> str:
    """`git revert` the newest commit; returns the new commit's id. Raises RepositoryError."""
    roles = ("AUTHOR", "COMMITTER")
    with _open(target, "revert") as repository:
        repository.git.update_environment(
            **{f"GIT_{role}_NAME": AUTHOR for role in roles},
            **{f"GIT_{role}_EMAIL": EMAIL for role in roles},
        )
        repository.git.revert("HEAD", no_edit=True)
        return str(repository.head.commit.hexsha)


@contextmanager
def _open(target: Path, what: str) -> Iterator[Repo]:
    gitpython()
    from git import GitCommandError, Repo

    try:
        with Repo(target) as repository:
            yield repository
    except GitCommandError as error:
        raise RepositoryError(f"{target}: git refused the {what}: {error.stderr}") from error
