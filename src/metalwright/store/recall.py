"""Reads the memory of the fleet, and only what changed since it was read last.

Each node carries the generation of the transaction that changed it last. A memory of ten thousand
nodes is read once; after that a cycle asks for one number, and for the nodes above the one it
knows, whoever changed them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, Select, func, select

from metalwright.model.desired import Target
from metalwright.model.frozen import FrozenDict
from metalwright.model.operation import (
    JournalEntry,
    Memory,
    NodeMemory,
    Operation,
    Stage,
)
from metalwright.store.codec import (
    applied_from_text,
    effect_from_text,
    operation_from_text,
    target_from_text,
)
from metalwright.store.pages import chunks
from metalwright.store.schema import journal, meta, nodes, operations, slots, targets


@dataclass(frozen=True, slots=True)
class Recalled:
    """A memory, the generation that it shows, and the targets that it holds by their id."""

    memory: Memory = field(default_factory=Memory)
    generation: int = -1
    targets: Mapping[str, Target] = field(default_factory=dict)


def recall(connection: Connection, known: Recalled) -> Recalled:
    """The memory now, made from the one known: the same value when nothing was written since."""
    row = connection.execute(select(meta)).one()
    if row.generation == known.generation:
        return known
    if row.forgotten_generation > known.generation or row.generation < known.generation:
        known = Recalled()
    changed = connection.execute(_nodes_above(known.generation)).all()
    keys = {
        key
        for node in changed
        for key in (node.target_id, node.busy_target_id, node.failed_target_id)
        if key is not None
    }
    found = _load_targets(connection, keys, known.targets)
    remembered = dict(known.memory.nodes)
    for node in changed:
        known_as = (
            None if node.applied is None else applied_from_text(node.applied, found[node.target_id])
        )
        remembered[node.node] = NodeMemory(
            node=node.node,
            adopted_at=node.adopted_at,
            adopted_by=node.adopted_by,
            applied=None if node.in_doubt else known_as,
            former=known_as if node.in_doubt else None,
            operation=_operation(node.busy, node.busy_target_id, found),
            failed=_operation(node.failed, node.failed_target_id, found),
        )
    held = connection.execute(select(slots.c.scope, func.count()).group_by(slots.c.scope)).all()
    memory = Memory(
        nodes=FrozenDict(sorted(remembered.items())),
        applied_revision=row.applied_revision,
        slots=FrozenDict({row[0]: row[1] for row in sorted(held)}),
    )
    return Recalled(memory, row.generation, _in_use(memory, found))


def read_operations(
    connection: Connection, node: str | None, count_max: int
) -> tuple[Operation, ...]:
    """The newest operations, newest first; of one node where it is given."""
    query = (
        select(operations.c.body, operations.c.target_id)
        .order_by(operations.c.created_at.desc(), operations.c.id.desc())
        .limit(count_max)
    )
    if node is not None:
        query = query.where(operations.c.node == node)
    return _operations(connection, query)


def read_operation(connection: Connection, key: str) -> Operation | None:
    """One operation by its id."""
    query = select(operations.c.body, operations.c.target_id).where(operations.c.id == key)
    return next(iter(_operations(connection, query)), None)


def read_journal(
    connection: Connection, node: str | None, count_max: int
) -> tuple[JournalEntry, ...]:
    """The newest journal lines, newest first; of one node where it is given."""
    query = select(journal).order_by(journal.c.seq.desc()).limit(count_max)
    if node is not None:
        query = query.where(journal.c.node == node)
    return tuple(
        JournalEntry(
            seq=row.seq,
            at=row.at,
            node=row.node,
            event=row.event,
            operation_id=row.operation_id,
            stage=Stage(row.stage) if row.stage is not None else None,
            effect=effect_from_text(row.effect),
            fence=row.fence,
            detail=row.detail,
        )
        for row in connection.execute(query)
    )


def _nodes_above(generation: int) -> Select[tuple[object, ...]]:
    busy, failed = operations.alias("busy"), operations.alias("failed")
    return (
        select(
            nodes,
            busy.c.body.label("busy"),
            busy.c.target_id.label("busy_target_id"),
            failed.c.body.label("failed"),
            failed.c.target_id.label("failed_target_id"),
        )
        .join_from(nodes, busy, busy.c.busy_node == nodes.c.node, isouter=True)
        .join(failed, failed.c.id == nodes.c.failed_id, isouter=True)
        .where(nodes.c.generation > generation)
    )


def _operations(connection: Connection, query: Select[tuple[str, str]]) -> tuple[Operation, ...]:
    rows = connection.execute(query).all()
    found = _load_targets(connection, {row.target_id for row in rows}, {})
    return tuple(operation_from_text(row.body, found[row.target_id]) for row in rows)


def _operation(
    body: str | None, target_id: str | None, found: Mapping[str, Target]
) -> Operation | None:
    if body is None or target_id is None:
        return None
    return operation_from_text(body, found[target_id])


def _load_targets(
    connection: Connection, keys: Iterable[str], known: Mapping[str, Target]
) -> dict[str, Target]:
    """The known targets and those of `keys`: one object for each, however many nodes share it."""
    found = dict(known)
    for some in chunks(set(keys) - known.keys()):
        query = select(targets.c.id, targets.c.body).where(targets.c.id.in_(some))
        for key, body in connection.execute(query):
            found[key] = target_from_text(body)
    return found


def _in_use(memory: Memory, found: Mapping[str, Target]) -> Mapping[str, Target]:
    """The targets that the memory still holds, so that a daemon of years keeps no others."""
    held: set[int] = set()
    for node in memory.nodes.values():
        for holder in (node.applied, node.former, node.operation, node.failed):
            if holder is not None:
                held.add(id(holder.target))
    return {key: target for key, target in found.items() if id(target) in held}
