"""Reads a revision of the inventory: files, documents, checks; all problems at once.

A revision with one error is refused whole. What was parsed is kept by the id of its content, so a
commit that touches few files costs little more than its own files. Nothing here changes a
repository or decides what a finding means for the fleet.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Final, Protocol

from metalwright.errors import InventoryError
from metalwright.inventory.assemble import Assembled, assemble
from metalwright.inventory.bulk import TooManyEntriesError
from metalwright.inventory.files import (
    INVENTORY_BYTES_MAX,
    InventoryFile,
    select,
    too_many_files,
)
from metalwright.inventory.parse import ParsedFile, parse_file, positions_of
from metalwright.inventory.repository import Repository
from metalwright.inventory.schema import Positions
from metalwright.inventory.yaml_text import FILE_BYTES_MAX, too_large
from metalwright.model.finding import Finding
from metalwright.model.hardware import DRIVERS
from metalwright.model.inventory import Commit, Inventory, Source

PARSED_BYTES_MAX: Final = 128 * 1024 * 1024
REVISIONS_KEPT_MAX: Final = 2
COLD_FILES_MIN: Final = 500
LOCATED_FILES_MAX: Final = 64


class Contents(Protocol):
    """Contents by id, of a repository or of a directory."""

    def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        """The size of each in bytes."""

    def blobs(self, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """(id, content) of each."""


class Loader:
    """Loads revisions of one repository, one at a time; use it from the repository's thread.

    `drivers` are the names of those that are installed; a node with another is refused.
    """

    def __init__(self, repository: Repository, drivers: frozenset[str] = DRIVERS) -> None:
        self._repository = repository
        self._drivers = drivers
        self._parsed = ParsedFiles()
        self._assembled: OrderedDict[str, Assembled] = OrderedDict()
        self._listed: tuple[str, dict[str, InventoryFile]] | None = None
        self._places: OrderedDict[str, dict[int, Positions]] = OrderedDict()
        self.last_warnings: tuple[Finding, ...] = ()

    def load(self, rev: str) -> Inventory:
        """The inventory that a revision declares. `last_warnings` are those of this load.

        Raises:
            InventoryError: the revision has errors; `findings` are all of them.
            RepositoryError: the repository or the revision could not be read.
        """
        commit = self._repository.commit(rev)
        assembled = self._assembled.get(commit.id)
        if assembled is None:
            assembled = self._assemble(commit)
            self._assembled[commit.id] = assembled
            while len(self._assembled) > REVISIONS_KEPT_MAX:
                self._assembled.popitem(last=False)
        else:
            self._assembled.move_to_end(commit.id)
        self.last_warnings = assembled.warnings
        return accepted(assembled, f"revision {commit.id[:12]}")

    def locate(self, source: Source, revision: str) -> Source:
        """The source with the line of its `field`, or of the nearest thing above it.

        Raises:
            RepositoryError: the revision cannot be read. A file or field that is not there leaves
                the source as it is.
        """
        commit = self._repository.resolve(revision)
        if self._listed is None or self._listed[0] != commit:
            files, _findings = select(self._repository.files(commit))
            self._listed = (commit, {file.path: file for file in files})
        file = self._listed[1].get(source.path)
        if file is None:
            return source
        places = self._places.get(file.id)
        if places is None:
            found = self._positions({file.path: file})
            self._places[file.id] = places = found.get(file.path, {})
            while len(self._places) > LOCATED_FILES_MAX:
                self._places.popitem(last=False)
        line = line_of(places.get(source.line, {}), source.field)
        return replace(source, line=line) if line else source

    def _assemble(self, commit: Commit) -> Assembled:
        try:
            files, findings = select(self._repository.files(commit.id))
        except TooManyEntriesError:
            files, findings = [], [too_many_files("more files")]
        parsed = self._parsed.of(files, self._repository, findings)
        by_path = {file.path: file for file in files}
        return assemble(
            commit,
            parsed,
            findings,
            lambda paths: self._positions({path: by_path[path] for path in paths}),
            self._drivers,
        )

    def _positions(self, files: Mapping[str, InventoryFile]) -> dict[str, dict[int, Positions]]:
        return positions_in(files, self._parsed.of_known_size(self._repository))


def accepted(assembled: Assembled, what: str) -> Inventory:
    """The inventory of a revision without errors.

    Raises:
        InventoryError: it has some.
    """
    if assembled.inventory is None:
        count = len(assembled.errors)
        raise InventoryError(
            f"{what} is refused: {count} error{'' if count == 1 else 's'}, the first is"
            f" {assembled.errors[0]}",
            assembled.errors,
        )
    return assembled.inventory


class ParsedFiles:
    """Parsed files by the id of their content; those of `PARSED_BYTES_MAX` of text are kept."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[ParsedFile, int]] = OrderedDict()
        self._bytes = 0

    def of(
        self, files: list[InventoryFile], contents: Contents, findings: list[Finding]
    ) -> dict[str, ParsedFile]:
        """Each file parsed, by path. Files that are too large are findings and are never read."""
        wanted = dict.fromkeys(file.id for file in files)
        fresh = [identity for identity in wanted if identity not in self._kept]
        sizes = contents.sizes(fresh) if fresh else {}
        if sum(size for size in sizes.values() if size <= FILE_BYTES_MAX) > INVENTORY_BYTES_MAX:
            total = f"{sum(sizes.values()):,} bytes of YAML"
            findings.append(too_many_files(total, INVENTORY_BYTES_MAX))
            return {}
        oversize = {identity: size for identity, size in sizes.items() if size > FILE_BYTES_MAX}
        found: dict[str, ParsedFile] = {
            identity: ParsedFile((), (too_large(size),), frozenset())
            for identity, size in oversize.items()
        }
        fresh = [identity for identity in fresh if identity not in oversize]
        with _collector_at_rest(len(fresh)):
            for identity, data in contents.blobs(fresh) if fresh else ():
                found[identity] = parse_file(data)
        for identity in wanted:
            if identity not in found:
                found[identity] = self._kept[identity][0]
                self._kept.move_to_end(identity)
        for identity in fresh:
            self._kept[identity] = (found[identity], sizes[identity])
            self._bytes += sizes[identity]
        while self._bytes > PARSED_BYTES_MAX:
            _identity, (_file, size) = self._kept.popitem(last=False)
            self._bytes -= size
        return {file.path: found[file.id] for file in files}

    def of_known_size(self, contents: Contents) -> Contents:
        """The same contents; the sizes of what was parsed here are not asked for again."""
        return _KnownSizes(contents, self._kept)


