"""Whether somebody drives the fleet, asked without getting in the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from metalwright.errors import StoreError
from metalwright.store import FleetLock

WORKER = Path(__file__).parent / "lock_worker.py"
PATIENCE_S = 60.0


def test_the_holder_is_told_while_it_lives(tmp_path: Path) -> None:
    path = tmp_path / "fleet.lock"
    assert FleetLock(path).holder() is None
    assert not path.exists(), "asking makes nothing"
    process = subprocess.Popen(
        [sys.executable, str(WORKER), str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    assert FleetLock(path).holder() == process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    assert FleetLock(path).holder() is None


def test_the_holder_may_be_this_process(tmp_path: Path) -> None:
    lock = FleetLock(tmp_path / "fleet.lock")
    with lock:
        assert lock.holder() == FleetLock(lock.path).holder() == os.getpid()
    assert lock.holder() is None


@pytest.mark.parametrize("written", [b"", b"\n", b"nonsense\n"])
def test_a_holder_that_has_not_written_its_id_is_one_all_the_same(
    tmp_path: Path, written: bytes
) -> None:
    path = tmp_path / "fleet.lock"
    with FleetLock(path):
        path.write_bytes(written)
        assert FleetLock(path).holder() == 0


def test_a_lock_that_cannot_be_asked_about_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be opened"):
        FleetLock(tmp_path / "file" / "fleet.lock").holder()


def test_who_asks_does_not_keep_a_daemon_from_starting(tmp_path: Path) -> None:
    path, stop = tmp_path / "fleet.lock", threading.Event()
    with FleetLock(path):
        pass

    def ask() -> None:
        while not stop.is_set():
            FleetLock(path).holder()
            time.sleep(0.0005)

    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(300):
            with FleetLock(path) as lock:
                lock.confirm()
    finally:
        stop.set()
        for thread in asking:
            thread.join()
