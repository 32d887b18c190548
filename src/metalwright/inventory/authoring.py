"""Writing to an inventory repository, which is making commits: the only way that anything is asked
for.

Used by the demonstration and by tests as a person's `git` would be. The daemon itself only reads.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from git import Actor, GitCommandError, Repo

from metalwright.errors import RepositoryError

DEMO_AUTHOR = Actor("Ada Operator", "ada@lab.example")


def create_repository(
    target: Path, content: Path, subject: str, author: Actor = DEMO_AUTHOR
) -> str:
    """Make a git repository of a directory's files, with one commit on `main`; returns its id.

    Raises:
        RepositoryError: `target` exists already, or git refused.
    """
    if target.exists():
        raise RepositoryError(f"{target} exists already")
    shutil.copytree(content, target)
    with Repo.init(target, initial_branch="main"):
        pass
    return commit_all(target, subject, author)


def commit_all(target: Path, subject: str, author: Actor = DEMO_AUTHOR) -> str:
    """Commit every change of the work tree; returns the commit's id. Raises RepositoryError."""
    try:
        with Repo(target) as repository:
            repository.git.add("--all")
            commit = repository.index.commit(
                subject, author=author, committer=author, skip_hooks=True
            )
            return str(commit.hexsha)
    except GitCommandError as error:
        raise RepositoryError(f"{target}: git refused the commit: {error.stderr}") from error


def revert_head(target: Path, author: Actor = DEMO_AUTHOR) -> str:
    """`git revert` the newest commit; returns the new commit's id. Raises RepositoryError."""
    identity = {
        "GIT_AUTHOR_NAME": str(author.name),
        "GIT_AUTHOR_EMAIL": str(author.email),
        "GIT_COMMITTER_NAME": str(author.name),
        "GIT_COMMITTER_EMAIL": str(author.email),
    }
    try:
        with Repo(target) as repository:
            repository.git.update_environment(**identity)
            repository.git.revert("HEAD", no_edit=True)
            return str(repository.head.commit.hexsha)
    except GitCommandError as error:
        raise RepositoryError(f"{target}: git refused the revert: {error.stderr}") from error
