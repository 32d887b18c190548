"""From the intent of a wipe or an installation on, what a node's disks have is not known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from store_samples import NOW, admitted, after, an_applied, an_operation, ended, pending_again

from metalwright.model.operation import Effect, EffectKind, Operation, OperationState, Stage
from metalwright.store import Store, fleet_lock
from metalwright.store.connect import begin_writing, open_engine
from metalwright.store.migrate import upgrade

FLEET = {"fleet": 2}
RUNNING = admitted(an_operation("o1", "n1"))
WIPE = Effect(kind=EffectKind.WIPE, argument="metadata", operation_id="o1")


def wiping(operation: Operation) -> Operation:
    return replace(operation, stage=Stage.WIPE, intent=WIPE, intent_at=after(5))


@pytest.fixture
def begun(store: Store) -> Store:
    store.adopt({"n1": an_applied(), "n2": an_applied()}, "ada", NOW)
    store.create([an_operation("o1", "n1"), an_operation("o2", "n2")], NOW, None)
    assert store.admit(RUNNING, FLEET, NOW)
    assert store.save(replace(RUNNING, stage=Stage.WIPE, intent=None), "stage", NOW)
    assert not store.memory().nodes["n1"].overwritten, "entered, and nothing asked for"
    assert store.save(wiping(RUNNING), "intent", NOW)
    return store


@pytest.mark.parametrize("end", ["failed", "superseded", "cancelled", "retry"])
def test_a_wipe_that_was_begun_is_remembered_whatever_becomes_of_it(begun: Store, end: str) -> None:
    assert begun.memory().nodes["n1"].overwritten
    if end == "retry":
        assert begun.retry(pending_again(wiping(RUNNING)), NOW)
    else:
        assert begun.finish(ended(wiping(RUNNING), OperationState(end)), None, NOW)
    node = begun.memory().nodes["n1"]
    assert node.overwritten
    assert (node.applied, node.former) == (None, an_applied()), "whose it was is still known"
    assert not begun.memory().nodes["n2"].overwritten


@pytest.mark.parametrize("installs", [True, False])
def test_what_an_installer_was_started_on_is_not_taken_for_what_it_was(
    store: Store, installs: bool
) -> None:
    """A machine that only boots something keeps what it has on its disks."""
    stages = (Stage.POWER_OFF, Stage.BOOT) + ((Stage.INSTALLING,) if installs else ())
    store.adopt({"n1": an_applied()}, "ada", NOW)
    store.create([replace(an_operation("o1", "n1"), stages=stages)], NOW, None)
    running = replace(RUNNING, stages=stages)
    assert store.admit(running, FLEET, NOW)
    boots = replace(running, stage=Stage.BOOT, intent=Effect(kind=EffectKind.SET_BOOT_DEVICE))
    assert store.save(boots, "intent", NOW)
    assert not store.memory().nodes["n1"].overwritten, "no power yet: nothing has run"
    boots = replace(boots, intent=Effect(kind=EffectKind.POWER_ON))
    assert store.save(boots, "intent", NOW)
    assert store.finish(ended(boots, OperationState.SUPERSEDED), None, NOW)
    assert store.memory().nodes["n1"].overwritten == installs


def test_a_node_that_is_brought_to_something_or_adopted_is_known_again(begun: Store) -> None:
    done = replace(wiping(RUNNING), state=OperationState.ACTIVE, stage=Stage.BOOT, ended_at=NOW)
    assert begun.finish(done, an_applied(), NOW)
    assert not begun.memory().nodes["n1"].overwritten


@pytest.mark.parametrize("applied", [an_applied(), None])
def test_an_adoption_says_what_is_there(begun: Store, applied: object) -> None:
    assert begun.finish(ended(wiping(RUNNING), OperationState.FAILED), None, NOW)
    begun.adopt({"n1": applied}, "ada", NOW)
    assert not begun.memory().nodes["n1"].overwritten


def test_a_wipe_that_an_earlier_version_began_is_known_after_the_upgrade(
    empty_url: str, tmp_path: Path
) -> None:
    """Three nodes in the middle of something: wiped since, wiped long ago, not wiped."""
    engine = open_engine(empty_url)
    with begin_writing(engine) as connection:
        upgrade(connection, "0002")
        run = connection.exec_driver_sql
        lines: list[tuple[str, str, str | None]] = []
        for name in ("n1", "n2", "n3"):
            run(
                "INSERT INTO nodes (node, adopted_at, adopted_by, in_doubt, generation)"
                f" VALUES ('{name}', '2026-11-20T08:00:00.000000Z', 'ada', 1, 1)"
            )
        wipe = '{"kind":"wipe","argument":"full","operation_id":"o","template_digest":""}'
        other = wipe.replace('"wipe"', '"power off"')
        lines += [("n1", "adopted", None), ("n1", "intent", wipe)]
        lines += [("n2", "intent", wipe), ("n2", "active", None), ("n2", "intent", other)]
        lines += [("n3", "adopted", None), ("n3", "intent", other)]
        for seq, (node, event, effect) in enumerate(lines, 1):
            value = "NULL" if effect is None else f"'{effect}'"
            run(
                "INSERT INTO journal (seq, at, node, event, effect, fence, detail)"
                f" VALUES ({seq}, '2026-11-20T08:00:00.000000Z', '{node}', '{event}',"
                f" {value}, 0, '')"
            )
    engine.dispose()
    with Store.open(empty_url, fleet_lock(empty_url, tmp_path)) as store:
        assert {name: node.overwritten for name, node in store.memory().nodes.items()} == {
            "n1": True,
            "n2": False,
            "n3": False,
        }
