"""A store that an earlier version of the program filled goes on as it is under this one."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from store_samples import (
    COMMIT,
    NOW,
    admitted,
    after,
    an_applied,
    an_operation,
    ended,
    pending_again,
)

from metalwright.errors import FencedError, LockedError, StoreError
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observation, Observed
from metalwright.model.operation import Memory, NodeMemory, OperationState
from metalwright.store import Store, fleet_lock
from metalwright.store.connect import begin_writing, open_engine
from metalwright.store.migrate import stored_revision, upgrade
from metalwright.store.schema import SCHEMA_REVISION

ROWS = (Path(__file__).parent / "filled_0001.sql").read_text(encoding="utf-8")
FAILED = replace(
    ended(admitted(an_operation("o1", "n1")), OperationState.FAILED),
    last_error="the node does not boot",
)
RUNNING = replace(admitted(an_operation("o2", "n2")), effects=1, acknowledged_at=after(2))


def fill(url: str) -> None:
    engine = open_engine(url)
    with begin_writing(engine) as connection:
        upgrade(connection, "0001")
        rows = "\n".join(line for line in ROWS.splitlines() if not line.startswith("--"))
        for statement in rows.split(";\n"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        assert stored_revision(connection) == "0001"
    engine.dispose()


def test_a_filled_store_of_the_first_schema_is_upgraded_with_all_that_it_holds(
    empty_url: str, tmp_path: Path
) -> None:
    fill(empty_url)
    for _ in range(2):
        with Store.open(empty_url, fleet_lock(empty_url, tmp_path)) as store:
            remembered = store.memory()
            assert remembered == Memory(
                nodes=FrozenDict(
                    n1=NodeMemory(
                        node="n1",
                        adopted_at=NOW,
                        adopted_by="ada",
                        former=an_applied(),
                        failed=FAILED,
                        failures=1,
                    ),
                    n2=NodeMemory(
                        node="n2",
                        adopted_at=NOW,
                        adopted_by="ada",
                        former=an_applied(),
                        operation=RUNNING,
                    ),
                    n3=NodeMemory(
                        node="n3",
                        adopted_at=NOW,
                        adopted_by="ada",
                        applied=an_applied(),
                        operation=an_operation("o3", "n3"),
                    ),
                    n4=NodeMemory(node="n4", adopted_at=NOW, adopted_by="ada"),
                ),
                applied_revision=COMMIT.id,
                slots=FrozenDict({"fleet": 1, "label/rack=a01": 1}),
            )
            assert store.slots() == {"fleet": {1: "o2"}, "label/rack=a01": {1: "o2"}}
            journal = store.journal(None, 99)
            assert [line.seq for line in journal] == list(range(len(journal), 0, -1))
            assert store.observed() == Observed(nodes=FrozenDict(n1=Observation(node="n1", at=NOW)))
            assert store.fact("cycle") == ("{}", NOW)
    engine = open_engine(empty_url)
    with begin_writing(engine) as connection:
        assert stored_revision(connection) == SCHEMA_REVISION
    engine.dispose()


def test_what_was_under_way_before_the_upgrade_goes_on_after_it(
    empty_url: str, tmp_path: Path
) -> None:
    fill(empty_url)
    with Store.open(empty_url, fleet_lock(empty_url, tmp_path)) as store:
        assert store.claim("daemon", NOW) == 1
        again = pending_again(RUNNING)
        assert store.retry(again, after(20))
        assert store.admit(admitted(again, 90), {"fleet": 1}, after(90))
        running = admitted(again, 90)
        assert store.cancel(["n2", "n3"], "ada", after(91)) == ("n2", "n3")
        assert store.finish(ended(running, OperationState.FAILED), None, after(99))
        assert store.memory().nodes["n2"].failures == 1
        assert store.hold(["n4"], "fan", "ada", after(99)) == ("n4",)
        assert store.retry_failed(["n1"], "ada", after(99)) == ("n1",)
        journal = store.journal(None, 99)
        assert [line.seq for line in journal] == list(range(len(journal), 0, -1))


def test_a_store_is_not_upgraded_while_somebody_drives_with_it(
    empty_url: str, tmp_path: Path
) -> None:
    """The process of the old version has the lock; it goes on as if nobody had come."""
    fill(empty_url)
    before = found(empty_url)
    with fleet_lock(empty_url, tmp_path) as held:
        said = rf"has schema 0001 .* process {os.getpid()} .*drives this fleet"
        for _ in range(2):
            with pytest.raises(StoreError, match=said):
                Store.open(empty_url, fleet_lock(empty_url, tmp_path))
        assert found(empty_url) == before
        held.confirm()
    with pytest.raises(StoreError, match="has schema 0001 and has to be upgraded to"):
        Store.open(empty_url)
    assert found(empty_url) == before == "0001"
    lock = fleet_lock(empty_url, tmp_path)
    Store.open(empty_url, lock).close()
    assert found(empty_url) == SCHEMA_REVISION
    assert not lock.is_held, "it was only for the upgrade"
    assert lock.holder() is None


def test_who_drives_upgrades_and_keeps_the_lock(empty_url: str, tmp_path: Path) -> None:
    fill(empty_url)
    with fleet_lock(empty_url, tmp_path) as held:
        Store.open(empty_url, held).close()
        assert found(empty_url) == SCHEMA_REVISION
        assert held.is_held
        with pytest.raises(LockedError):
            fleet_lock(empty_url, tmp_path).acquire()


def test_a_newer_store_is_refused_whoever_has_the_lock(empty_url: str, tmp_path: Path) -> None:
    fill(empty_url)
    lock = fleet_lock(empty_url, tmp_path)
    Store.open(empty_url, lock).close()
    execute(empty_url, "UPDATE alembic_version SET version_num = '9999'")
    with fleet_lock(empty_url, tmp_path):
        for given in (None, lock):
            with pytest.raises(StoreError, match="newer than this program: its schema is 9999"):
                Store.open(empty_url, given)


@pytest.mark.parametrize("claims", [True, False])
def test_a_process_whose_store_was_upgraded_under_it_writes_nothing_more(
    empty_url: str, *, claims: bool
) -> None:
    with Store.open(empty_url) as store:
        if claims:
            store.claim("daemon", NOW)
        store.adopt({"n1": an_applied()}, "ada", NOW)
        execute(empty_url, "UPDATE alembic_version SET version_num = '9999'")
        said = f"upgraded to schema 9999 while this process ran, which knows {SCHEMA_REVISION}"
        with pytest.raises(FencedError, match=said):
            store.hold(["n1"], "fan", "ada", NOW)
        with pytest.raises(FencedError, match=said), store.batch():
            store.create([an_operation("o1", "n1")], NOW, None)
        assert store.memory().nodes["n1"].hold is None
        assert store.memory().nodes["n1"].operation is None


def found(url: str) -> str | None:
    engine = open_engine(url)
    try:
        with begin_writing(engine) as connection:
            return stored_revision(connection)
    finally:
        engine.dispose()


def execute(url: str, statement: str) -> None:
    engine = open_engine(url)
    with begin_writing(engine) as connection:
        connection.exec_driver_sql(statement)
    engine.dispose()
