"""What every write to the ledger needs: journal lines in their order, marks on what changed,
targets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select, update

from metalwright.model.desired import Target
from metalwright.model.operation import Applied, Operation
from metalwright.store.codec import applied_to_text, effect_to_text, target_to_text
from metalwright.store.schema import journal, meta, nodes, operations, targets

CHUNK: Final = 500
"""Values in one `IN (...)`: SQLite of old allows 999 variables."""


def chunks(values: Iterable[str]) -> Iterable[list[str]]:
    """The distinct values, sorted, in lists of `CHUNK` at most."""
    ordered = sorted(set(values))
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))


class Pages:
    """One transaction's hold of the ledger; making it takes the writers' lock (`meta`)."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        connection.execute(update(meta).values(generation=meta.c.generation + 1))
        row = connection.execute(select(meta.c.generation, meta.c.journal_seq)).one()
        self.generation: int = row.generation
        self._seq: int = row.journal_seq
        self._lines: list[dict[str, Any]] = []
        self._touched: set[str] = set()
        self._targets: dict[int, tuple[Target, str]] = {}

    def flush(self) -> None:
        """Write the journal lines and mark the changed nodes, each in one statement."""
        run = self.connection.execute
        if self._lines:
            run(insert(journal), self._lines)
            run(update(meta).values(journal_seq=self._seq))
        if self._touched:
            marked = [{"touched": node} for node in sorted(self._touched)]
            statement = update(nodes).where(nodes.c.node == bindparam("touched"))
            run(statement.values(generation=self.generation), marked)
        self._lines, self._touched = [], set()

    def update_node(self, node: str, values: Mapping[str, Any]) -> None:
        """Change a node's row; its memory is read anew."""
        self.connection.execute(update(nodes).where(nodes.c.node == node).values(**values))
        self._touched.add(node)

    def note(self, operation: Operation, event: str, at: datetime, detail: str) -> None:
        """A journal line with the operation's stage, intent and fence."""
        self.line(at, operation.node, event, operation.id, detail=detail)
        self._lines[-1] |= {
            "stage": operation.stage,
            "effect": effect_to_text(operation.intent),
            "fence": operation.fence,
        }

    def line(
        self, at: datetime, node: str, event: str, operation_id: str | None = None, detail: str = ""
    ) -> None:
        """A journal line; the memory of its node is read anew."""
        self._seq += 1
        self._touched.add(node)
        self._lines.append(
            {
                "seq": self._seq,
                "at": at,
                "node": node,
                "event": event,
                "operation_id": operation_id,
                "stage": None,
                "effect": None,
                "fence": 0,
                "detail": detail,
            }
        )

    def busy(self, names: Iterable[str]) -> set[str]:
        """Those of the nodes that have an unfinished operation."""
        found: set[str] = set()
        for some in chunks(names):
            column = operations.c.busy_node
            found.update(self.connection.execute(select(column).where(column.in_(some))).scalars())
        return found

    def known(self, names: Iterable[str]) -> set[str]:
        """Those of the nodes that are adopted."""
        found: set[str] = set()
        for some in chunks(names):
            column = nodes.c.node
            found.update(self.connection.execute(select(column).where(column.in_(some))).scalars())
        return found

    def applied_columns(self, applied: Applied | None) -> dict[str, str | int | None]:
        """What an applied state is in the row of a node; its target is written first."""
        if applied is None:
            return {"applied": None, "target_id": None, "in_doubt": 0}
        return {
            "applied": applied_to_text(applied),
            "target_id": self.target(applied.target),
            "in_doubt": 0,
        }

    def target(self, target: Target) -> str:
        """The id of a target, written where the store does not have it yet."""
        if id(target) not in self._targets:
            key, body = target_to_text(target)
            run = self.connection.execute
            if run(select(targets.c.id).where(targets.c.id == key)).one_or_none() is None:
                run(insert(targets).values(id=key, body=body))
            self._targets[id(target)] = (target, key)  # the target is kept, so its id is its own
        return self._targets[id(target)][1]
