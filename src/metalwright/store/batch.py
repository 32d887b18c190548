"""Many writes in one durable commit: a commit to disk costs a millisecond, a write hardly anything.

The transaction begins with the first write, so a batch in which nothing is written costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

from metalwright.errors import StoreError
from metalwright.store.connect import connect_writing
from metalwright.store.ledger import Ledger


class Writing:
    """One write transaction, and its ledger once something of the memory is written."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._ledger: Ledger | None = None

    @property
    def ledger(self) -> Ledger:
        """The ledger of this transaction; asking for it takes the writers' lock."""
        if self._ledger is None:
            self._ledger = Ledger(self.connection)
        return self._ledger

    def flush(self) -> None:
        """Write what the ledger gathers until the end."""
        if self._ledger is not None:
            self._ledger.flush()


class Batch:
    """A transaction that begins with its first `step`, and is either committed whole or not."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._broken = False
        self.writing: Writing | None = None

    @contextmanager
    def step(self) -> Iterator[Writing]:
        """One write of it. Raises StoreError after one that failed."""
        if self._broken:
            raise StoreError("an earlier write of this batch failed: nothing of it is kept")
        try:
            if self.writing is None:
                self.writing = Writing(connect_writing(self._engine))
                self.writing.connection.begin()
            yield self.writing
        except BaseException:
            self._broken = True
            raise

    def commit(self) -> None:
        """Make it durable. Raises StoreError where a write of it had failed."""
        if self._broken:
            raise StoreError("a write of this batch failed: nothing of it is kept")
        if self.writing is not None:
            self.writing.flush()
            self.writing.connection.commit()

    def close(self) -> None:
        """Roll back what was not committed."""
        if self.writing is not None:
            self.writing.connection.close()
