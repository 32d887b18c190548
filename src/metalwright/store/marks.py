"""Outside of the database: how far it was driven, so that an old copy of it is known for what it
is.

A copy of a store does not know what was done since. One small file in the state directory does:
which store is at an address, and the counters that it had reached. They only rise, so a store that
has lower ones is from before. A mark says nothing of what was done, and is never read for that.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from metalwright.errors import StoreError
from metalwright.store.connect import translated

_LINE: Final = re.compile(r"store (?P<store>\S{0,64}) reached (\d{19}) (\d{19}) (\d{19})\n")
"""Of one width for a store, so that it is written over in place, in one sector of the disk."""


@dataclass(frozen=True, slots=True, order=True)
class Count:
    """How far a store has come; a later state of the same one is greater. `driven` counts what was
    written by whoever drove, `generation` what operators wrote, too; `restored` how often the store
    was found to be an old copy: it goes on from there with lower counts.
    """

    restored: int
    driven: int
    generation: int


@dataclass(frozen=True, slots=True)
class Reached:
    """Which store, and how far it has come."""

    store_id: str
    count: Count


class Marks:
    """The marks in a state directory, and the one of the store at `store_url` among them.

    Raises:
        StoreError: the address of the store cannot be understood.
    """

    def __init__(self, directory: Path, store_url: str) -> None:
        with translated():
            address = make_url(store_url).set(password=None).render_as_string()
        name = hashlib.sha256(address.encode()).hexdigest()[:12]
        self._directory, self.path = directory, directory / f"store-{name}.mark"
        self._written: Reached | None = None

    def older(self, found: Reached) -> str:
        """Why the store found there is one from before; empty when it is not, as far as known.

        Raises:
            StoreError: a mark cannot be read, so that this is not known.
        """
        kept = {path: _read(path) for path in self._directory.glob("store-*.mark")}
        known = [each.count for each in kept.values() if each.store_id == found.store_id]
        if known:
            lacks = max(known).driven - found.count.driven
            if max(known) <= found.count:
                return ""
            return f"{lacks} transactions of the daemon are not in it" if lacks > 0 else _LACKS
        return "another store was driven at its address" if self.path in kept else ""

    def keep(self, reached: Reached) -> None:
        """Write the mark; it outlasts a loss of power when this returns.

        Raises:
            StoreError: it cannot be written.
        """
        beside = self.path.with_suffix(".new")
        try:
            with beside.open("w", encoding="ascii") as file:
                file.write(_line(reached))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
            descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}") from error
        self._written = reached

    def note(self, reached: Reached) -> None:
        """Move the mark that `keep` wrote: it outlasts this process at once, a loss of power when
        the system has written it back.

        Raises:
            StoreError: it cannot be written.
        """
        if reached == self._written:
            return
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.pwrite(descriptor, _line(reached).encode(), 0)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}") from error
        self._written = reached

    def follow(self, found: Reached) -> None:
        """Keep what another process, which drives, has reached; never less than is known.

        A mark that cannot be read is left as it is.
        """
        with suppress(StoreError):
            if self.path.exists():
                kept = _read(self.path)
                if kept.store_id != found.store_id or kept.count >= found.count:
                    return
            self.keep(found)


_LACKS: Final = "what operators wrote is not in it"


def _line(reached: Reached) -> str:
    counts = " ".join(f"{each:019d}" for each in astuple(reached.count))
    return f"store {reached.store_id} reached {counts}\n"


def _read(path: Path) -> Reached:
    try:
        found = _LINE.fullmatch(path.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    if found is None:
        raise StoreError(
            f"{path} says how far the store was driven, and cannot be understood; if the store is"
            " no copy from before, remove that file"
        )
    _, *counts = found.groups()
    return Reached(found["store"], Count(*map(int, counts)))
