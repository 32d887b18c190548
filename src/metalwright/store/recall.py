"""Reads the memory of the fleet, and only what changed since it was read last.

Each node carries the generation of the transaction that changed it last. A memory of ten thousand
nodes is read once; after that a cycle asks for one number, and for the nodes above the one it
knows, whoever changed them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, Select, bindparam, func, select

from metalwright.model.desired import Target
from metalwright.model.frozen import FrozenDict
from metalwright.model.operation import (
    JournalEntry,
    LocalHold,
    Memory,
    NodeMemory,
    Operation,
    Quarantined,
    Stage,
    StageTimes,
)
from metalwright.model.rollout import ROLLOUT_OVER
from metalwright.store.codec import (
    applied_from_text,
    effect_from_text,
    holder_from_text,
    operation_from_text,
    rollout_from_text,
    target_from_text,
)
from metalwright.store.pages import chunks
from metalwright.store.schema import (
    consents,
    journal,
    meta,
    nodes,
    operations,
    rollouts,
    slots,
    stage_times,
    starts,
    targets,
)

Written: TypeAlias = Mapping[str, tuple[str, Operation]]


@dataclass(frozen=True, slots=True)
class Recalled:
    """A memory, the generation that it shows, and the targets that it holds by their id."""

    memory: Memory = field(default_factory=Memory)
    generation: int = -1
    targets: Mapping[str, Target] = field(default_factory=dict)


def recall(connection: Connection, known: Recalled, written: Written) -> Recalled:
    """The memory now, made from the one known: the same value when nothing was written since.

    `written` are the operations that this process wrote itself, with their texts: where the text in
    the store is still that one, it need not be parsed.
    """
    row = connection.execute(select(meta)).one()
    if row.generation == known.generation:
        return known
    if row.forgotten_generation > known.generation or row.generation < known.generation:
        known = Recalled()
    changed = connection.execute(_NODES_ABOVE, {"known": known.generation}).all()
    keys = {
        key
        for node in changed
        for key in (node.target_id, node.busy_target_id, node.failed_target_id)
        if key is not None
    }
    found = _load_targets(connection, keys, known.targets)
    remembered = dict(known.memory.nodes)
    for node in changed:
        remembered[node.node] = _node(node, found, written)
    if len(remembered) > len(known.memory.nodes):
        remembered = dict(sorted(remembered.items()))
    held = connection.execute(_SLOTS_HELD).all()
    memory = Memory(
        nodes=FrozenDict(remembered),
        applied_revision=row.applied_revision,
        slots=FrozenDict({row[0]: row[1] for row in held}),
        **_kept(connection, row, known),
    )
    more = len(found) > len(known.targets)
    return Recalled(memory, row.generation, _in_use(memory, found) if more else found)


def _node(row: Row[Any], found: Mapping[str, Target], written: Written) -> NodeMemory:
    known_as = None if row.applied is None else applied_from_text(row.applied, found[row.target_id])
    hold = quarantine = None
    if row.hold_at is not None:
        hold = LocalHold(reason=row.hold_reason, by=row.hold_by, at=row.hold_at)
    if row.quarantine_at is not None:
        quarantine = Quarantined(reason=row.quarantine_reason, at=row.quarantine_at)
    busy = failed = None
    if row.busy is not None:
        text, own = written.get(row.busy_id, ("", None))
        if own is None or text != row.busy or own.cancelled_by != (row.busy_cancelled_by or ""):
            own = operation_from_text(row.busy, found[row.busy_target_id], row.busy_cancelled_by)
        busy = own
    if row.failed is not None:
        target = found[row.failed_target_id]
        failed = operation_from_text(row.failed, target, row.failed_cancelled_by)
    return NodeMemory(
        node=row.node,
        adopted_at=row.adopted_at,
        adopted_by=row.adopted_by,
        applied=None if row.in_doubt else known_as,
        former=known_as if row.in_doubt else None,
        overwritten=bool(row.wiped),
        tenant=holder_from_text(row.tenant) if row.tenant is not None else None,
        operation=busy,
        failed=failed,
        failures=row.failures,
        hold=hold,
        quarantine=quarantine,
    )


def _kept(connection: Connection, row: Row[Any], known: Recalled) -> dict[str, Any]:
    """What the memory has beside nodes and slots; what did not change is not read again."""
    memory, run = known.memory, connection.execute
    kept: dict[str, Any] = {
        "rollouts": memory.rollouts,
        "consents": memory.consents,
        "starts": memory.starts,
        "stage_times": memory.stage_times,
    }
    if row.rollouts_generation > known.generation:
        kept["rollouts"] = FrozenDict(
            {key: rollout_from_text(body) for key, body in run(_ROLLOUTS)}
        )
    if row.consents_generation > known.generation:
        kept["consents"] = frozenset(run(select(consents.c.key)).scalars())
    if row.starts_generation > known.generation:
        rows = run(select(starts.c.bucket, starts.c.at).order_by(starts.c.bucket))
        kept["starts"] = FrozenDict({row.bucket: row.at for row in rows})
    if row.times_generation > known.generation:
        learnt = {
            key: StageTimes(samples_s=tuple(sorted(json.loads(samples))))
            for key, samples in run(_TIMES_ABOVE, {"known": known.generation})
        }
        kept["stage_times"] = FrozenDict(sorted({**memory.stage_times, **learnt}.items()))
    return kept


def read_operations(
    connection: Connection, node: str | None, count_max: int
) -> tuple[Operation, ...]:
    """The newest operations, newest first; of one node where it is given."""
    query = _OPERATIONS.order_by(operations.c.created_at.desc(), operations.c.id.desc()).limit(
        count_max
    )
    if node is not None:
        query = query.where(operations.c.node == node)
    return _operations(connection, query)


def read_operation(connection: Connection, key: str) -> Operation | None:
    """One operation by its id."""
    query = _OPERATIONS.where(operations.c.id == key)
    return next(iter(_operations(connection, query)), None)


def read_unfinished(connection: Connection) -> tuple[Operation, ...]:
    """All that is pending or runs, by the name of its node."""
    query = _OPERATIONS.where(operations.c.busy_node.is_not(None)).order_by(operations.c.node)
    return _operations(connection, query)


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


def _nodes_above() -> Select[Any]:
    busy, failed = operations.alias("busy"), operations.alias("failed")
    return (
        select(
            nodes,
            busy.c.id.label("busy_id"),
            busy.c.body.label("busy"),
            busy.c.target_id.label("busy_target_id"),
            busy.c.cancelled_by.label("busy_cancelled_by"),
            failed.c.body.label("failed"),
            failed.c.target_id.label("failed_target_id"),
            failed.c.cancelled_by.label("failed_cancelled_by"),
        )
        .join_from(nodes, busy, busy.c.busy_node == nodes.c.node, isouter=True)
        .join(failed, failed.c.id == nodes.c.failed_id, isouter=True)
        .where(nodes.c.generation > bindparam("known"))
    )


def _operations(connection: Connection, query: Select[Any]) -> tuple[Operation, ...]:
    rows = connection.execute(query).all()
    found = _load_targets(connection, {row.target_id for row in rows}, {})
    return tuple(
        operation_from_text(row.body, found[row.target_id], row.cancelled_by) for row in rows
    )


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


_OPERATIONS = select(operations.c.body, operations.c.target_id, operations.c.cancelled_by)
_NODES_ABOVE = _nodes_above()
_SLOTS_HELD = select(slots.c.scope, func.count()).group_by(slots.c.scope).order_by(slots.c.scope)
_ROLLOUTS = (
    select(rollouts.c.id, rollouts.c.body)
    .where(rollouts.c.state.not_in([state.value for state in ROLLOUT_OVER]))
    .order_by(rollouts.c.id)
)
_TIMES_ABOVE = select(stage_times.c.stage_key, stage_times.c.samples).where(
    stage_times.c.generation > bindparam("known")
)
