"""How a database is opened: durable, with transactions that begin when we say so, errors in our
words.

All that is particular to one database is here. It never decides anything.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import gethostname
from sqlite3 import Connection as SqliteConnection
from types import TracebackType
from typing import Any, Final, Literal

from pydantic import ValidationError
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DataError,
    DBAPIError,
    IntegrityError,
    InternalError,
    OperationalError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.pool import QueuePool

from metalwright.errors import StoreError

BUSY_TIMEOUT_S: Final = 30.0
"""How long a writer waits for another process's transaction."""

CONNECT_TIMEOUT_S: Final = 10
"""How long a PostgreSQL server may take to answer a new connection."""

STATEMENT_TIMEOUT_S: Final = 60.0
"""How long PostgreSQL may work on one statement."""

IDLE_TIMEOUT_S: Final = 60.0
"""How long a transaction may do nothing before PostgreSQL ends it: a process that was stopped in
the middle of one must not keep the writers' lock from the one that takes over."""

KEEPALIVE_IDLE_S: Final = 10
KEEPALIVE_INTERVAL_S: Final = 5
KEEPALIVE_COUNT_MAX: Final = 3
"""When both ends of a PostgreSQL connection ask whether the other is still there, how often, and
after how many silences they give it up: a machine that lost its power frees its locks in 25 s."""

UNACKNOWLEDGED_MS_MAX: Final = 1_000 * (
    KEEPALIVE_IDLE_S + KEEPALIVE_INTERVAL_S * KEEPALIVE_COUNT_MAX
)
"""The same for a question that is under way: nobody asks then, and the kernel would repeat it for a
quarter of an hour."""

APPLICATION_LENGTH_MAX: Final = 63
"""PostgreSQL cuts longer names of a client off."""

_WRITES: Final = "metalwright_writes"
_MIGRATION_LOCK: Final = 7_326_114_290_481

_UNREACHABLE: Final = "the store cannot be reached, read or written"

_TROUBLES: tuple[tuple[type[Exception], str], ...] = (
    (IntegrityError, "the store refused a record that breaks one of its rules"),
    (OperationalError, _UNREACHABLE),
    (DataError, "the store refused a value"),
    (InternalError, "the store failed"),
    (ProgrammingError, "the store failed"),
    (DatabaseError, "the store is damaged, or not a store"),
    (ArgumentError, "the address of the store cannot be understood"),
    (SQLAlchemyError, "the store failed"),
    (
        ImportError,
        "the driver for this kind of database is not installed (PostgreSQL: the extra postgresql)",
    ),
    (ValidationError, "a record in the store cannot be understood"),
)
"""Every library error that may come from a store, most particular first."""

_LIBRARY_ERRORS: Final = tuple(kind for kind, _ in _TROUBLES)


