"""A work tree as it lies on disk, read like a revision: for checking before a commit.

It reads regular files only and follows no link; git is not asked, so files that git ignores are
read too unless they are hidden. It never plans: its revision is no commit.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from metalwright.errors import RepositoryError
from metalwright.inventory.assemble import Assembled, assemble
from metalwright.inventory.bulk import ENTRIES_MAX, Entry
from metalwright.inventory.codes import Code
from metalwright.inventory.files import (
    INVENTORY_BYTES_MAX,
    MODE_SUBMODULE,
    MODE_SYMLINK,
    SUFFIXES,
    InventoryFile,
    select,
    too_many_files,
)
from metalwright.inventory.loader import ParsedFiles, accepted, positions_in
from metalwright.inventory.yaml_text import FILE_BYTES_MAX
from metalwright.model.finding import Finding
from metalwright.model.hardware import DRIVERS
from metalwright.model.inventory import Commit, Inventory

NO_COMMIT: Final = Commit(
    id="0" * 40, author="", subject="a work tree, not a commit", at=datetime.fromtimestamp(0, UTC)
)
_MODE_FILE: Final = "100644"
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def load_directory(path: Path, drivers: frozenset[str] = DRIVERS) -> Inventory:
    """The inventory of a work tree; its revision id is forty zeros.

    `drivers` are the names of those that are installed.

    Raises:
        InventoryError: it has errors; `findings` are all of them.
        RepositoryError: the directory cannot be listed.
    """
    return accepted(_assemble(path, drivers), str(path))


def check_directory(path: Path, drivers: frozenset[str] = DRIVERS) -> tuple[Finding, ...]:
    """Every finding of a work tree, errors first; `drivers` as for `load_directory`.

    Raises:
        RepositoryError: the directory cannot be listed.
    """
    assembled = _assemble(path, drivers)
    return (*assembled.errors, *assembled.warnings)


def _assemble(path: Path, drivers: frozenset[str]) -> Assembled:
    entries = _entries(path)
    if len(entries) > ENTRIES_MAX:
        files: list[InventoryFile] = []
        findings = [too_many_files("more files")]
    else:
        files, findings = select(entries)
    contents = _Contents(path, findings)
    files = [file for file in files if contents.read(file)]
    parsed = ParsedFiles().of(files, contents, findings)
    by_path = {file.path: file for file in files}
    return assemble(
        NO_COMMIT,
        parsed,
        findings,
        lambda paths: positions_in({path: by_path[path] for path in paths}, contents),
        drivers,
    )


def _entries(root: Path) -> list[Entry]:
    """The files below a directory like those of a commit; a file's id is its path."""
    if not root.is_dir():
        raise RepositoryError(f"{root} is not a directory")
    entries: list[Entry] = []

    def refuse(error: OSError) -> None:
        raise RepositoryError(f"{error.filename} cannot be listed: {error.strerror}") from error

    for directory, folders, names in os.walk(os.fsencode(root), onerror=refuse):
        folders[:] = sorted(folder for folder in folders if not folder.startswith(b"."))
        for name in (*folders, *names):
            full = os.path.join(directory, name)  # noqa: PTH118 - bytes, which Path refuses
            relative = os.path.relpath(full, os.fsencode(root))
            mode = _mode(full, is_folder=name in folders)
            if mode is not None:
                entries.append(Entry(mode, os.fsdecode(relative), relative))
        folders[:] = [
            folder
            for folder in folders
            if not os.path.lexists(os.path.join(directory, folder, b".git"))  # noqa: PTH118
        ]
        if len(entries) > ENTRIES_MAX:
            break
    return entries


def _mode(path: bytes, *, is_folder: bool) -> str | None:
    """The mode in git of a file, a link or a repository inside; None for an ordinary directory."""
    if os.path.islink(path):  # noqa: PTH114 - bytes, which Path refuses
        return MODE_SYMLINK
    if is_folder:
        inside = os.path.join(path, b".git")  # noqa: PTH118
        return MODE_SUBMODULE if os.path.lexists(inside) else None
    return _MODE_FILE if path.lower().endswith(SUFFIXES) else None


class _Contents:
    """Contents of files of a directory, whose ids are their paths.

    Each is read once and kept, so that a file that changes meanwhile cannot be two things in one
    answer. What cannot be read is a finding.
    """

    def __init__(self, root: Path, findings: list[Finding]) -> None:
        self._root, self._findings = root, findings
        self._data: dict[str, bytes] = {}
        self._bytes = 0

    def read(self, file: InventoryFile) -> bool:
        """Reads a file, up to one byte more than it may have; whether it could be read."""
        why = ""
        if self._bytes > INVENTORY_BYTES_MAX:
            return False
        try:
            # Not blocking, so that a FIFO named like an inventory file stops nobody.
            descriptor = os.open(self._root / file.id, _OPEN_FLAGS)
            with open(descriptor, "rb") as handle:  # noqa: PTH123 - of a descriptor
                if stat.S_ISREG(os.fstat(descriptor).st_mode):
                    self._data[file.id] = handle.read(FILE_BYTES_MAX + 1)
                    self._bytes += len(self._data[file.id])
                else:
                    why = "is not a regular file"
        except OSError as error:
            why = f"cannot be read: {error.strerror}"
        if why:
            self._findings.append(Finding(path=file.path, code=Code.TREE_UNREADABLE, message=why))
        if self._bytes > INVENTORY_BYTES_MAX:
            self._findings.append(too_many_files("more bytes of YAML", INVENTORY_BYTES_MAX))
        return not why

    def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        """The size in bytes of each file that was read."""
        return {identity: len(self._data[identity]) for identity in ids}

    def blobs(self, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """(id, content) of each file that was read."""
        for identity in ids:
            yield identity, self._data[identity]
