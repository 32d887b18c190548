"""The fleet lock for a store in PostgreSQL, where several machines may drive: one at a time does.

A session of the server holds it (an advisory lock), on a connection of its own: it is gone as soon
as that connection is, so a standby takes over without a time-out to guess. Whoever lost the
connection cannot know whether somebody else has the lock by now, so he never takes it anew: he
stops. The lock keeps two from driving; the store's epoch makes late writes of the first harmless.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from metalwright.errors import LockedError, StoreError
from metalwright.store.connect import connect_arguments, translated

LOCK_KEY: Final = 5_571_034_880_612_907
"""One database is one store, so the same number serves in each."""

_TAKE: Final = text("SELECT pg_try_advisory_lock(:key)")
_HELD: Final = """
    SELECT a.application_name, a.client_addr
    FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (l.classid::bigint << 32) | l.objid::bigint = :key
"""
_HOLDER: Final = text(_HELD)
_MINE: Final = text(f"{_HELD} AND l.pid = pg_backend_pid()")


class DatabaseLock:
    """The right to drive the fleet, held from `acquire` to `release`, or as a context manager."""

    def __init__(self, store_url: str) -> None:
        self._url = store_url
        self._connection: Connection | None = None
        self._lost = False

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises:
            LockedError: another process holds it; the message has its machine and process id.
            StoreError: the database cannot be reached.
        """
        if self._connection is not None:
            raise LockedError("this process drives the fleet already")
        with translated():
            connection = self._connect()
            try:
                taken = connection.execute(_TAKE, {"key": LOCK_KEY}).scalar_one()
                row = None if taken else self._held_by(connection)
            except BaseException:
                connection.close()
                raise
        if not taken:
            connection.close()
            raise LockedError(f"{_named(row)} drives this fleet (it holds the lock in the store)")
        self._connection, self._lost = connection, False

    def holder(self) -> int | None:
        """The id of the process that drives the fleet, on whichever machine it runs; `None` when
        nobody does, 0 where it cannot be told.

        Raises:
            StoreError: the database cannot be reached.
        """
        if self._connection is not None and not self._lost:
            return os.getpid()
        with translated():
            connection = self._connect()
            try:
                row = self._held_by(connection)
            finally:
                connection.close()
        return None if row is None else _identity(row)[0]

    @property
    def is_held(self) -> bool:
        """Whether this process took it, did not give it back, and knows of no loss."""
        return self._connection is not None and not self._lost

    @property
    def identity(self) -> str:
        """Empty: the server frees the lock of a connection that is gone, and whoever had it may
        still live.
        """
        return ""

    def confirm(self) -> None:
        """Make sure that the lock still keeps others out.

        Raises:
            StoreError: it is not held, or the connection that held it is gone.
        """
        gone = "the connection that held the fleet lock is gone: restart to drive the fleet"
        if self._connection is None or self._lost:
            raise StoreError(gone)
        try:
            with translated():
                mine = self._connection.execute(_MINE, {"key": LOCK_KEY}).one_or_none()
        except StoreError as error:
            self._lost = True  # SQLAlchemy would connect anew, to a session without the lock
            raise StoreError(f"{gone} ({error})") from error
        if mine is None:
            self._lost = True
            raise StoreError(gone)

    def release(self) -> None:
        """Give the lock back, by ending its connection. Nothing happens where it is not held."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with translated():
                connection.close()

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _connect(self) -> Connection:
        """A connection outside of transactions: one that is idle in a transaction is ended."""
        engine = create_engine(
            self._url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args=connect_arguments(self._url),
        )
        return engine.connect()

    def _held_by(self, connection: Connection) -> Any:
        return connection.execute(_HOLDER, {"key": LOCK_KEY}).one_or_none()


def _identity(row: Any) -> tuple[int, str]:
    """Process id and machine of a holder, as its connection calls itself; 0 and its address where
    it calls itself otherwise.
    """
    _, _, rest = row.application_name.partition("metalwright ")
    pid, _, host = rest.partition(" ")
    if pid.isdecimal() and host:
        return int(pid), host
    return 0, str(row.client_addr or "this machine")


def _named(row: Any) -> str:
    if row is None:  # it let go between our two questions
        return "another process"
    pid, host = _identity(row)
    return f"process {pid or 'unknown'} on {host}"
