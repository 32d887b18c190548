"""Encrypted files that lie in the repository beside the inventory, as bytes of one revision.

They are read from git's objects like everything else, never from a work tree. What is in them is
nothing to this room: they are handed on as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from metalwright.errors import RepositoryError
from metalwright.inventory.bulk import Entry
from metalwright.inventory.files import MODE_SUBMODULE, MODE_SYMLINK

SUFFIX: Final = ".age"
SEALED_FILES_MAX: Final = 256
SEALED_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of all files together."""


class Trees(Protocol):
    """The part of a repository that is needed: one path's files, and contents by id."""

    def files(self, commit: str, *paths: str) -> list[Entry]:
        """Every file at or below the paths."""

    def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        """The size of each in bytes."""

    def blobs(self, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """(id, content) of each."""


def sealed_files(repository: Trees, commit: str, path: str) -> dict[str, bytes]:
    """The files `PATH/*.age` of a commit, or the one file at `path`, by path.

    Raises:
        RepositoryError: they cannot be read, or are more than anybody's secrets.
    """
    found: dict[str, str] = {}
    for entry in repository.files(commit, path):
        name = entry.path.decode("utf-8", "backslashreplace")
        if entry.mode in (MODE_SYMLINK, MODE_SUBMODULE) or not name.endswith(SUFFIX):
            continue
        if name == path or name.rpartition("/")[0] == path:
            found[name] = entry.id
    sizes = repository.sizes(set(found.values())) if found else {}
    if len(found) > SEALED_FILES_MAX or sum(sizes.values()) > SEALED_BYTES_MAX:
        raise RepositoryError(
            f"{path} has {len(found)} encrypted files of {sum(sizes.values()):,} bytes; at most"
            f" {SEALED_FILES_MAX} of {SEALED_BYTES_MAX:,} bytes together are read"
        )
    contents = dict(repository.blobs(sizes)) if sizes else {}
    return {name: contents[identity] for name, identity in found.items()}