class translated:  # noqa: N801 - used as a statement, and on every write
    """Turn every library error into a `StoreError`, its cause chained.

    The message never has the statement or its values: user data may hold secrets.
    """

    def __enter__(self) -> None:
        """Nothing is kept."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> Literal[False]:
        """Raises StoreError where the error is one of a library."""
        if not isinstance(error, _LIBRARY_ERRORS):
            return False
        said = next(words for kind, words in _TROUBLES if isinstance(error, kind))
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            said = _UNREACHABLE  # PostgreSQL has many names for a connection that it ended
        raise StoreError(f"{said}{_why(error)}") from error


def _why(error: Exception) -> str:
    if isinstance(error, DBAPIError):
        return f": {error.orig}"
    if isinstance(error, ValidationError):
        return f": {error.error_count()} wrong fields in {error.title}"
    return f": {error}"


def open_engine(url: str) -> Engine:
    """An engine with one connection; transactions begin as `begin_writing` or `begin_reading` say.

    Raises:
        SQLAlchemyError, ImportError: the address is wrong or its driver missing.
    """
    engine = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=0,
        hide_parameters=True,
        connect_args=connect_arguments(url),
    )
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    elif engine.dialect.name == "postgresql":
        event.listen(engine, "connect", _set_up_postgresql)
    return engine


def connect_arguments(url: str) -> dict[str, Any]:
    """The limits of a connection; what the URL asks for itself stays.

    Raises:
        SQLAlchemyError: the address is wrong.
    """
    address = make_url(url)
    if address.get_backend_name() == "sqlite":
        return {} if "timeout" in address.query else {"timeout": BUSY_TIMEOUT_S}
    if not is_postgresql(url):
        return {}
    server = {
        "statement_timeout": f"{STATEMENT_TIMEOUT_S * 1_000:.0f}",
        "lock_timeout": f"{BUSY_TIMEOUT_S * 1_000:.0f}",
        "idle_in_transaction_session_timeout": f"{IDLE_TIMEOUT_S * 1_000:.0f}",
        "tcp_keepalives_idle": str(KEEPALIVE_IDLE_S),
        "tcp_keepalives_interval": str(KEEPALIVE_INTERVAL_S),
        "tcp_keepalives_count": str(KEEPALIVE_COUNT_MAX),
    }
    asked = address.query.get("options", "")
    options = [*(f"-c {name}={value}" for name, value in server.items()), str(asked)]
    client: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": KEEPALIVE_IDLE_S,
        "keepalives_interval": KEEPALIVE_INTERVAL_S,
        "keepalives_count": KEEPALIVE_COUNT_MAX,
        "tcp_user_timeout": UNACKNOWLEDGED_MS_MAX,
        "application_name": f"metalwright {os.getpid()} {gethostname()}"[:APPLICATION_LENGTH_MAX],
    }
    client = {name: value for name, value in client.items() if name not in address.query}
    return client | {"options": " ".join(filter(None, options))}


def is_postgresql(url: str) -> bool:
    """Whether an address is that of a PostgreSQL database. Raises SQLAlchemyError for no
    address.
    """
    return make_url(url).get_backend_name() == "postgresql"


def _set_up_sqlite(connection: SqliteConnection, _record: Any) -> None:
    """WAL so that the command line reads beside the daemon; FULL so that an intent survives power
    loss.

    The sqlite3 module begins transactions by itself, late and never IMMEDIATE, and in older
    versions commits before DDL: `isolation_level = None` turns all of that off.
    """
    connection.isolation_level = None
    cursor = connection.cursor()
    try:
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute("PRAGMA foreign_keys = ON")
    finally:
        cursor.close()


def _set_up_postgresql(connection: Any, _record: Any) -> None:
    """An intent survives power loss, also where the server's settings say otherwise. Stronger
    settings, those for replicas, stay.
    """
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    """A writer takes the lock at once.

    With a plain BEGIN two readers that turn writers fail with SQLITE_BUSY at once, whatever the
    timeout is.
    """
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def connect_writing(engine: Engine) -> Connection:
    """A connection whose transactions may write."""
    return engine.connect().execution_options(**{_WRITES: True})


@contextmanager
def begin_writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that may write: committed at the end, rolled back when an exception leaves
    it. Where that fails too, the connection is given up: no other transaction could begin on it.
    """
    with connect_writing(engine) as connection:
        with given_up_when_it_fails(connection):
            connection.begin()
        try:
            yield connection
        except BaseException:
            with suppress(SQLAlchemyError), given_up_when_it_fails(connection):
                connection.rollback()
            raise
        with given_up_when_it_fails(connection):
            connection.commit()


@contextmanager
def given_up_when_it_fails(connection: Connection) -> Iterator[None]:
    """Close the database's side of a connection on which a begin, a commit or a rollback failed:
    the transaction may still be open there, and the library takes it for over.
    """
    try:
        yield
    except BaseException:
        connection.invalidate()
        raise


@contextmanager
def begin_reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the store from its first to its last query."""
    with engine.connect() as connection:
        options: dict[str, Any] = {_WRITES: False}
        if engine.dialect.name != "sqlite":
            options["isolation_level"] = "REPEATABLE READ"
        reader = connection.execution_options(**options)
        with reader.begin() as transaction:
            yield reader
            transaction.rollback()


def lock_schema(connection: Connection, *, in_use: bool) -> None:
    """Let one process at a time migrate. SQLite's BEGIN IMMEDIATE has done so already.

    `in_use` says that there are tables: writers of another version wait then before they look.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        if in_use:
            connection.execute(text("LOCK TABLE meta IN ACCESS EXCLUSIVE MODE"))
