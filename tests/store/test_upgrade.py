"""A store that an earlier version of the program filled goes on as it is under this one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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

from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observation, Observed
from metalwright.model.operation import Memory, NodeMemory, OperationState
from metalwright.store import Store
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
    empty_url: str,
) -> None:
    fill(empty_url)
    for _ in range(2):
        with Store.open(empty_url) as store:
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


def test_what_was_under_way_before_the_upgrade_goes_on_after_it(empty_url: str) -> None:
    fill(empty_url)
    with Store.open(empty_url) as store:
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
