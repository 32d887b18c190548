"""Many writes in one durable commit: a commit to disk costs a millisecond, a write hardly anything.

The transaction begins with the first write, so a batch in which nothing is written costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import Connection, Engine

from metalwright.errors import StoreError
from metalwright.store.connect import connect_writing, given_up_when_it_fails
from metalwright.store.ledger import Ledger


class Batch:
    """A transaction that begins with its first `step`, and is either committed whole or not.

    `begin` makes the ledger of a transaction that has begun, and takes the writers' lock.
    """

    def __init__(self, engine: Engine, begin: Callable[[Connection], Ledger]) -> None:
        self._engine = engine
        self._begin = begin
        self._connection: Connection | None = None
        self._broken = False
        self.ledger: Ledger | None = None

    def step(self) -> Ledger:
        """The ledger for one write. Raises StoreError after one that failed."""
        if self._broken:
            raise StoreError("an earlier write of this batch failed: nothing of it is kept")
        if self.ledger is None:
            try:
                self._connection = connect_writing(self._engine)
                self._connection.begin()
                self.ledger = self._begin(self._connection)
            except BaseException:
                self.fail()
                raise
        return self.ledger

    def fail(self) -> None:
        """Keep nothing of it: a write failed."""
        self._broken = True

    def commit(self) -> None:
        """Make it durable. Raises StoreError where a write of it had failed."""
        if self._broken:
            raise StoreError("a write of this batch failed: nothing of it is kept")
        if self.ledger is not None:
            self.ledger.flush()
            with given_up_when_it_fails(self.ledger.connection):
                self.ledger.connection.commit()

    def close(self) -> None:
        """Roll back what was not committed."""
        if self._connection is not None:
            self._connection.close()
