"""Statements that are written for many rows: their text is made once for each kind of database.

For the few statements of every step the library's own way costs more than the database does: it
works out and converts the parameters of each row anew. Here rows have their final values already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.dml import UpdateBase

from metalwright.errors import StoreError
from metalwright.store.schema import Instant

Row = dict[str, Any]
_instant = Instant()


class Prepared:
    """One statement with two parameters or more.

    `keys` are the columns of an `INSERT`; other statements name their parameters themselves.
    """

    def __init__(self, statement: UpdateBase, keys: Sequence[str] = ()) -> None:
        self._statement, self._keys = statement, list(keys) or None
        self._made: dict[str, tuple[str, Callable[[Row], Any] | None]] = {}

    def run(self, connection: Connection, rows: list[Row]) -> None:
        """Execute it for each row, a mapping of all parameters to values that a driver takes."""
        name = connection.dialect.name
        if name not in self._made:
            self._made[name] = self._make(connection)
        words, ordered = self._made[name]
        connection.exec_driver_sql(words, [ordered(row) for row in rows] if ordered else rows)

    def _make(self, connection: Connection) -> tuple[str, Callable[[Row], Any] | None]:
        compiled: Any = self._statement.compile(dialect=connection.dialect, column_keys=self._keys)
        return compiled.string, itemgetter(*compiled.positiontup) if compiled.positional else None


@lru_cache(maxsize=1_024)
def instant_text(at: datetime) -> str:
    """An instant as the tables have it. Raises StoreError for one without a zone."""
    try:
        return str(_instant.process_bind_param(at, None))
    except ValueError as error:
        raise StoreError(f"the store refused a value: {error}") from error
