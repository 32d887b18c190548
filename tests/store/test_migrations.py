"""The schema: made by migrations alone, equal to the tables of the program, never newer."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Inspector, NullPool, create_engine, inspect
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable
from store_samples import NOW, an_applied, an_operation

import metalwright.store.migrations as shipped
from metalwright.errors import StoreError
from metalwright.store import Store
from metalwright.store.connect import begin_writing, open_engine
from metalwright.store.schema import SCHEMA_REVISION, metadata


def execute(url: str, statement: str) -> None:
    engine = open_engine(url)
    try:
        with begin_writing(engine) as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()


def found_in(url: str) -> Inspector:
    engine = create_engine(url, poolclass=NullPool)
    return inspect(engine)


def test_the_newest_migration_is_the_one_that_the_program_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(next(iter(shipped.__path__)))))
    assert ScriptDirectory.from_config(config).get_heads() == [SCHEMA_REVISION]


def test_migrated_tables_are_those_of_the_program(store: Store, url: str) -> None:
    store.close()
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        found = inspect(connection)
        assert set(found.get_table_names()) == {*metadata.tables, "alembic_version"}
    engine.dispose()


def test_migrated_checks_are_those_of_the_program(store: Store, url: str, empty_url: str) -> None:
    """Alembic's comparison does not see CHECK constraints, so their text is compared here."""
    engine = create_engine(empty_url)
    metadata.create_all(engine)
    engine.dispose()
    for table in metadata.tables:
        assert checks(url, table) == checks(empty_url, table), table
    assert sum(len(checks(url, table)) for table in metadata.tables) == 24


def checks(url: str, table: str) -> list[str]:
    inspector = found_in(url)
    if inspector.dialect.name == "postgresql":
        return sorted(
            f"{it['name']}: {it['sqltext']}" for it in inspector.get_check_constraints(table)
        )
    # SQLAlchemy does not see those that came with a column.
    with inspector.engine.connect() as connection:
        text = connection.exec_driver_sql(
            f"SELECT sql FROM sqlite_master WHERE name = '{table}'"
        ).scalar_one()
    found = []
    for begin in re.finditer(r"CONSTRAINT (ck_\w+) CHECK \(", text):
        rest = text[begin.end() :]
        depth = list(itertools.accumulate({"(": 1, ")": -1}.get(each, 0) for each in rest))
        found.append(f"{begin[1]}: {rest[: depth.index(-1)]}")
    return sorted(found)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO meta (id, generation, journal_seq, forgotten_generation) VALUES (2, 0, 0, 0)",
        "UPDATE meta SET epoch = -1",
        "UPDATE meta SET restored = -1",
        "UPDATE meta SET driven = -1",
        "UPDATE nodes SET wiped = 2",
        "UPDATE meta SET epoch = 1",
        "UPDATE meta SET claimed_by = 'ada'",
        "UPDATE operations SET cancelled_by = ''",
        "UPDATE nodes SET failures = -1",
        "UPDATE nodes SET hold_at = ''",
        "UPDATE nodes SET hold_reason = 'fan'",
        "UPDATE nodes SET quarantine_reason = 'fan'",
        "INSERT INTO rollouts VALUES ('r1', 'ci', 'begun', 0, '', '{}')",
        "INSERT INTO rollouts VALUES ('r1', 'ci', 'running', -1, '', '{}')",
        "INSERT INTO consents VALUES ('a', 1, ''), ('b', 1, '')",
        "INSERT INTO consents VALUES ('a', 0, '')",
        "UPDATE meta SET generation = -1",
        "UPDATE operations SET state = 'done'",
        "UPDATE operations SET fence = -1",
        "UPDATE operations SET state = 'active'",
        "UPDATE operations SET busy_node = NULL",
        "UPDATE operations SET busy_node = 'n2'",
        "UPDATE operations SET target_id = 'none'",
        "UPDATE nodes SET applied = NULL",
        "UPDATE nodes SET failed_id = 'none'",
        "INSERT INTO slots VALUES ('fleet', -1, 'o1', '')",
        "INSERT INTO slots VALUES ('fleet', 0, 'none', '')",
        "INSERT INTO slots VALUES ('fleet', 0, 'o1', ''), ('fleet', 1, 'o1', '')",
        "INSERT INTO slots VALUES ('fleet', 0, 'o1', ''), ('fleet', 0, 'o1', '')",
        "INSERT INTO journal VALUES (0, '', 'n1', 'created', NULL, NULL, NULL, 0, '')",
        "DELETE FROM targets",
    ],
)
def test_the_database_itself_refuses(store: Store, url: str, statement: str) -> None:
    store.adopt({"n1": an_applied()}, "ada", NOW)
    store.create([an_operation("o1", "n1")], NOW, None)
    with pytest.raises(IntegrityError):
        execute(url, statement)


