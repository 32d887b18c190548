"""An opened database: transactions, batches, and the right to drive, one thread at a time.

It never knows what is written in them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, Engine, select, update

from metalwright.errors import FencedError, StoreError
from metalwright.model.operation import Operation
from metalwright.store.batch import Batch
from metalwright.store.connect import begin_reading, begin_writing, open_engine, translated
from metalwright.store.ledger import Ledger
from metalwright.store.marks import Count, Reached
from metalwright.store.migrate import Lock, migrate
from metalwright.store.pages import fenced
from metalwright.store.schema import meta
from metalwright.store.standing import Standing


class Opened:
    """The part of a store that knows about transactions. Every method raises `StoreError`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.RLock()
        self._batch: Batch | None = None
        self._claim: tuple[int, datetime] | None = None
        self._standing: Standing | None = None
        self._written: dict[str, tuple[str, Operation]] = {}

    @classmethod
    def open(cls, url: str, lock: Lock | None = None) -> Self:
        """Open a store, creating its tables, or upgrading them under the fleet lock.

        Args:
            url: as SQLAlchemy writes it, such as `sqlite:////var/lib/metalwright/store.sqlite` or
                `postgresql+psycopg://metalwright@db.example/metalwright`.
            lock: the fleet lock of this store, held or not; without it nothing is upgraded.

        Raises:
            StoreError: it cannot be opened, or was written by a newer version of this program, or
                by an older one and may not be upgraded now.
        """
        with translated():
            engine = open_engine(url)
            try:
                migrate(engine, lock)
            except BaseException:
                engine.dispose()
                raise
        return cls(engine)

    def close(self) -> None:
        """Close the connection. A batch that is open is rolled back."""
        with self._lock, translated():
            self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def claim(self, by: str, at: datetime) -> int:
        """Make this store the one that drives; the new epoch. Whoever drove until now is fenced
        off: each write of his is refused from here on.

        Raises:
            StoreError: within a batch, or the database fails.
        """
        with self._lock:
            if self._batch is not None:
                raise StoreError("a store is not claimed within a batch")
            with translated(), begin_writing(self._engine) as connection:
                connection.execute(
                    update(meta).values(epoch=meta.c.epoch + 1, claimed_by=by, claimed_at=at)
                )
                row = connection.execute(select(meta.c.epoch, meta.c.claimed_at)).one()
            # The instant too: a store restored from a copy gives the same epoch once more.
            self._claim = (row.epoch, row.claimed_at)
            return self._claim[0]

    def confirm(self) -> None:
        """Make sure that nobody has claimed the store since this one did; nothing is written.

        Raises:
            FencedError: another process drives with it now.
            StoreError: it was not claimed.
        """
        with self._reading() as connection:
            row = connection.execute(
                select(meta.c.epoch, meta.c.claimed_by, meta.c.claimed_at)
            ).one()
        if self._claim is None:
            raise StoreError("this store was not claimed: nothing drives with it")
        if (row.epoch, row.claimed_at) != self._claim:
            raise FencedError(fenced(row))

    def reached(self) -> Reached:
        """Which store this is, and how far it has come by what is durable.

        Raises:
            StoreError: within a batch, or the database fails.
        """
        with self._lock:  # a batch of another thread is waited for
            if self._batch is not None:
                raise StoreError("what a batch has written is not durable before its end")
            with self._reading() as connection:
                row = connection.execute(
                    select(meta.c.store_id, meta.c.restored, meta.c.driven, meta.c.generation)
                ).one()
        return Reached(row.store_id, Count(row.restored, row.driven, row.generation))

    @contextmanager
    def batch(self) -> Iterator[None]:
        """Make the writes within one transaction: one durable commit, or nothing of it.

        An exception that leaves the block rolls back all of it, and so does a `StoreError` within
        even when it was caught. An inner batch is part of the outer one.
        """
        with self._lock:
            if self._batch is not None:
                yield
                return
            batch = self._batch = Batch(self._engine, self._begin)
            try:
                yield
                with translated():
                    batch.commit()
                if batch.ledger is not None:
                    self._standing = batch.ledger.standing_after()
            except BaseException:
                self._rolled_back()
                raise
            finally:
                self._batch = None
                with translated():
                    batch.close()

    def _rolled_back(self) -> None:
        """Forget what was taken for written and was not."""
        self._standing = None

    def _begin(self, connection: Connection) -> Ledger:
        # Until it is committed nothing stands: a failure must not leave what was rolled back.
        standing, self._standing = self._standing, None
        return Ledger(connection, self._claim, standing, self._written)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._lock, translated():
            if self._batch is not None and self._batch.ledger is not None:
                try:
                    self._batch.step().flush()
                    yield self._batch.ledger.connection
                except BaseException:
                    self._batch.fail()
                    raise
                return
            with begin_reading(self._engine) as connection:
                yield connection

    @contextmanager
    def _writing(self) -> Iterator[Ledger]:
        with self._lock, translated():
            if self._batch is not None:
                try:
                    yield self._batch.step()
                except BaseException:
                    self._batch.fail()
                    raise
                return
            with begin_writing(self._engine) as connection:
                ledger = self._begin(connection)
                yield ledger
                ledger.flush()
            self._standing = ledger.standing_after()
