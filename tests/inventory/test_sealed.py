"""Encrypted files come from git's objects of one revision, within limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from metalwright.errors import RepositoryError
from metalwright.inventory import Repository, sealed_files
from metalwright.inventory.sealed import SEALED_BYTES_MAX, SEALED_FILES_MAX

from .git_repository import GitRepository


@pytest.fixture
def origin(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "inventory.git")


def test_the_files_of_the_revision_are_read_and_of_no_other(origin: GitRepository) -> None:
    first = origin.commit({"secrets/bmc.age": b"\0one", "secrets/README": "x", "a.age": "no"})
    second = origin.commit({"secrets/bmc.age": b"\0two", "secrets/deep/x.age": "no"})
    third = origin.commit({"secrets/bmc.age": None})
    with Repository(str(origin.path), "main", mirror=None) as repository:
        assert sealed_files(repository, first, "secrets") == {"secrets/bmc.age": b"\0one"}
        assert sealed_files(repository, second, "secrets") == {"secrets/bmc.age": b"\0two"}
        assert sealed_files(repository, second, "secrets/bmc.age") == {"secrets/bmc.age": b"\0two"}
        assert sealed_files(repository, third, "secrets") == {}
        assert sealed_files(repository, third, "nowhere") == {}
        assert sealed_files(repository, second, "secrets/*.age") == {}


def test_a_link_is_not_followed(origin: GitRepository) -> None:
    head = origin.commit({"secrets/x.age": ("120000", "/etc/passwd")})
    with Repository(str(origin.path), "main", mirror=None) as repository:
        assert sealed_files(repository, head, "secrets") == {}


def test_more_than_anybodys_secrets_is_refused(origin: GitRepository) -> None:
    large = origin.commit({"secrets/x.age": b"x" * (SEALED_BYTES_MAX + 1)})
    many = origin.commit({f"secrets/{n}.age": "x" for n in range(SEALED_FILES_MAX + 1)}, fresh=True)
    with Repository(str(origin.path), "main", mirror=None) as repository:
        for head in (large, many):
            with pytest.raises(RepositoryError, match="at most"):
                sealed_files(repository, head, "secrets")
