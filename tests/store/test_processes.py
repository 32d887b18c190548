"""Several processes on one store, and processes that die: slots hold, nothing half-written."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from store_samples import NOW, admitted, an_applied, an_operation, ended

from metalwright.errors import LockedError, StoreError
from metalwright.model.operation import OperationState
from metalwright.store import FleetLock, Store

HERE = Path(__file__).parent
PATIENCE_S = 60.0


def start(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments], stdout=subprocess.PIPE, text=True
    )


def end_of(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, said
    return said


def wait_until(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_processes_that_open_a_new_store_at_once_make_it_once(url: str) -> None:
    processes = [start("admit_worker.py", url, "open") for _ in range(3)]
    for process in processes:
        end_of(process)
    with Store.open(url) as store:
        assert [line.event for line in store.journal(None, 99)] == ["adopted"] * 3
        assert sorted(line.seq for line in store.journal(None, 99)) == [1, 2, 3]


def test_concurrent_processes_never_take_more_slots_than_there_are(url: str) -> None:
    names = [f"n{number}" for number in range(40)]
    with Store.open(url) as store:
        store.adopt(dict.fromkeys(names, an_applied()), "ada", NOW)
        store.create([an_operation(f"o-{name}", name) for name in names], NOW, None)
    processes = [start("admit_worker.py", url, "admit", "3", "5") for _ in range(3)]
    said = [end_of(process).split() for process in processes]
    with Store.open(url) as store:
        assert all(not node.operation for node in store.memory().nodes.values())
        held, most = 0, 0
        for line in store.journal(None, 1_000)[::-1]:
            held += {"admitted": 1, "active": -1}.get(line.event, 0)
            most = max(most, held)
        assert most == 3, "the scope of three is full at times, and never fuller"
        assert store.slots() == {}
    admissions = [int(word) for words in said for word in words]
    assert sum(admissions) == 40, "each was admitted by exactly one process"


def test_a_process_killed_in_the_middle_of_writing_leaves_whole_cycles(url: str) -> None:
    names = [f"n{number}" for number in range(4)]
    with Store.open(url) as store:
        store.adopt(dict.fromkeys(names, an_applied()), "ada", NOW)
    for round_ in range(4):
        process = start("admit_worker.py", url, "churn", str(round_))
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.03 * (round_ + 1))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=PATIENCE_S)
        with Store.open(url) as store:
            journal = store.journal(None, 100_000)[::-1]
            assert [line.seq for line in journal] == list(range(1, len(journal) + 1))
            memory = store.memory()
            busy = {name: node.operation for name, node in memory.nodes.items() if node.operation}
            # The worker starts and ends all four nodes in one batch each: all of them, or none.
            assert len(busy) in (0, 4)
            states = {operation.state for operation in busy.values()}
            assert states <= {OperationState.RUNNING}
            assert memory.slots == ({"fleet": 4} if busy else {})
            for operation in busy.values():
                store.finish(ended(operation, OperationState.FAILED), None, NOW)


def test_a_writer_waits_for_another_and_a_reader_does_not(url: str) -> None:
    with Store.open(url) as mine, Store.open(url) as other:
        with mine.batch():
            mine.adopt({"n1": None}, "ada", NOW)
            began = time.monotonic()
            assert other.memory().nodes == {}
            assert time.monotonic() - began < 5
            process = start("admit_worker.py", url, "open")
            time.sleep(0.5)
            assert process.poll() is None, "it waits"
        end_of(process)
        assert len(other.memory().nodes) == 2


def test_only_one_process_drives_the_fleet(tmp_path: Path) -> None:
    path = tmp_path / "fleet.lock"
    process = start("lock_worker.py", str(path))
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    with pytest.raises(LockedError, match=f"process {process.pid} drives this fleet"):
        FleetLock(path).acquire()
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_S)
    with FleetLock(path), pytest.raises(LockedError, match=f"process {os.getpid()} "):
        FleetLock(path).acquire()
    with FleetLock(path):
        pass


def test_a_lock_is_taken_once_and_released_once(tmp_path: Path) -> None:
    lock = FleetLock(tmp_path / "fleet.lock")
    lock.acquire()
    with pytest.raises(LockedError, match="this process"):
        lock.acquire()
    lock.release()
    lock.release()
    lock.acquire()
    lock.release()


def test_a_lock_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "fleet.lock"
    with FleetLock(path):
        pass
    path.unlink()
    with FleetLock(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_a_lock_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        FleetLock(tmp_path / "missing" / "fleet.lock").acquire()


def test_a_child_process_does_not_keep_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "fleet.lock"
    with FleetLock(path):
        child = subprocess.Popen(["sleep", "30"])
    try:
        with FleetLock(path):
            assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_step_that_a_dead_process_left_is_read_by_the_next(url: str) -> None:
    operation = an_operation("o1", "n1")
    with Store.open(url) as store:
        store.adopt({"n1": an_applied()}, "ada", NOW)
        store.create([operation], NOW, None)
        running = admitted(operation)
        store.admit(running, {"fleet": 1}, NOW)
    with Store.open(url) as store:
        assert store.memory().nodes["n1"].operation == running
        wait_until(lambda: store.memory().slots == {"fleet": 1})
