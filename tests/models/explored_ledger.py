"""The real store as a function: from one content of the database and one call to the next content.

The database lives in memory and is copied out and in as bytes, so any content that was ever reached
can be gone on from. Contents are told apart by what decides anything: operations, slots, marks on
nodes; not by the journal, which is checked here to explain the slots of every content.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from model_samples import APPLIED, START

from metalwright.errors import FencedError
from metalwright.model.operation import Memory
from metalwright.store import Store
from metalwright.store.connect import open_engine
from metalwright.store.migrate import migrate

_DECIDES = (
    "SELECT id, node, state, fence, body FROM operations ORDER BY id",
    "SELECT scope, slot_no, operation_id FROM slots ORDER BY scope, slot_no",
    "SELECT node, in_doubt, failed_id, applied FROM nodes ORDER BY node",
)
FENCED = "refused, another daemon has claimed the store"
_GIVES_BACK = ("retry", "active", "failed", "cancelled", "superseded")


class Writer(StrEnum):
    """Who calls: the process that claimed the store last, or one that claimed it before."""

    CURRENT = "current"
    OUTDATED = "outdated"


class ExploredLedger:
    """Contents by a small number each, and what every call made of them.

    `call_of` makes the call of a store from a step's name and argument, `wrap` may put something
    between the protocol and the store. Without `claims` no daemon claims the store.
    """

    def __init__(
        self,
        nodes: tuple[str, ...],
        call_of: Callable[[str, Any], Callable[[Any], Any]],
        wrap: Callable[[Store], Any] = lambda store: store,
        *,
        claims: bool = True,
    ) -> None:
        self._call_of, self._wrap, self._claims = call_of, wrap, claims
        self._engine = open_engine("sqlite://")
        migrate(self._engine)
        pooled = self._engine.raw_connection()
        assert isinstance(pooled.driver_connection, sqlite3.Connection)
        self._database = pooled.driver_connection
        pooled.close()
        self._images: list[bytes] = []
        self._found: list[tuple[Any, ...]] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self._after: dict[Any, tuple[int, Any]] = {}
        self._memories: dict[int, Memory] = {}
        Store(self._engine).adopt(dict.fromkeys(nodes, APPLIED), "ada", START)
        self.first = self._keep()

    def close(self) -> None:
        self._engine.dispose()

    def __len__(self) -> int:
        return len(self._images)

    @property
    def writes(self) -> int:
        """The distinct calls of the store that were made."""
        return len(self._after)

    def write(self, content: int, writer: Writer, what: str, argument: Any) -> tuple[int, Any]:
        """The content after a call, and its result; each distinct one is made once."""
        key = (content, writer, what, argument)
        if key not in self._after:
            self._database.deserialize(self._images[content])
            store = Store(self._engine)
            if self._claims:
                store.claim("a daemon", START)
                if writer is Writer.OUTDATED:
                    Store(self._engine).claim("another daemon", START)
            try:
                result = self._call_of(what, argument)(self._wrap(store))
            except FencedError:
                result = FENCED
            self._after[key] = (self._keep(), result)
        return self._after[key]

    def memory(self, content: int) -> Memory:
        """What a daemon reads."""
        if content not in self._memories:
            self._database.deserialize(self._images[content])
            self._memories[content] = Store(self._engine).memory()
        return self._memories[content]

    def operations(self, content: int) -> tuple[str, ...]:
        """The ids of all operations that were ever made."""
        return tuple(row[0] for row in self._found[content][0])

    def slots(self, content: int) -> tuple[tuple[str, int, str], ...]:
        """Scope, number and operation of every slot held."""
        held: tuple[tuple[str, int, str], ...] = self._found[content][1]
        return held

    def _keep(self) -> int:
        run = self._database.execute
        found = tuple(tuple(run(query)) for query in _DECIDES)
        if found not in self._known:
            self._known[found] = len(self._images)
            self._images.append(self._database.serialize())
            self._found.append(found)
            self._check(found[1])
        return self._known[found]

    def _check(self, slots: tuple[tuple[str, int, str], ...]) -> None:
        held: set[tuple[str, int, str]] = set()
        query = "SELECT event, operation_id, detail FROM journal ORDER BY seq"
        for event, operation, detail in self._database.execute(query):
            if event == "admitted":
                for part in detail.split(", "):
                    scope, _, number = part.rpartition("#")
                    held.add((scope, int(number), operation))
            elif event in _GIVES_BACK:
                held = {each for each in held if each[2] != operation}
        assert held == set(slots), "the journal does not explain the slots"
        running = "SELECT id FROM operations WHERE state = 'running'"
        assert {each[2] for each in slots} == {key for (key,) in self._database.execute(running)}
