"""The store: the journal, the slots and the last observations, in a database that others may read.

It remembers what we did. It is never asked what should be, and losing it starts nothing. One
`Store` is used by one thread at a time (a lock sees to it); other processes, the command line
beside the daemon, open their own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, Engine, Table, bindparam, delete, insert, select

from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observed
from metalwright.model.operation import Applied, JournalEntry, Memory, Operation
from metalwright.store.batch import Batch, Writing
from metalwright.store.codec import observation_from_text, observation_to_text
from metalwright.store.connect import begin_reading, begin_writing, open_engine, translated
from metalwright.store.migrate import migrate
from metalwright.store.recall import (
    Recalled,
    read_journal,
    read_operation,
    read_operations,
    recall,
)
from metalwright.store.schema import facts, observations, slots


class Store:
    """An opened store. Every method raises `StoreError` when the database fails."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.RLock()
        self._batch: Batch | None = None
        self._recalled = Recalled()
        self._observed_at: dict[str, datetime] = {}

    @classmethod
    def open(cls, url: str) -> Self:
        """Open a store, creating or upgrading its tables.

        Args:
            url: as SQLAlchemy writes it, such as `sqlite:////var/lib/metalwright/store.sqlite`.

        Raises:
            StoreError: it cannot be opened, or was written by a newer version of this program.
        """
        with translated():
            engine = open_engine(url)
            try:
                migrate(engine)
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
            batch = self._batch = Batch(self._engine)
            try:
                yield
                with translated():
                    batch.commit()
            except BaseException:
                self._observed_at.clear()  # what was taken for saved was not
                raise
            finally:
                self._batch = None
                with translated():
                    batch.close()

    def memory(self) -> Memory:
        """What is remembered of the fleet: the same value as before when nothing was written."""
        with self._reading() as connection:
            recalled = recall(connection, self._recalled)
            if self._batch is None:  # what is not committed may still be rolled back
                self._recalled = recalled
        return recalled.memory

    def operation(self, operation_id: str) -> Operation | None:
        """One operation by its id."""
        with self._reading() as connection:
            return read_operation(connection, operation_id)

    def operations(self, node: str | None, count_max: int) -> tuple[Operation, ...]:
        """The newest operations of a node (of all with `None`), newest first."""
        with self._reading() as connection:
            return read_operations(connection, node, count_max)

    def journal(self, node: str | None, count_max: int) -> tuple[JournalEntry, ...]:
        """The newest journal lines of a node (of all with `None`), newest first."""
        with self._reading() as connection:
            return read_journal(connection, node, count_max)

    def slots(self) -> Mapping[str, Mapping[int, str]]:
        """The slots held: scope, slot number, id of the operation that holds it."""
        held: dict[str, dict[int, str]] = {}
        with self._reading() as connection:
            for row in connection.execute(select(slots).order_by(slots.c.scope, slots.c.slot_no)):
                held.setdefault(row.scope, {})[row.slot_no] = row.operation_id
        return held

    def adopt(self, nodes: Mapping[str, Applied | None], by: str, at: datetime) -> None:
        """Take nodes over, each as what it was brought to, or with `None` as not known.

        A node that was adopted already is recorded anew, and a failure of it forgotten.

        Raises:
            StoreError: an operation is under way on one of them; none is taken over.
        """
        with self._writing() as writing:
            writing.ledger.adopt(nodes, by, at)

    def forget(self, node: str, by: str, at: datetime) -> bool:
        """Let a node go: it is not adopted any more. False when it was not adopted.

        Raises:
            StoreError: an operation is under way on it.
        """
        with self._writing() as writing:
            return writing.ledger.forget(node, by, at)

    def retry_failed(self, nodes: Iterable[str], by: str, at: datetime) -> tuple[str, ...]:
        """Forget the failures of these nodes, so that they are planned again; their names."""
        with self._writing() as writing:
            return writing.ledger.retry_failed(nodes, by, at)

    def record_unchanged(self, records: Mapping[str, Applied], at: datetime) -> tuple[str, ...]:
        """Record that git now names the same state otherwise; the nodes that were recorded.

        Refused for a node that is busy, or whose applied state has another digest.
        """
        if not records:
            return ()
        with self._writing() as writing:
            return writing.ledger.record_unchanged(records, at)

    def create(
        self, operations: Sequence[Operation], at: datetime, revision: str | None
    ) -> tuple[Operation, ...]:
        """Make the operations of a plan, and remember the revision it was made from; those made.

        Refused for a node that is not adopted or has an unfinished operation. `revision` becomes
        `Memory.applied_revision`; `None` leaves that as it is.
        """
        with self._writing() as writing:
            return writing.ledger.create(operations, at, revision)

    def admit(self, operation: Operation, limits: Mapping[str, int], at: datetime) -> bool:
        """Start a pending operation: a slot in every scope of `limits`, or nothing at all.

        `operation` is what it is after admission: running, its fence one higher, with its first
        intent if it has one. The applied state of the node becomes unknown, but for `power on`.
        """
        with self._writing() as writing:
            return writing.ledger.admit(operation, limits, at)

    def save(self, operation: Operation, event: str, at: datetime, detail: str = "") -> bool:
        """Record a step of a running operation; false when the store has moved past its fence."""
        with self._writing() as writing:
            return writing.ledger.save(operation, event, at, detail)

    def retry(self, operation: Operation, at: datetime, detail: str = "") -> bool:
        """End an attempt: `operation` is pending again, fence one higher, slots free."""
        with self._writing() as writing:
            return writing.ledger.retry(operation, at, detail)

    def finish(
        self, operation: Operation, applied: Applied | None, at: datetime, detail: str = ""
    ) -> bool:
        """End an operation: its slots are free, `applied` is the node's when it is `active`."""
        with self._writing() as writing:
            return writing.ledger.finish(operation, applied, at, detail)

    def prune(self, before: datetime) -> int:
        """Remove journal lines and ended operations from before an instant; how many in all.

        What is unfinished stays, and so does a failure that still blocks its node.
        """
        with self._writing() as writing:
            return writing.ledger.prune(before)

    def save_observed(self, observed: Observed) -> None:
        """Keep the latest observation of each node; those kept already are not written again."""
        fresh = [
            observation
            for node, observation in observed.nodes.items()
            if self._observed_at.get(node) != observation.at
        ]
        if not fresh:
            return
        rows = [
            {"node": each.node, "at": each.at, "body": observation_to_text(each)} for each in fresh
        ]
        with self._writing() as writing:
            _put(writing.connection, observations, "node", rows)
        self._observed_at |= {each.node: each.at for each in fresh}

    def observed(self) -> Observed:
        """The observations that were kept last."""
        with self._reading() as connection:
            rows = connection.execute(
                select(observations.c.node, observations.c.body).order_by(observations.c.node)
            )
            return Observed(
                nodes=FrozenDict({node: observation_from_text(body) for node, body in rows})
            )

    def put_fact(self, key: str, json_text: str, at: datetime) -> None:
        """Keep one text under a key, for the command line to read."""
        with self._writing() as writing:
            _put(writing.connection, facts, "key", [{"key": key, "at": at, "body": json_text}])

    def fact(self, key: str) -> tuple[str, datetime] | None:
        """The text kept under a key, and since when."""
        with self._reading() as connection:
            row = connection.execute(
                select(facts.c.body, facts.c.at).where(facts.c.key == key)
            ).one_or_none()
        return None if row is None else (row.body, row.at)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._lock, translated():
            if self._batch is not None and self._batch.writing is not None:
                self._batch.writing.flush()
                yield self._batch.writing.connection
                return
            with begin_reading(self._engine) as connection:
                yield connection

    @contextmanager
    def _writing(self) -> Iterator[Writing]:
        with self._lock, translated():
            if self._batch is not None:
                with self._batch.step() as writing:
                    yield writing
                return
            with begin_writing(self._engine) as connection:
                writing = Writing(connection)
                yield writing
                writing.flush()


def _put(connection: Connection, table: Table, key: str, rows: list[dict[str, Any]]) -> None:
    """Replace rows by their key, without any database's own words for it."""
    gone = delete(table).where(table.c[key] == bindparam("gone"))
    connection.execute(gone, [{"gone": row[key]} for row in rows])
    connection.execute(insert(table), rows)
