"""The statements of a write transaction, made once, and rows as they take them."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from metalwright.model.operation import Operation
from metalwright.store.codec import operation_to_text
from metalwright.store.prepared import Prepared, instant_text
from metalwright.store.schema import (
    journal,
    meta,
    nodes,
    operations,
    schema_version,
    slots,
    targets,
)


def operation_columns(operation: Operation) -> dict[str, Any]:
    """What changes in the row of an operation over its life."""
    return {
        "busy_node": operation.node if operation.unfinished else None,
        "state": operation.state.value,
        "fence": operation.fence,
        "body": operation_to_text(operation),
    }


def slot_row(key: tuple[str, int], holder: tuple[str, datetime]) -> dict[str, Any]:
    """A slot and the operation that holds it, since when."""
    (scope, number), (operation_id, at) = key, holder
    granted_at = instant_text(at)
    return {
        "scope": scope,
        "slot_no": number,
        "operation_id": operation_id,
        "granted_at": granted_at,
    }


@lru_cache(maxsize=64)
def write_node(columns: tuple[str, ...]) -> Prepared:
    """The statement that changes these columns of a node, made once."""
    values: dict[str, Any] = {
        column: bindparam(f"new_{column}") for column in (*columns, "generation")
    }
    return Prepared(update(nodes).where(nodes.c.node == bindparam("of")).values(values))


LOCK_META = select(
    meta.c.generation,
    meta.c.journal_seq,
    meta.c.epoch,
    meta.c.claimed_by,
    meta.c.claimed_at,
    meta.c.driven,
    select(schema_version.c.version_num).scalar_subquery().label("schema"),
).with_for_update()  # SQLite, where BEGIN IMMEDIATE has locked already, has no words for it
FIND_TARGET = select(targets.c.id).where(targets.c.id == bindparam("key"))
WRITE_LINE = Prepared(insert(journal), journal.c.keys())
TAKE_SLOT = Prepared(insert(slots), slots.c.keys())
FREE_SLOT = Prepared(
    delete(slots).where(slots.c.scope == bindparam("of"), slots.c.slot_no == bindparam("no"))
)
_BODY = ("busy_node", "state", "fence", "body")
WRITE_OPERATION = Prepared(
    update(operations)
    .where(operations.c.id == bindparam("of"))
    .values({column: bindparam(f"new_{column}") for column in _BODY})
)
