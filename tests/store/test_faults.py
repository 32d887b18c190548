"""A full disk, a database that is locked or goes away: an error, nothing half-written, and the next
cycle works.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from postgres import TEMPLATE, Server
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from store_samples import NOW, admitted, an_applied, an_operation, ended

from metalwright.errors import StoreError
from metalwright.model.operation import OperationState
from metalwright.store import Store

NODES = [f"n{number}" for number in range(40)]
FLEET = {"fleet": 50}


def prepare(store: Store) -> None:
    store.claim("daemon", NOW)
    store.adopt(dict.fromkeys(NODES, an_applied()), "ada", NOW)
    assert len(store.create([an_operation(f"o-{node}", node) for node in NODES], NOW, None)) == 40


def cycle(store: Store) -> None:
    """All nodes admitted and one ended, in one batch with long texts."""
    with store.batch():
        for node in NODES:
            running = admitted(an_operation(f"o-{node}", node))
            assert store.admit(replace(running, last_error="x" * 2_000), FLEET, NOW)
        done = ended(admitted(an_operation("o-n0", "n0")), OperationState.ACTIVE)
        assert store.finish(done, an_applied(), NOW)
        store.take_starts({"fleet": NOW})


def everything(store: Store) -> tuple[object, ...]:
    return (store.memory(), store.slots(), store.journal(None, 1_000))


def check_that_it_works(store: Store, again: Store, before: object) -> None:
    """Nothing of the failed cycle is there; the next one is, for every reader."""
    assert everything(store) == everything(again) == before
    cycle(store)
    assert everything(store) == everything(again)
    assert store.memory().slots == {"fleet": 39}
    seqs = [line.seq for line in store.journal(None, 1_000)]
    assert seqs == list(range(len(seqs), 0, -1))


@contextlib.contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 5_000, 30_000, 60_000])
def test_a_file_that_cannot_grow_loses_one_cycle_and_no_more(tmp_path: Path, room: int) -> None:
    path = tmp_path / "store.sqlite"
    with Store.open(f"sqlite:///{path}") as store, Store.open(f"sqlite:///{path}") as again:
        prepare(store)
        before = everything(store)
        size = (tmp_path / "store.sqlite-wal").stat().st_size
        with no_file_grows_beyond(size + room), pytest.raises(StoreError, match="written"):
            cycle(store)
        check_that_it_works(store, again, before)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode:
        said = "a small file system cannot be mounted here: that needs root"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(said)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 1_024)


def test_a_full_disk_loses_one_cycle_and_no_more(small_disk: Path) -> None:
    url = f"sqlite:///{small_disk / 'store.sqlite'}"
    with Store.open(url) as store, Store.open(url) as again:
        prepare(store)
        before = everything(store)
        ballast = small_disk / "ballast"
        fill(ballast)
        for _ in range(2):
            with pytest.raises(StoreError, match="full"):
                cycle(store)
        assert everything(store) == before, "looking needs no room"
        ballast.unlink()
        check_that_it_works(store, again, before)


def impatient(url: str) -> str:
    """The same store, where nobody waits long for a lock."""
    waits = "?timeout=0.2" if url.startswith("sqlite") else "&options=-c%20lock_timeout%3D200"
    return url + waits


def test_a_database_that_somebody_keeps_locked_is_an_error(
    opened: Callable[[], Store], url: str
) -> None:
    other = opened()
    with Store.open(impatient(url)) as store:
        prepare(store)
        before = everything(store)
        with other.batch():
            other.put_fact("cycle", "{}", NOW)
            began = time.monotonic()
            with pytest.raises(StoreError, match="cannot be reached, read or written"):
                cycle(store)
            with pytest.raises(StoreError, match="cannot be reached, read or written"):
                store.claim("daemon", NOW)
            assert time.monotonic() - began < 10
            assert everything(store) == before, "whoever looks does not wait"
        check_that_it_works(store, other, before)


def test_a_commit_that_fails_leaves_no_transaction_open(opened: Callable[[], Store]) -> None:
    store, again = opened(), opened()
    prepare(store)
    before = everything(again)

    def fail(_connection: object) -> None:
        raise OperationalError("COMMIT", None, Exception("the disk is full"))

    event.listen(store._engine, "commit", fail)
    with pytest.raises(StoreError, match="disk is full"):
        cycle(store)
    event.remove(store._engine, "commit", fail)
    check_that_it_works(store, again, before)


@pytest.mark.parametrize("what", ["begin", "statement", "rollback", "commit"])
def test_a_write_outside_of_a_batch_that_fails_leaves_no_transaction_open(
    opened: Callable[[], Store], what: str
) -> None:
    """Whatever fails of it, and whichever way: nothing of it is there, and the next one works."""
    store, again = opened(), opened()
    prepare(store)
    before = everything(again)

    def failing(name: str) -> Callable[..., None]:
        def fail(*_: object) -> None:
            raise OperationalError(name, None, Exception(f"no {name}"))

        return fail

    first = "before_cursor_execute" if what in ("statement", "rollback") else what
    fails = {name: failing(name) for name in {first, what} - {"statement"}}
    for name, fail in fails.items():
        event.listen(store._engine, name, fail)
    with pytest.raises(StoreError, match=f"no ({first}|{what})"):
        store.hold(NODES, "fan", "ada", NOW)
    for name, fail in fails.items():
        event.remove(store._engine, name, fail)
    assert again.hold(["n1"], "fan", "ada", NOW) == ("n1",), "nobody is kept out meanwhile"
    assert again.resume(["n1"], "ada", NOW) == ("n1",)
    assert store.memory() == again.memory()
    assert everything(again)[1:2] == before[1:2]
    store.confirm()
    cycle(store)
    assert everything(store) == everything(again)


@pytest.mark.live
@pytest.mark.parametrize("steps", [0, 1, 39, 40])
def test_a_connection_that_ends_in_the_middle_of_a_batch_loses_that_batch(
    server: Server, steps: int
) -> None:
    with server.database(TEMPLATE) as url, Store.open(url) as store, Store.open(url) as again:
        prepare(store)
        before = everything(again)
        name = url.partition("@/")[2].partition("?")[0]

        def interrupted() -> None:
            with store.batch():
                assert store.memory() == again.memory()
                store.put_fact("begun", "{}", NOW)
                for node in NODES[:steps]:
                    assert store.admit(admitted(an_operation(f"o-{node}", node)), FLEET, NOW)
                ended_count = server.sql(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    f"WHERE datname = '{name}' AND state = 'idle in transaction'"
                )
                assert ended_count == "1"
                for node in NODES[steps:]:
                    assert store.admit(admitted(an_operation(f"o-{node}", node)), FLEET, NOW)

        with pytest.raises(StoreError, match="cannot be reached, read or written"):
            interrupted()
        assert again.fact("begun") is None
        check_that_it_works(store, again, before)


@pytest.mark.live
def test_a_server_that_refuses_everybody_is_an_error_until_it_is_back(server: Server) -> None:
    with server.database(TEMPLATE) as url, Store.open(url) as store, Store.open(url) as again:
        prepare(store)
        before = everything(store)
        name = url.partition("@/")[2].partition("?")[0]
        server.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        server.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{name}' AND pid <> pg_backend_pid()"
        )
        for _ in range(2):
            with pytest.raises(StoreError, match="cannot be reached, read or written"):
                store.memory()
            with pytest.raises(StoreError, match="cannot be reached, read or written"):
                cycle(store)
            with pytest.raises(StoreError, match="cannot be reached, read or written"):
                store.confirm()
        with pytest.raises(StoreError, match="cannot be reached, read or written"):
            Store.open(url)
        server.sql(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        with pytest.raises(StoreError, match="cannot be reached, read or written"):
            again.memory()  # its connection was ended as well: one failure tells it
        store.confirm()
        check_that_it_works(store, again, before)


@pytest.mark.live
def test_a_process_that_stands_still_in_a_batch_does_not_keep_others_out(server: Server) -> None:
    with server.database(TEMPLATE) as url, Store.open(url) as other:
        hasty = f"{url}&options=-c%20idle_in_transaction_session_timeout%3D200"
        with Store.open(hasty) as store:
            prepare(store)

            def standing_still() -> None:
                with store.batch():
                    store.put_fact("begun", "{}", NOW)
                    assert other.claim("standby", NOW) == 2, "waits until the server ends ours"
                    cycle(store)

            with pytest.raises(StoreError, match="cannot be reached, read or written"):
                standing_still()
            assert other.fact("begun") is None
            with pytest.raises(StoreError, match="standby drives"):
                cycle(store)


def test_what_a_machine_says_never_keeps_a_step_from_being_recorded(store: Store) -> None:
    """Texts of BMCs and of operators' terminals hold anything, and PostgreSQL no NUL."""
    said = "a\0b\ud800c"
    store.adopt({"n1": an_applied()}, "ada", NOW)
    store.create([an_operation("o1", "n1")], NOW, None)
    running = admitted(an_operation("o1", "n1"))
    assert store.admit(running, FLEET, NOW)
    assert store.save(replace(running, last_error=said), "outcome", NOW, said)
    assert store.hold(["n1"], said, "ada", NOW) == ("n1",)
    store.quarantine("n1", said, NOW)
    node = store.memory().nodes["n1"]
    assert node.operation is not None
    assert node.hold is not None
    assert node.quarantine is not None
    texts = [node.operation.last_error, node.hold.reason, node.quarantine.reason]
    texts += [line.detail for line in store.journal("n1", 2)]
    assert [text[-5:] for text in texts] == ["a\ufffdb\ufffdc"] * 5
