"""One write transaction: journal lines in their order, marks on what changed, targets, and what is
written all at once.

Rows that change over an operation's life are gathered and written with few statements, because a
statement costs more than a row. A reader of the same transaction has them written first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Executable, insert, select, update
from sqlalchemy.engine import CursorResult

from metalwright.errors import FencedError
from metalwright.model.desired import Target
from metalwright.model.operation import Applied, Operation
from metalwright.store.codec import (
    REPLACED,
    applied_to_text,
    effect_to_text,
    holder_to_text,
    storable,
    target_to_text,
)
from metalwright.store.prepared import instant_text
from metalwright.store.schema import (
    SCHEMA_REVISION,
    meta,
    nodes,
    operations,
    targets,
)
from metalwright.store.standing import Standing, load_standing
from metalwright.store.statements import (
    FIND_TARGET,
    FREE_SLOT,
    LOCK_META,
    TAKE_SLOT,
    WRITE_LINE,
    WRITE_OPERATION,
    operation_columns,
    slot_row,
    write_node,
)

CHUNK: Final = 500
"""Values in one `IN (...)`: SQLite of old allows 999 variables."""


def chunks(values: Iterable[str]) -> Iterable[list[str]]:
    """The distinct values, sorted, in lists of `CHUNK` at most."""
    ordered = sorted(set(values))
    return (ordered[start : start + CHUNK] for start in range(0, len(ordered), CHUNK))


class Pages:
    """One transaction's hold of the store; making it takes the writers' lock (`meta`).

    `claim` is epoch and instant of the store that writes; `None` if it never claimed. `written`
    gathers the operations that were written, with their texts, so that whoever reads the memory
    next need not parse what this process wrote.

    Raises:
        FencedError: another process has claimed the store since, or has upgraded it.
    """

    def __init__(
        self,
        connection: Connection,
        claim: tuple[int, datetime] | None,
        standing: Standing | None,
        written: dict[str, tuple[str, Operation]],
    ) -> None:
        self.connection = connection
        self._written = written
        row = connection.execute(LOCK_META).one()
        if row.schema != SCHEMA_REVISION:
            raise FencedError(
                f"the store was upgraded to schema {row.schema} while this process ran, which knows"
                f" {SCHEMA_REVISION}: it stops; install and start the version that upgraded it"
            )
        self._claimed = row.epoch > 0
        if claim is not None and claim != (row.epoch, row.claimed_at):
            raise FencedError(fenced(row))
        self._drives = claim is not None
        if standing is not None and standing.generation != row.generation:
            standing = None  # somebody else has written
        self._standing = standing
        self._generation_before: int = row.generation
        self.generation: int = row.generation + 1
        self._meta: dict[str, Any] = {}
        self._driven: int = row.driven + (1 if self._drives else 0)
        self._seq: int = row.journal_seq
        self._lines: list[dict[str, Any]] = []
        self._nodes: dict[str, dict[str, Any]] = {}
        self._operations: dict[str, dict[str, Any]] = {}
        self._freed: set[tuple[str, int]] = set()
        self._granted: dict[tuple[str, int], tuple[str, datetime]] = {}
        self._targets: dict[int, tuple[Target, str]] = {}
        self.changed = False

    def must_drive(self) -> None:
        """Make sure that engine steps may be written with this store.

        Raises:
            FencedError: somebody claimed it to drive, and this is not he.
        """
        if self._claimed and not self._drives:
            raise FencedError("another process drives with this store: only it writes steps")

    @property
    def standing(self) -> Standing:
        """What engine steps are compared with. Raises FencedError like `must_drive`."""
        self.must_drive()
        if self._standing is None:
            self.flush()
            self._standing = load_standing(self.connection, self._generation_before)
        return self._standing

    def forget_standing(self) -> None:
        """What is written now is not followed: the next step reads it anew."""
        self._standing = None

    def standing_after(self) -> Standing | None:
        """What stands once this is committed."""
        if self._standing is not None and self.changed:
            self._standing.generation = self.generation
        return self._standing

    def run(self, statement: Executable, rows: Any = None) -> CursorResult[Any]:
        """Execute a statement after all that was gathered, so that it sees it."""
        self.flush()
        return self.connection.execute(statement, rows)

    def flush(self) -> None:
        """Write what was gathered, each table in one or two statements."""
        to = self.connection
        if self._operations:
            WRITE_OPERATION.run(to, list(self._operations.values()))
        if self._freed:
            freed = [{"of": scope, "no": number} for scope, number in sorted(self._freed)]
            FREE_SLOT.run(to, freed)
        if self._granted:
            TAKE_SLOT.run(to, [slot_row(*item) for item in self._granted.items()])
        for columns, rows in self._node_rows().items():
            write_node(columns).run(to, rows)
        if self._lines:
            WRITE_LINE.run(to, self._lines)
        if self._meta or self.changed:
            values: dict[str, Any] = {"generation": self.generation, "journal_seq": self._seq}
            values |= {"driven": self._driven} | self._meta
            to.execute(update(meta).values(values))
        self._operations, self._freed, self._granted = {}, set(), {}
        self._nodes, self._lines, self._meta = {}, [], {}

    def _node_rows(self) -> Mapping[tuple[str, ...], list[dict[str, Any]]]:
        """The changes of nodes by the columns that they change."""
        rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for node, values in sorted(self._nodes.items()):
            row = {"of": node, "new_generation": self.generation}
            for column, value in values.items():
                row[f"new_{column}"] = instant_text(value) if type(value) is datetime else value
            rows.setdefault(tuple(sorted(values)), []).append(row)
        return rows

    def set_meta(self, **values: Any) -> None:
        """Change the row of `meta`; the memory is read anew."""
        self._meta |= values
        self.changed = True

    def update_node(self, node: str, values: Mapping[str, Any]) -> None:
        """Change a node's row; its memory is read anew."""
        self._nodes.setdefault(node, {}).update(values)
        self.changed = True

    def write_operation(self, operation: Operation) -> None:
        """Change an operation's row."""
        values = operation_columns(operation)
        self.standing.put(operation)
        if operation.unfinished and REPLACED not in values["body"]:
            self._written[operation.id] = (values["body"], operation)
        else:
            self._written.pop(operation.id, None)
        row = {f"new_{column}": value for column, value in values.items()}
        row["of"] = operation.id
        self._operations[operation.id] = row
        self.changed = True

    def take_slots(self, operation: Operation, scopes: Iterable[str], at: datetime) -> str:
        """Take the lowest free slot in each scope; their names, for the journal."""
        names = []
        for scope in scopes:
            number = self.standing.take(scope, operation.id)
            self._granted[scope, number] = (operation.id, at)
            names.append(f"{scope}#{number}")
        return ", ".join(names)

    def release_slots(self, operation: Operation) -> None:
        """Free the slots of an operation."""
        for key in self.standing.release(operation.id):
            if self._granted.pop(key, None) is None:
                self._freed.add(key)

    def note(self, operation: Operation, event: str, at: datetime, detail: str) -> None:
        """A journal line with the operation's stage, intent and fence."""
        self.line(at, operation.node, event, operation.id, detail=detail)
        line = self._lines[-1]
        line["stage"] = operation.stage
        line["effect"] = effect_to_text(operation.intent)
        line["fence"] = operation.fence

    def line(
        self, at: datetime, node: str, event: str, operation_id: str | None = None, detail: str = ""
    ) -> None:
        """A journal line; the memory of its node is read anew."""
        self._seq += 1
        self.update_node(node, {})
        self._lines.append(
            {
                "seq": self._seq,
                "at": instant_text(at),
                "node": node,
                "event": event,
                "operation_id": operation_id,
                "stage": None,
                "effect": None,
                "fence": 0,
                "detail": storable(detail),
            }
        )

    def busy(self, names: Iterable[str]) -> set[str]:
        """Those of the nodes that have an unfinished operation."""
        found: set[str] = set()
        for some in chunks(names):
            column = operations.c.busy_node
            found.update(self.run(select(column).where(column.in_(some))).scalars())
        return found

    def known(self, names: Iterable[str]) -> set[str]:
        """Those of the nodes that are adopted."""
        found: set[str] = set()
        for some in chunks(names):
            column = nodes.c.node
            found.update(self.run(select(column).where(column.in_(some))).scalars())
        return found

    def applied_columns(self, applied: Applied | None) -> dict[str, str | int | None]:
        """What an applied state is in the row of a node; its target is written first.

        An assignment that has it is its tenant. A pool leaves the tenant as it was.
        """
        if applied is None:
            return {"applied": None, "target_id": None, "in_doubt": 0, "wiped": 0}
        columns: dict[str, str | int | None] = {
            "applied": applied_to_text(applied),
            "target_id": self.target(applied.target),
            "in_doubt": 0,
            "wiped": 0,
        }
        if applied.holder.kind == "Assignment":
            columns["tenant"] = holder_to_text(applied.holder)
        return columns

    def target(self, target: Target) -> str:
        """The id of a target, written where the store does not have it yet."""
        if id(target) not in self._targets:
            key, body = target_to_text(target)
            run = self.connection.execute
            if run(FIND_TARGET, {"key": key}).one_or_none() is None:
                run(insert(targets).values(id=key, body=body))
            self._targets[id(target)] = (target, key)  # the target is kept, so its id is its own
        return self._targets[id(target)][1]


def fenced(row: Any) -> str:
    """What is said to a store that was superseded. `row` is that of `meta`."""
    since = f"{row.claimed_at:%Y-%m-%d %H:%M:%S} UTC" if row.claimed_at is not None else "long ago"
    return f"{row.claimed_by or 'nobody'} drives with this store since {since}: this process stops"
