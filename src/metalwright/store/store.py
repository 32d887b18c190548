"""The store: the journal, the slots and the last observations, in a database that others may read.

It remembers what we did. It is never asked what should be, and losing it starts nothing. One
`Store` is used by one thread at a time (a lock sees to it); other processes, the command line
beside the daemon, open their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Table, bindparam, delete, insert, select

from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observed
from metalwright.model.operation import Applied, JournalEntry, Memory, Operation
from metalwright.model.rollout import Rollout
from metalwright.store import keeping
from metalwright.store.boots import Boots
from metalwright.store.clocks import bring_back
from metalwright.store.codec import observation_from_text, observation_to_text
from metalwright.store.recall import (
    Recalled,
    read_journal,
    read_operation,
    read_operations,
    recall,
)
from metalwright.store.restored import Released, release_all
from metalwright.store.schema import facts, observations, slots


class Store(Boots):
    """An opened store. Every method raises `StoreError` when the database fails.

    Steps of operations, and what belongs to them, are written by the process that claimed the store
    last. Where nobody ever did, any may; where somebody did, others get a `FencedError`.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._recalled = Recalled()
        self._observed_at: dict[str, datetime] = {}

    def memory(self) -> Memory:
        """What is remembered of the fleet: the same value as before when nothing was written."""
        with self._reading() as connection:
            recalled = recall(connection, self._recalled, self._written)
            if self._batch is None:  # what is not committed may still be rolled back
                self._recalled = recalled
                self._written.clear()
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

    def record_unchanged(self, records: Mapping[str, Applied], at: datetime) -> tuple[str, ...]:
        """Record that git now names the same state otherwise; the nodes that were recorded.

        Refused for a node that is busy, or whose applied state has another digest.
        """
        if not records:
            return ()
        with self._writing() as ledger:
            return ledger.record_unchanged(records, at)

    def create(
        self, operations: Sequence[Operation], at: datetime, revision: str | None
    ) -> tuple[Operation, ...]:
        """Make the operations of a plan, and remember the revision it was made from; those made.

        Refused for a node that is not adopted or has an unfinished operation. `revision` becomes
        `Memory.applied_revision`; `None` leaves that as it is.
        """
        with self._writing() as ledger:
            return ledger.create(operations, at, revision)

    def admit(self, operation: Operation, limits: Mapping[str, int], at: datetime) -> bool:
        """Start a pending operation: a slot in every scope of `limits`, or nothing at all.

        `operation` is what it is after admission: running, its fence one higher, with its first
        intent if it has one. The applied state of the node becomes unknown, but for `power on`.
        """
        with self._writing() as ledger:
            return ledger.admit(operation, limits, at)

    def save(self, operation: Operation, event: str, at: datetime, detail: str = "") -> bool:
        """Record a step of a running operation; false when the store has moved past its fence."""
        with self._writing() as ledger:
            return ledger.save(operation, event, at, detail)

    def retry(self, operation: Operation, at: datetime, detail: str = "") -> bool:
        """End an attempt: `operation` is pending again, fence one higher, slots free."""
        with self._writing() as ledger:
            return ledger.retry(operation, at, detail)

    def finish(
        self, operation: Operation, applied: Applied | None, at: datetime, detail: str = ""
    ) -> bool:
        """End an operation: its slots are free, `applied` is the node's when it is `active`."""
        with self._writing() as ledger:
            return ledger.finish(operation, applied, at, detail)

    def release_all(self, why: str, at: datetime) -> Released:
        """Make an old copy what a lost store is: nothing under way, no node adopted. Its history
        stays. No machine is touched; `why` is told for each operation and node.
        """
        with self._writing() as ledger:
            return release_all(ledger, why, at)

    def bring_back(self, at: datetime) -> tuple[str, ...]:
        """Move what unfinished operations say to have happened after `at` back to it, with their
        deadlines and pauses; the nodes concerned. No machine is touched.
        """
        with self._writing() as ledger:
            return bring_back(ledger, at)

    def prune(self, before: datetime) -> int:
        """Remove journal lines and ended operations from before an instant; how many in all.

        What is unfinished stays, and so does a failure that still blocks its node.
        """
        with self._writing() as ledger:
            return ledger.prune(before)

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
        with self._writing() as ledger:
            _put(ledger.connection, observations, "node", rows)
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
        with self._writing() as ledger:
            _put(ledger.connection, facts, "key", [{"key": key, "at": at, "body": json_text}])

    def fact(self, key: str) -> tuple[str, datetime] | None:
        """The text kept under a key, and since when."""
        with self._reading() as connection:
            row = connection.execute(
                select(facts.c.body, facts.c.at).where(facts.c.key == key)
            ).one_or_none()
        return None if row is None else (row.body, row.at)

    def save_rollouts(self, rollouts: Sequence[Rollout], at: datetime) -> None:
        """Keep rollouts as they are now; the memory has those that are not over."""
        if rollouts:
            with self._writing() as ledger:
                keeping.save_rollouts(ledger, rollouts, at)

    def consent(self, keys: Sequence[str], at: datetime) -> None:
        """Remember the keys of acknowledged changes; the newest `CONSENTS_MAX` stay."""
        if keys:
            with self._writing() as ledger:
                keeping.consent(ledger, keys, at)

    def lapse(self, keys: Sequence[str]) -> None:
        """Forget the keys of changes that git does not want any more, or that are done."""
        if keys:
            with self._writing() as ledger:
                keeping.lapse(ledger, keys)

    def take_starts(self, starts: Mapping[str, datetime]) -> None:
        """Write the instants of start-rate buckets, with the intents that took from them."""
        if starts:
            with self._writing() as ledger:
                keeping.take_starts(ledger, starts)

    def learn(self, samples: Mapping[str, Sequence[float]], at: datetime) -> None:
        """Add durations of stages in seconds, by `stage_key`; the newest `STAGE_SAMPLES_MAX` stay.

        Raises:
            StoreError: one is negative or not a number.
        """
        if samples:
            with self._writing() as ledger:
                keeping.learn(ledger, samples, at)

    def _rolled_back(self) -> None:
        super()._rolled_back()
        self._observed_at.clear()


def _put(connection: Connection, table: Table, key: str, rows: list[dict[str, Any]]) -> None:
    """Replace rows by their key, without any database's own words for it."""
    gone = delete(table).where(table.c[key] == bindparam("gone"))
    connection.execute(gone, [{"gone": row[key]} for row in rows])
    connection.execute(insert(table), rows)
