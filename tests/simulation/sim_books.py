"""The store as the oracles read it: with plain SQL, through SQLAlchemy, on either database."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool, StaticPool

from metalwright.store import Store

_LINES = (
    "SELECT seq, node, event, operation_id, effect, detail FROM journal"
    " WHERE seq > {after} ORDER BY seq"
)
_LOOSE = (
    "SELECT scope FROM slots WHERE operation_id NOT IN"
    " (SELECT id FROM operations WHERE state = 'running')"
)
_UNFINISHED = "SELECT node, body FROM operations WHERE state IN ('pending', 'running')"


class Books:
    """A reader of one store, beside the daemon."""

    def __init__(self, url: str) -> None:
        # One connection for SQLite, whose transactions do not outlive a statement.
        pool = StaticPool if make_url(url).drivername.startswith("sqlite") else NullPool
        engine = create_engine(url, poolclass=pool, isolation_level="AUTOCOMMIT")
        self._engine, self._connection = engine, engine.connect()

    def close(self) -> None:
        """Let go of the store."""
        self._connection.close()
        self._engine.dispose()

    def _rows(self, query: str) -> list[Any]:
        return list(self._connection.exec_driver_sql(query))

    def lines(self, after: int) -> list[tuple[Any, ...]]:
        """The journal's lines after a number."""
        return self._rows(_LINES.format(after=after))

    def unsound(self) -> list[str]:
        """What must never be: slots without an operation that runs, operations without an end."""
        found = [f"a slot of {scope} without an operation" for (scope,) in self._rows(_LOOSE)]
        for node, text in self._rows(_UNFINISHED):
            body = json.loads(text)
            owned = body.get("holder") and body.get("commit", {}).get("id") and body.get("stages")
            if not owned:
                found.append(f"{node}: an operation without an owner")
            running = body.get("state") == "running"
            if running and (body.get("stage") is None or not body.get("stage_deadline_at")):
                found.append(f"{node}: an operation that runs without a deadline")
        return found


_NEW: dict[str, bytes] = {}


def new_store(path: Path) -> None:
    """A migrated store; migrating takes longer than a whole run of a small fleet."""
    if "new" not in _NEW:
        Store.open(f"sqlite:///{path}").close()
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        _NEW["new"] = path.read_bytes()
        return
    path.write_bytes(_NEW["new"])