def test_the_database_itself_refuses_a_second_unfinished_operation(store: Store, url: str) -> None:
    store.adopt({"n1": an_applied()}, "ada", NOW)
    store.create([an_operation("o1", "n1")], NOW, None)
    again = "SELECT 'o2', node, busy_node, state, fence, created_at, target_id, body, NULL"
    with pytest.raises(IntegrityError, match=r"(?i)unique"):
        execute(url, f"INSERT INTO operations {again} FROM operations")


def test_a_store_that_is_up_to_date_is_opened_as_it_is(opened: Callable[[], Store]) -> None:
    opened().adopt({"n1": None}, "ada", NOW)
    assert list(opened().memory().nodes) == ["n1"]


def test_a_newer_store_is_refused_and_says_so(store: Store, url: str) -> None:
    store.adopt({"n1": None}, "ada", NOW)
    store.close()
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match=r"newer than this program: its schema is 9999"):
        Store.open(url)
    execute(url, f"UPDATE alembic_version SET version_num = '{SCHEMA_REVISION}'")
    with Store.open(url) as again:
        assert list(again.memory().nodes) == ["n1"], "and was left as it was"


def test_tables_of_somebody_else_are_not_taken_over(empty_url: str) -> None:
    execute(empty_url, "CREATE TABLE journal (entry TEXT)")
    with pytest.raises(StoreError, match=r"no migration made: \['journal'\]"):
        Store.open(empty_url)


def test_an_upgrade_that_fails_leaves_nothing(empty_url: str) -> None:
    execute(empty_url, "CREATE TABLE ix_operations_created_at (entry TEXT)")  # it is needed
    with pytest.raises(StoreError):
        Store.open(empty_url)
    assert found_in(empty_url).get_table_names() == ["ix_operations_created_at"]


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_text("this is no database " * 100)
    with pytest.raises(StoreError, match="damaged, or not a store"):
        Store.open(f"sqlite:///{path}")
    with pytest.raises(StoreError, match="cannot be reached"):
        Store.open(f"sqlite:///{tmp_path / 'missing' / 'store.sqlite'}")
    with pytest.raises(StoreError, match="address"):
        Store.open("no address")
    with pytest.raises(StoreError):
        Store.open("nosuchdatabase://host/name")


def test_intents_survive_a_loss_of_power(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with engine.connect() as connection:
        ask = connection.exec_driver_sql
        assert ask("PRAGMA journal_mode").scalar() == "wal"
        assert ask("PRAGMA synchronous").scalar() == 2, "FULL"
        assert ask("PRAGMA foreign_keys").scalar() == 1
        assert ask("PRAGMA busy_timeout").scalar() == 30_000
    engine.dispose()


def test_the_schema_is_not_particular_to_one_database() -> None:
    for table in metadata.sorted_tables:
        for dialect in (sqlite.dialect(), postgresql.dialect()):  # type: ignore[no-untyped-call]
            assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
            for index in table.indexes:
                assert "CREATE INDEX" in str(CreateIndex(index).compile(dialect=dialect))
                assert len(index.name or "") <= 63, "PostgreSQL cuts longer names off"


def test_the_migrations_are_inside_the_package() -> None:
    folder = Path(next(iter(shipped.__path__)))
    assert (folder / "env.py").is_file()
    assert sorted(each.name for each in (folder / "versions").glob("*.py")) == [
        "0001_ledger.py",
        "0002_limits_and_brakes.py",
        "0003_restored_and_wiped.py",
        "0004_boots.py",
        "0005_tenants.py",
    ]
