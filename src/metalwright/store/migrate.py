"""Brings a store to this program's schema when it is opened, or refuses one from the future.

The migrations are shipped inside the package and run in one transaction: a store is of the old
schema or of the new one, never between. It never goes back: an older program refuses a newer store.
A store that may be driven is only upgraded by whoever has the fleet lock: the program of before
knows nothing of the new tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.resources import as_file, files
from typing import Protocol

from sqlalchemy import Connection, Engine, inspect, text

from metalwright.errors import LockedError, StoreError
from metalwright.store.connect import begin_reading, begin_writing, lock_schema
from metalwright.store.schema import SCHEMA_REVISION, metadata


class Lock(Protocol):
    """The fleet lock of a store: `metalwright.store.fleet_lock`."""

    @property
    def is_held(self) -> bool:
        """Whether this process has it."""

    def acquire(self) -> None:
        """Take it without waiting. Raises LockedError, StoreError."""

    def release(self) -> None:
        """Give it back."""


def migrate(engine: Engine, lock: Lock | None = None) -> None:
    """Create the tables, or upgrade them under the fleet lock.

    Raises:
        StoreError: the store is newer than this program, or holds somebody else's tables; or it is
            older, and another process drives with it, or there is no `lock`.
    """
    with begin_reading(engine) as connection:
        found = stored_revision(connection)
    if found == SCHEMA_REVISION:
        return
    with nullcontext() if found is None else _locked(lock, found):
        _migrate(engine, in_use=found is not None)


@contextmanager
def _locked(lock: Lock | None, found: str) -> Iterator[None]:
    """Have the fleet lock, which stays held where it was."""
    if found > SCHEMA_REVISION or (lock is not None and lock.is_held):
        yield  # a newer one is refused in any case
        return
    must = f"the store has schema {found} and has to be upgraded to {SCHEMA_REVISION}"
    if lock is None:
        raise StoreError(f"{must}: start the daemon of this version")
    try:
        lock.acquire()
    except (LockedError, StoreError) as error:
        raise StoreError(
            f"{must}, which is not done while it is in use: {error}; stop that process, and start"
            " the daemon of this version"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _migrate(engine: Engine, *, in_use: bool) -> None:
    with begin_writing(engine) as connection:
        lock_schema(connection, in_use=in_use)
        if stored_revision(connection) != SCHEMA_REVISION:
            upgrade(connection, "head")


def stored_revision(connection: Connection) -> str | None:
    """The migration that the store is at; `None` for an empty one.

    Raises:
        StoreError: there are tables of ours without a revision.
    """
    tables = set(inspect(connection).get_table_names())
    if "alembic_version" not in tables:
        foreign = sorted(tables & metadata.tables.keys())
        if foreign:
            raise StoreError(f"the database has tables that no migration made: {foreign}")
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found


def upgrade(connection: Connection, revision: str) -> None:
    """Bring the tables to a migration (`head`: the newest), in a transaction that has begun.

    Raises:
        StoreError: the store is newer than this program.
    """
    # Imported late: alembic takes a tenth of a second, and most openings find nothing to do.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    with as_file(files("metalwright.store") / "migrations") as directory:
        config.set_main_option("script_location", str(directory).replace("%", "%%"))
        script = ScriptDirectory.from_config(config)
        known = {revision.revision for revision in script.walk_revisions()}
        found = stored_revision(connection)
        if found is not None and found not in known:
            raise StoreError(
                f"the store is newer than this program: its schema is {found}, the newest known "
                f"here is {SCHEMA_REVISION}; install the version that wrote it, or a newer one"
            )
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
