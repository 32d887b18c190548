"""The fleet lock of a store in PostgreSQL."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres import TEMPLATE, Server

from metalwright.errors import LockedError, StoreError
from metalwright.store import DatabaseLock, FleetLock, fleet_lock

pytestmark = pytest.mark.live
WORKER = Path(__file__).parent / "lock_worker.py"
PATIENCE_S = 60.0


@pytest.fixture
def address(server: Server) -> Iterator[str]:
    with server.database(TEMPLATE) as url:
        yield url


def end_lock_connections(server: Server) -> None:
    server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
    )


def test_one_process_drives_and_another_is_told_which(address: str, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, str(WORKER), address], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    lock = fleet_lock(address, tmp_path)
    assert lock.holder() == process.pid
    with pytest.raises(
        LockedError, match=f"^process {process.pid} on {socket.gethostname()[:30]}.* drives"
    ):
        lock.acquire()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    while lock.holder() is not None:
        assert lock.holder() == process.pid or lock.holder() is None
    with lock:
        lock.confirm()
        assert DatabaseLock(address).holder() == os.getpid() == lock.holder()
        with pytest.raises(LockedError, match="this process"):
            lock.acquire()
        with pytest.raises(LockedError, match=f"process {os.getpid()} on"):
            DatabaseLock(address).acquire()
    assert lock.holder() is None
    assert list(tmp_path.iterdir()) == [], "no file is made"


def test_a_lock_whose_connection_ended_is_lost_for_good(server: Server, address: str) -> None:
    lock, standby = DatabaseLock(address), DatabaseLock(address)
    lock.acquire()
    lock.confirm()
    end_lock_connections(server)
    standby.acquire()
    for _ in range(2):
        with pytest.raises(StoreError, match="the fleet lock is gone: restart"):
            lock.confirm()
    assert lock.holder() == os.getpid()
    standby.confirm()
    standby.release()
    with pytest.raises(StoreError, match="the fleet lock is gone: restart"):
        lock.confirm()  # although it is free again
    lock.release()
    lock.release()
    lock.acquire()
    lock.confirm()
    lock.release()


def test_a_lock_that_was_given_away_by_hand_is_noticed(address: str) -> None:
    lock = DatabaseLock(address)
    with pytest.raises(StoreError, match="restart to drive"):
        lock.confirm()
    with lock:
        assert lock._connection is not None
        lock._connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
        with pytest.raises(StoreError, match="restart to drive"):
            lock.confirm()


def test_a_holder_that_calls_itself_otherwise_is_still_a_holder(address: str) -> None:
    with DatabaseLock(f"{address}&application_name=mine"):
        lock = DatabaseLock(address)
        assert lock.holder() == 0
        with pytest.raises(LockedError, match="process unknown on this machine drives"):
            lock.acquire()


def test_each_database_has_a_lock_of_its_own(server: Server, address: str) -> None:
    with server.database(TEMPLATE) as other, DatabaseLock(address), DatabaseLock(other):
        assert DatabaseLock(other).holder() == os.getpid()


def test_a_database_that_cannot_be_reached_is_an_error(server: Server) -> None:
    lock = DatabaseLock(server.url("nosuchdatabase"))
    for ask in (lock.acquire, lock.holder):
        with pytest.raises(StoreError, match="cannot be reached"):
            ask()


def test_the_address_of_the_store_tells_which_lock(tmp_path: Path) -> None:
    for url in ("postgresql://db/fleet", "postgresql+psycopg://db/fleet"):
        assert isinstance(fleet_lock(url, tmp_path), DatabaseLock)
    found = fleet_lock(f"sqlite:///{tmp_path}/store.sqlite", tmp_path)
    assert isinstance(found, FleetLock)
    assert found.path == tmp_path / "fleet.lock"
    with pytest.raises(StoreError, match="address"):
        fleet_lock("no address", tmp_path)
