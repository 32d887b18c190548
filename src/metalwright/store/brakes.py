"""What operators do to nodes: adopt, forget, hold, resume, cancel, retry; and the quarantine, which
the same words lift.

These are the writes of the command line beside a running daemon. None of them is a step of an
operation, so none takes or frees a slot: `cancel` only marks, and the engine sees to the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, insert, or_, select, update

from metalwright.errors import StoreError
from metalwright.model.operation import Applied
from metalwright.store.codec import storable
from metalwright.store.pages import Pages, chunks
from metalwright.store.schema import nodes, operations


def adopt(pages: Pages, records: Mapping[str, Applied | None], by: str, at: datetime) -> None:
    """Take nodes over. Raises StoreError when an operation on one of them is under way."""
    busy = pages.busy(records)
    if busy:
        raise StoreError(f"an operation is under way on {', '.join(sorted(busy))}")
    known = pages.known(records)
    fresh: list[dict[str, Any]] = []
    for node, applied in records.items():
        values = pages.applied_columns(applied) | {
            "adopted_at": at,
            "adopted_by": by,
            "failed_id": None,
        }
        if node in known:
            pages.update_node(node, values)
        else:
            fresh.append({"node": node, "generation": pages.generation, "tenant": None} | values)
        what = "as it is" if applied is not None else "to be rebuilt"
        pages.line(at, node, "adopted", detail=f"{what}, by {by}")
    if fresh:
        # Before the lines: what is gathered for a node changes its row.
        pages.connection.execute(insert(nodes), fresh)


def forget(pages: Pages, node: str, by: str, at: datetime) -> bool:
    """Let a node go; false when it was not adopted. Raises StoreError while it is busy."""
    if pages.busy([node]):
        raise StoreError(f"an operation is under way on {node}")
    gone = pages.run(delete(nodes).where(nodes.c.node == node)).rowcount
    if gone:
        pages.forget_standing()
        pages.set_meta(forgotten_generation=pages.generation)
        pages.line(at, node, "released", detail=f"by {by}")
    return gone > 0


def retry_failed(pages: Pages, names: Iterable[str], by: str, at: datetime) -> tuple[str, ...]:
    """Forget the failures and cancellations of these nodes; the names of those that had one."""

    def mend(row: Row[Any]) -> None:
        pages.update_node(row.node, {"failed_id": None})
        pages.line(at, row.node, "retry", row.failed_id, detail=f"asked for by {by}")

    return _each(pages, names, nodes.c.failed_id.is_not(None), mend)


def hold(pages: Pages, names: Iterable[str], reason: str, by: str, at: datetime) -> tuple[str, ...]:
    """Put a local hold on nodes that are adopted, in place of an earlier one; their names."""

    def put(row: Row[Any]) -> None:
        values = {"hold_reason": storable(reason), "hold_by": by, "hold_at": at}
        pages.update_node(row.node, values)
        pages.line(at, row.node, "hold", detail=f"by {by}: {reason}")

    return _each(pages, names, nodes.c.node.is_not(None), put)


def drop_holds(pages: Pages, names: Iterable[str], at: datetime, detail: str) -> None:
    """Take local holds off, for the reason that `detail` gives."""

    def drop(row: Row[Any]) -> None:
        pages.update_node(row.node, _NO_HOLD)
        pages.line(at, row.node, "hold", detail=detail)

    _each(pages, names, nodes.c.hold_at.is_not(None), drop)


def quarantine(pages: Pages, node: str, reason: str, at: datetime) -> None:
    """Leave a node alone from now on. Nothing happens where it is in quarantine already."""

    def put(row: Row[Any]) -> None:
        pages.update_node(row.node, {"quarantine_reason": storable(reason), "quarantine_at": at})
        pages.line(at, row.node, "quarantined", detail=reason)

    _each(pages, [node], nodes.c.quarantine_at.is_(None), put)


def resume(pages: Pages, names: Iterable[str], by: str, at: datetime) -> tuple[str, ...]:
    """Lift local holds and quarantines, and count failures from none; those that had a brake."""
    lifted: list[str] = []

    def lift(row: Row[Any]) -> None:
        pages.update_node(row.node, _NO_HOLD | _NO_QUARANTINE | {"failures": 0})
        brakes = [
            name
            for name, since in (("hold", row.hold_at), ("quarantine", row.quarantine_at))
            if since is not None
        ]
        if brakes:
            lifted.append(row.node)
        what = " and ".join(brakes) or "failures"
        pages.line(at, row.node, "resumed", detail=f"{what} lifted by {by}")

    braked = or_(
        nodes.c.hold_at.is_not(None), nodes.c.quarantine_at.is_not(None), nodes.c.failures > 0
    )
    _each(pages, names, braked, lift)
    return tuple(lifted)


def cancel(pages: Pages, names: Iterable[str], by: str, at: datetime) -> tuple[str, ...]:
    """Mark unfinished operations so that the engine ends them; the nodes of those marked now."""
    marked: list[str] = []
    for some in chunks(names):
        rows = pages.run(
            select(operations.c.id, operations.c.node)
            .where(operations.c.busy_node.in_(some), operations.c.cancelled_by.is_(None))
            .order_by(operations.c.node)
        ).all()
        if rows:
            mark = update(operations).where(operations.c.id.in_([row.id for row in rows]))
            pages.run(mark.values(cancelled_by=storable(by)))
        for row in rows:
            pages.line(at, row.node, "cancel", row.id, detail=f"asked for by {by}")
            marked.append(row.node)
    if marked:
        pages.forget_standing()
    return tuple(marked)


def _each(
    pages: Pages,
    names: Iterable[str],
    which: ColumnElement[bool],
    change: Callable[[Row[Any]], None],
) -> tuple[str, ...]:
    """Change each of these nodes whose row is such; their names."""
    changed: list[str] = []
    for some in chunks(names):
        rows: Sequence[Row[Any]] = pages.run(
            select(nodes).where(nodes.c.node.in_(some), which).order_by(nodes.c.node)
        ).all()
        for row in rows:
            change(row)
            changed.append(row.node)
    if changed:
        pages.forget_standing()
    return tuple(changed)


_NO_HOLD = {"hold_reason": None, "hold_by": None, "hold_at": None}
_NO_QUARANTINE = {"quarantine_reason": None, "quarantine_at": None}
