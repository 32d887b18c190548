"""The simulated fleet's memory: an SQLite file that several processes share, or none at all.

The daemon and the `mw` commands are processes of their own and look at the same machines, so what
the machines are has to be on disk. One row per node, one row per change: a fleet of 10,000 costs
no more per call than one of ten. A process that is killed at any instant leaves either the state
before its effect or the state after it.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, fields
from pathlib import Path

from metalwright.drivers.fake_faults import EVERY_NODE, FAULT_JSON, Fault
from metalwright.drivers.fake_node import NEW_NODE, FakeNode
from metalwright.errors import PermanentError, SettingsError, TemporaryError

STATE_FORMAT = 1
STATE_BUSY_TIMEOUT_S = 5.0

_COLUMNS = tuple(field.name for field in fields(FakeNode))
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS node (name TEXT PRIMARY KEY, {", ".join(_COLUMNS)}) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fault (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, node TEXT NOT NULL, fault TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS fault_node ON fault (node);
CREATE TABLE IF NOT EXISTS healed (node TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {STATE_FORMAT};
COMMIT;
"""
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM node WHERE name = ?"  # noqa: S608  our own words
_REPLACE = f"REPLACE INTO node VALUES ({', '.join('?' * (len(_COLUMNS) + 1))})"  # noqa: S608


class FakeFleet:
    """What is remembered of each simulated machine. Safe to use from many threads and processes."""

    def __init__(self, state: Path | None) -> None:
        """Open, and make where it is missing. `None` keeps everything in this process's memory.

        Raises:
            SettingsError: the file cannot be opened or is not such a state.
        """
        self._lock = threading.Lock()
        self._closed = False
        try:
            if state is not None:
                state.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                ":memory:" if state is None else state,
                timeout=STATE_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
        except (OSError, sqlite3.Error) as error:
            raise SettingsError(f"the fake fleet's state {state}: {error}") from error
        try:
            self._prepare()
        except (sqlite3.Error, SettingsError) as error:
            self.close()
            raise SettingsError(f"the fake fleet's state {state}: {error}") from error

    def node(self, name: str) -> FakeNode:
        """The machine as its last effect left it; `NEW_NODE` where it never had one.

        Raises:
            TemporaryError: another process holds the state for too long.
            PermanentError: closed.
        """
        with self._reading() as database:
            return _node(database, name)

    def look(self, name: str) -> tuple[FakeNode, tuple[Fault, ...], bool]:
        """A machine, the faults injected into it, and whether its configured ones were healed.

        Raises: as `node`.
        """
        with self._reading() as database:
            return (_node(database, name), *_faults(database, name))

    def change(self, name: str, make: Callable[[FakeNode], FakeNode]) -> FakeNode:
        """Replace a machine by what `make` says, with nobody in between.

        Raises: as `node`, and whatever `make` raises; the machine is as before then.
        """
        with self._writing() as database:
            before = _node(database, name)
            after = make(before)
            if after != before:
                database.execute(_REPLACE, (name, *astuple(after)))
            return after

    def inject(self, name: str, fault: Fault) -> None:
        """Add a fault to a node, or to `*`, for every process from now on.

        Raises: as `node`.
        """
        with self._writing() as database:
            text = FAULT_JSON.dump_json(fault).decode()
            database.execute("INSERT INTO fault (node, fault) VALUES (?, ?)", (name, text))

    def heal(self, name: str) -> None:
        """Take every fault from a node (from all with `*`), the configured ones too.

        What is injected later holds again. Raises: as `node`.
        """
        with self._writing() as database:
            everyone = name == EVERY_NODE
            database.execute("DELETE FROM fault WHERE node = ? OR ?", (name, everyone))
            database.execute(
                "REPLACE INTO healed SELECT ?, coalesce(max(seq), 0) FROM fault", (name,)
            )

    def close(self) -> None:
        """Release the file; what was changed is on disk already. Twice is once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._database.close()

    def _prepare(self) -> None:
        # A reader never waits for a writer, and a kill -9 leaves whole transactions only.
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        (found,) = self._database.execute("PRAGMA user_version").fetchone()
        if found == 0:
            self._database.executescript(_SCHEMA)
        elif found != STATE_FORMAT:
            raise SettingsError(f"is of format {found}, this program writes {STATE_FORMAT}")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._closed:
                raise PermanentError("the fake fleet is closed")
            try:
                yield self._database
            except sqlite3.Error as error:
                raise TemporaryError(f"the fake fleet's state: {error}") from error

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")


def _node(database: sqlite3.Connection, name: str) -> FakeNode:
    row = database.execute(_SELECT, (name,)).fetchone()
    return NEW_NODE if row is None else FakeNode(**dict(zip(_COLUMNS, row, strict=True)))


def _faults(database: sqlite3.Connection, name: str) -> tuple[tuple[Fault, ...], bool]:
    both = (name, EVERY_NODE)
    healed = database.execute("SELECT max(seq) FROM healed WHERE node IN (?, ?)", both)
    (void_until,) = healed.fetchone()
    rows = database.execute(
        "SELECT fault FROM fault WHERE node IN (?, ?) AND seq > ? ORDER BY seq",
        (*both, void_until or 0),
    )
    injected = tuple(FAULT_JSON.validate_json(text) for (text,) in rows.fetchall())
    return injected, void_until is not None