class _KnownSizes:
    """Contents of which some sizes are known."""

    def __init__(self, contents: Contents, known: Mapping[str, tuple[ParsedFile, int]]) -> None:
        self._contents, self._known = contents, known

    def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        """The size in bytes of each blob."""
        wanted = list(ids)
        rest = [identity for identity in wanted if identity not in self._known]
        found = self._contents.sizes(rest) if rest else {}
        return found | {key: self._known[key][1] for key in wanted if key in self._known}

    def blobs(self, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """(id, content) of each blob."""
        return self._contents.blobs(ids)


@contextmanager
def _collector_at_rest(files: int) -> Iterator[None]:
    """Keeps the cyclic garbage collector out of a large load.

    Nothing that is made here has a cycle, and the collector would walk over all of it again and
    again: 1.7 s of parsing become 4.6 s for 10,000 files. Freezing afterwards keeps it from walking
    over what stays for good.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if files >= COLD_FILES_MIN:
            gc.freeze()
        gc.enable()


def positions_in(
    files: Mapping[str, InventoryFile], contents: Contents
) -> dict[str, dict[int, Positions]]:
    """Where the values of each document stand: by path, then by the document's first line."""
    paths: dict[str, list[str]] = {}
    for path, file in files.items():
        paths.setdefault(file.id, []).append(path)
    if not paths:
        return {}
    small = [key for key, size in contents.sizes(paths).items() if size <= FILE_BYTES_MAX]
    return {
        path: by_line
        for identity, data in contents.blobs(small)
        for by_line in (positions_of(data),)
        for path in paths[identity]
    }


def line_of(positions: Positions, field: str) -> int:
    """The line of a dotted field, or of the nearest thing above it; 0 where nothing is known."""
    lines = {".".join(map(str, way)): at.key_line for way, at in positions.items()}
    while field and field not in lines:
        field = field.rpartition(".")[0]
    return lines.get(field, 0)
