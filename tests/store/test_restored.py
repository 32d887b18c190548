"""An old copy of a store is known for what it is, and drives nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from postgres import Server
from store_samples import NOW, admitted, after, an_applied, an_operation
from test_keeping import a_rollout

from metalwright.errors import FencedError, StoreError
from metalwright.model.operation import OperationState
from metalwright.store import Marks, Store
from metalwright.store.marks import Count, Reached

FLEET = {"fleet": 2}
RUNNING = admitted(an_operation("o1", "n1"))


def fill(store: Store) -> None:
    store.claim("daemon", NOW)
    store.adopt(dict.fromkeys(["n1", "n2", "n3", "n4"], an_applied()), "ada", NOW)
    store.create([an_operation("o1", "n1"), an_operation("o2", "n2")], NOW, "c" * 40)
    assert store.admit(RUNNING, FLEET, NOW)
    store.hold(["n3"], "fan", "ada", NOW)
    store.quarantine("n4", "failed", NOW)
    store.save_rollouts([a_rollout()], NOW)
    store.consent(["k"], NOW)
    store.put_fact("in-force", "{}", NOW)


def test_how_far_a_store_has_come_waits_for_the_batch_of_another_thread(
    opened: Callable[[], Store],
) -> None:
    store = opened()
    fill(store)
    before = store.reached()
    inside, go_on = threading.Event(), threading.Event()

    def write() -> None:
        with store.batch():
            store.hold(["n2"], "fan", "ada", NOW)
            inside.set()
            go_on.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    assert inside.wait(30)
    threading.Timer(0.1, go_on.set).start()
    assert store.reached().count > before.count
    writer.join(30)
    with store.batch(), pytest.raises(StoreError, match="not durable before its end"):
        store.reached()


def test_what_an_old_copy_takes_for_true_is_let_go(opened: Callable[[], Store]) -> None:
    store = opened()
    fill(store)
    store.memory()
    revision = store.memory().applied_revision
    released = store.release_all("an older copy", after(60))
    assert (released.operations, released.nodes) == (2, 4)
    assert released.braked == ("n3", "n4")
    for memory in (store.memory(), opened().memory()):
        assert (dict(memory.nodes), dict(memory.slots)) == ({}, {})
        assert (dict(memory.rollouts), memory.consents) == ({}, frozenset())
        assert memory.applied_revision == revision, "a branch without it is still a rewritten one"
    assert store.slots() == {}
    assert store.fact("in-force") is None
    for name in ("n1", "n2"):
        over = store.operations(name, 9)[0]
        assert (over.state, over.ended_at) == (OperationState.CANCELLED, after(60))
        assert over.last_error == "an older copy"
        events = [line.event for line in store.journal(name, 2)]
        assert events == ["released", "cancelled"], "the history stays"
    assert not store.save(replace(RUNNING, effects=1), "outcome", after(61)), "it is over"
    store.adopt({"n1": an_applied()}, "ada", after(70))
    assert list(store.memory().nodes) == ["n1"]


def test_only_who_drives_lets_go(opened: Callable[[], Store]) -> None:
    fill(opened())
    beside = opened()
    with pytest.raises(FencedError):
        beside.release_all("an older copy", NOW)
    assert len(beside.memory().nodes) == 4


def test_the_count_rises_with_what_is_driven_and_never_falls(opened: Callable[[], Store]) -> None:
    store, beside = opened(), opened()
    at = store.reached()
    store.claim("daemon", NOW)
    assert store.reached() == at, "a claim alone changes nothing that is remembered"
    steps: list[Callable[[], object]] = [
        lambda: store.adopt({"n1": an_applied()}, "ada", NOW),
        lambda: store.create([an_operation("o1", "n1")], NOW, None),
        lambda: store.admit(RUNNING, FLEET, NOW),
        lambda: store.save(replace(RUNNING, effects=1), "outcome", NOW),
        lambda: store.release_all("an older copy", NOW),
    ]
    for step in steps:
        step()
        assert store.reached().count > at.count
        assert store.reached().count.driven == at.count.driven + 1
        at = store.reached()
    beside.adopt({"n1": an_applied()}, "ada", NOW)
    assert beside.reached().count > at.count
    assert beside.reached().count.driven == at.count.driven, "no operator can drive it on"
    at = store.reached()
    store.put_fact("cycle", "{}", NOW)
    assert store.reached() == at
    with store.batch(), pytest.raises(StoreError, match="not durable"):
        store.reached()


def reached(name: str = "a", restored: int = 0, driven: int = 5, generation: int = 9) -> Reached:
    return Reached(name, Count(restored, driven, generation))


@pytest.fixture
def marks(tmp_path: Path) -> Marks:
    return Marks(tmp_path, "sqlite:////srv/store.sqlite")


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (reached(), ""),
        (reached(driven=6), ""),
        (reached(generation=10), ""),
        (reached(driven=3, generation=99), "2 transactions of the daemon are not in it"),
        (reached(generation=8), "what operators wrote is not in it"),
        (reached(restored=1, driven=1, generation=1), ""),
        (reached("b", driven=99), "another store was driven at its address"),
    ],
)
def test_a_store_with_lower_counts_is_older(marks: Marks, found: Reached, said: str) -> None:
    assert marks.older(found) == "", "where nothing is known, nothing is said"
    marks.keep(reached())
    assert marks.older(found) == said


def test_a_mark_moves_with_its_store(marks: Marks, tmp_path: Path) -> None:
    marks.keep(reached())
    marks.note(reached(driven=7))
    assert marks.older(reached(driven=6)) != ""
    again = Marks(tmp_path, "sqlite:////srv/store.sqlite")
    assert again.older(reached(driven=6)) != "", "it is outside of the process"
    assert again.older(reached(driven=7)) == ""
    assert len(marks.path.read_text().splitlines()) == 1


def test_a_copy_at_another_address_is_known_by_its_name(marks: Marks, tmp_path: Path) -> None:
    marks.keep(reached())
    elsewhere = Marks(tmp_path, "postgresql+psycopg://metalwright@db.example/restored")
    assert elsewhere.older(reached(driven=4)) != ""
    assert elsewhere.older(reached("b", driven=1)) == "", "another fleet's, never seen here"


def test_a_password_is_no_part_of_an_address(tmp_path: Path) -> None:
    names = {
        Marks(tmp_path, f"postgresql+psycopg://metalwright:{word}@db.example/metalwright").path
        for word in ("old", "new")
    }
    assert len(names) == 1


def test_who_stands_by_follows_and_never_goes_back(marks: Marks) -> None:
    marks.follow(reached())
    assert marks.older(reached(driven=4)) != ""
    marks.follow(reached(driven=8))
    marks.follow(reached(driven=4))
    marks.follow(reached("b", driven=99))
    assert marks.older(reached(driven=7)) != ""
    assert marks.older(reached(driven=8)) == ""


@pytest.mark.parametrize("text", ["", "store a reached 1 2 3\n", "\0" * 80])
def test_a_mark_that_cannot_be_understood_asks_the_operator(marks: Marks, text: str) -> None:
    marks.path.write_text(text)
    with pytest.raises(StoreError, match="if the store is no copy from before, remove that file"):
        marks.older(reached())
    marks.follow(reached())
    assert marks.path.read_text() == text, "and is left to him"


def test_a_mark_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    marks = Marks(tmp_path / "missing", "sqlite:////srv/store.sqlite")
    with pytest.raises(StoreError, match="cannot be written"):
        marks.keep(reached())
    with pytest.raises(StoreError, match="cannot be written"):
        marks.note(reached())
    with pytest.raises(StoreError, match="address"):
        Marks(tmp_path, "no address")


@contextmanager
def copied(server: Server, url: str) -> Iterator[str]:
    """Another database with what this one has now."""
    name = url.partition("@/")[2].partition("?")[0]
    with server.database(name) as copy:
        yield copy


@pytest.mark.live
def test_a_copy_of_a_database_is_older_and_the_database_itself_is_not(
    server: Server, tmp_path: Path
) -> None:
    with server.database("template0") as url:
        with Store.open(url) as store:
            fill(store)
        with copied(server, url) as copy:
            marks = Marks(tmp_path, url)
            with Store.open(url) as store:
                store.claim("daemon", after(1))
                assert store.save(replace(RUNNING, effects=1), "outcome", after(2))
                marks.keep(store.reached())
                assert marks.older(store.reached()) == ""
            with Store.open(copy) as old:
                said = Marks(tmp_path, copy).older(old.reached())
                assert said == "1 transactions of the daemon are not in it"
