"""Real worker processes: killed at the deadline, gone with their parent, never mixed up.

The BMC here is a bound UDP socket that says nothing, which is all that these tests need.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from metalwright.drivers import ipmi_probe, ipmi_worker, workers
from metalwright.drivers.admission import Lane
from metalwright.drivers.credentials import Credentials, Secrets
from metalwright.drivers.ipmi import IpmiDriver
from metalwright.drivers.workers import Call, WorkerPool
from metalwright.errors import PermanentError, TemporaryError
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Bmc, NodeSpec

CREDENTIALS = Credentials(username="u5er-name", password="pa55-w0rd", version="1")
ENVIRONMENT = {
    "METALWRIGHT_SECRET_BMC_X_USERNAME": CREDENTIALS.username,
    "METALWRIGHT_SECRET_BMC_X_PASSWORD": CREDENTIALS.password,
}


@pytest.fixture
def silent_port() -> Iterator[int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bmc:
        bmc.bind(("127.0.0.1", 0))
        yield bmc.getsockname()[1]


@pytest.fixture
def echoing_port() -> Iterator[int]:
    """A BMC that sends back what it gets: something is there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bmc:
        bmc.bind(("127.0.0.1", 0))
        bmc.settimeout(0.05)
        stop = threading.Event()

        def echo() -> None:
            while not stop.is_set():
                with contextlib.suppress(OSError):
                    bmc.sendto(*bmc.recvfrom(1_024))

        thread = threading.Thread(target=echo)
        thread.start()
        yield bmc.getsockname()[1]
        stop.set()
        thread.join()


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    running = WorkerPool(3)
    yield running
    running.close()


def call(port: int, bmc: str = "bmc", lane: Lane = Lane.OBSERVE) -> Call:
    request = {"do": "observe", "host": "127.0.0.1", "port": port}
    return Call(bmc=bmc, lane=lane, request=request, credentials=CREDENTIALS)


def quick() -> Call:
    """A call that is answered within milliseconds: the name of the BMC does not resolve."""
    request = {"do": "observe", "host": "no-such-bmc.invalid", "port": 623}
    return Call(bmc="quick", lane=Lane.OBSERVE, request=request, credentials=CREDENTIALS)


def children(parent: int | None = None) -> set[int]:
    """The ids of the living children of a process (of this one), zombies not counted."""
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except (OSError, IndexError):
            continue
        if fields[0] != "Z" and int(fields[1]) == (parent or os.getpid()):
            found.add(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def await_that(said: str, happens: Callable[[], bool], within_s: float) -> float:
    """Seconds until `happens()`; the test fails when that is later than `within_s`."""
    began = time.monotonic()
    while not happens():
        assert time.monotonic() - began < within_s, said
        time.sleep(0.01)
    return time.monotonic() - began


def in_thread(function: Callable[[], object]) -> tuple[threading.Thread, list[workers.WorkerError]]:
    """Run it in a thread, and collect the WorkerError that it raises."""
    raised: list[workers.WorkerError] = []

    def run() -> None:
        try:
            function()
        except workers.WorkerError as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


def test_the_deadline_kills_the_process(pool: WorkerPool, silent_port: int) -> None:
    before = children()
    began = time.monotonic()
    with pytest.raises(workers.DeadlineError):
        pool.call(call(silent_port), 2.0)
    assert time.monotonic() - began < 3.0
    assert children() == before


def test_a_bmc_that_is_only_silent_costs_no_process(pool: WorkerPool, silent_port: int) -> None:
    before = children()
    assert pool.call(call(silent_port), 20.0) == {"error": "ipmi", "text": "None", "login": True}
    assert pool.call(quick(), 20.0)["error"] == "address"
    assert len(children() - before) == 1


def test_a_worker_killed_in_mid_call_is_told_and_replaced(
    pool: WorkerPool, silent_port: int
) -> None:
    before = children()
    thread, raised = in_thread(lambda: pool.call(call(silent_port), 30.0))
    await_that("a worker should start", lambda: bool(children() - before), 5)
    (worker,) = children() - before
    time.sleep(0.3)
    os.kill(worker, signal.SIGKILL)
    thread.join(timeout=5)
    assert [type(error) for error in raised] == [workers.WorkerError]
    assert pool.call(quick(), 20.0)["error"] == "address"


def test_a_worker_that_died_while_idle_is_replaced(pool: WorkerPool) -> None:
    before = children()
    pool.call(quick(), 20.0)
    (worker,) = children() - before
    os.kill(worker, signal.SIGKILL)
    await_that("it should die", lambda: not alive(worker), 5)
    time.sleep(0.2)  # all of its threads
    assert pool.call(quick(), 20.0)["error"] == "address"


def test_an_exhausted_pool_says_so_in_time(pool: WorkerPool, silent_port: int) -> None:
    busy = [in_thread(partial(pool.call, call(silent_port, name), 4.0)) for name in ("a", "b")]
    time.sleep(0.2)
    began = time.monotonic()
    with pytest.raises(workers.BusyError, match="no worker was free"):
        pool.call(call(silent_port, "c"), 1.0)
    assert time.monotonic() - began < 1.0, "half of the time is for waiting"
    for thread, _raised in busy:
        thread.join()


def test_there_are_never_more_processes_than_allowed(pool: WorkerPool, silent_port: int) -> None:
    before = children()
    most = 0
    threads = [
        in_thread(partial(pool.call, call(silent_port, f"{lane}{number}", lane), 3.0))[0]
        for number in range(8)
        for lane in Lane
    ]
    while any(thread.is_alive() for thread in threads):
        most = max(most, len(children() - before))
        time.sleep(0.02)
    assert most == 3


def test_closing_ends_every_process_and_every_call(silent_port: int) -> None:
    before = children()
    pool = WorkerPool(3)
    thread, raised = in_thread(lambda: pool.call(call(silent_port), 30.0))
    await_that("a worker should start", lambda: bool(children() - before), 5)
    pool.close()
    thread.join(timeout=5)
    assert isinstance(raised[0], workers.WorkerError)
    assert children() == before
    with pytest.raises(workers.BusyError, match="closed"):
        pool.call(call(silent_port), 1.0)


def test_a_worker_outlives_the_thread_that_asked_first(pool: WorkerPool) -> None:
    """The kernel's death signal follows the thread that started a process."""
    before = children()
    thread, _raised = in_thread(lambda: pool.call(quick(), 20.0))
    thread.join()
    (worker,) = children() - before
    time.sleep(0.5)
    assert alive(worker)
    pool.call(quick(), 20.0)
    assert children() - before == {worker}


def test_secrets_are_in_no_command_line_and_no_environment(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    before = children()
    pool.call(quick(), 20.0)
    (worker,) = children() - before
    for name in ("cmdline", "environ"):
        shown = Path(f"/proc/{worker}/{name}").read_bytes()
        assert b"METALWRIGHT_SECRET" not in shown
        assert CREDENTIALS.password.encode() not in shown
        assert CREDENTIALS.username.encode() not in shown


PARENT = """
import sys, threading, time
from metalwright.drivers.admission import Lane
from metalwright.drivers.credentials import Credentials
from metalwright.drivers.workers import Call, WorkerPool

pool = WorkerPool(3)
request = {"do": "observe", "host": "127.0.0.1", "port": int(sys.argv[1])}
call = Call(bmc="b", lane=Lane.OBSERVE, request=request,
            credentials=Credentials(username="u", password="p", version="1"))
threading.Thread(target=pool.call, args=(call, 60.0)).start()
time.sleep(60)
"""


@pytest.mark.parametrize("after_s", [0.0, 1.0], ids=["while it starts", "in mid-call"])
def test_workers_are_gone_at_once_when_the_parent_is_killed(
    silent_port: int, after_s: float
) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(silent_port)])
    try:
        await_that("a worker should start", lambda: bool(children(parent.pid)), 20)
        time.sleep(after_s)
        (worker,) = children(parent.pid)
        assert alive(worker)
    finally:
        parent.kill()
        parent.wait()
    await_that("the worker should be gone", lambda: not alive(worker), 1.0)


def test_a_worker_leaves_when_its_pipe_ends_even_in_mid_call(silent_port: int) -> None:
    """The second net, for where the kernel's death signal is not to be had."""
    script = Path(ipmi_worker.__file__)
    worker = subprocess.Popen(
        [sys.executable, "-P", str(script), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    with worker.stdin, worker.stdout:
        assert worker.stdout.readline() == ipmi_worker.READY
        worker.stdin.write(call(silent_port).line())
        worker.stdin.flush()
        time.sleep(0.5)
        assert worker.poll() is None
        worker.stdin.close()
        worker.wait(timeout=1)


HOLDER = """
import os, subprocess, sys, time
script = sys.argv[1]
subprocess.Popen([sys.executable, "-P", script, str(os.getpid())], stdin=0)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the death signal is Linux's")
def test_a_worker_is_killed_with_its_parent_even_while_its_pipe_stays_open() -> None:
    """As when another child of the parent has inherited the pipe."""
    command = [sys.executable, "-c", HOLDER, ipmi_worker.__file__]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    with holder.stdin, holder.stdout:
        assert holder.stdout.readline() == ipmi_worker.READY
        (worker,) = children(holder.pid)
        holder.kill()
        holder.wait()
        await_that("the worker should be gone", lambda: not alive(worker), 1.0)


def test_a_worker_of_another_parent_does_nothing() -> None:
    script = Path(ipmi_worker.__file__)
    ran = subprocess.run(
        [sys.executable, "-P", str(script), "1"], stdin=subprocess.DEVNULL, capture_output=True
    )
    assert (ran.returncode, ran.stdout) == (1, b"")


def node(port: int = 623, address: str = "127.0.0.1", reference: str | None = "bmc/x") -> Node:
    bmc = Bmc(address=address, port=port, credentials=reference)
    return Node(metadata=Metadata(name="n1"), spec=NodeSpec(driver="ipmi", bmc=bmc))


@pytest.fixture
def driver() -> Iterator[IpmiDriver]:
    running = IpmiDriver(Secrets(None, ENVIRONMENT), workers_max=3)
    yield running
    running.close()


def test_a_missing_pyghmi_is_told_with_what_to_install(
    driver: IpmiDriver, echoing_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyghmi").mkdir()
    (tmp_path / "pyghmi" / "__init__.py").write_text("raise ImportError('no pyghmi')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    for _ in range(2):
        with pytest.raises(PermanentError, match=r"pip install 'metalwright\[ipmi\]'"):
            driver.observe(node(echoing_port), 20.0)


def test_a_node_without_bmc_reference_or_secret_is_permanent(driver: IpmiDriver) -> None:
    bare = Node(metadata=Metadata(name="n1"), spec=NodeSpec(driver="ipmi"))
    for each, told in (
        (bare, "n1 has no bmc"),
        (node(reference=None), "n1 names no credentials"),
        (node(reference="bmc/unknown"), "credentials bmc/unknown"),
    ):
        with pytest.raises(PermanentError, match=told):
            driver.observe(each, 5.0)


def test_an_address_that_does_not_resolve_is_temporary(driver: IpmiDriver) -> None:
    with pytest.raises(TemporaryError, match="does not resolve"):
        driver.observe(node(address="no-such-bmc.invalid"), 10.0)


def test_silence_is_told_as_a_time_out_and_costs_no_process(
    driver: IpmiDriver, silent_port: int
) -> None:
    before = children()
    for timeout_s, within_s in ((1.0, 1.0), (20.0, 2.5)):
        began = time.monotonic()
        with pytest.raises(TemporaryError, match="did not answer") as caught:
            driver.observe(node(silent_port), timeout_s)
        assert time.monotonic() - began < within_s
        assert isinstance(caught.value.__cause__, TimeoutError)
    assert children() == before


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_closed_port_is_as_silent(driver: IpmiDriver, address: str) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as unused:
        unused.bind(("::", 0))
        port = unused.getsockname()[1]
    with pytest.raises(TemporaryError, match="did not answer"):
        driver.observe(node(port, address), 2.0)


def test_a_probe_hears_late_and_repeated_answers() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bmc:
        bmc.bind(("127.0.0.1", 0))
        port = bmc.getsockname()[1]
        heard: list[bytes] = []

        def answer_the_third() -> None:
            bmc.settimeout(10)
            for _ in range(3):
                packet, sender = bmc.recvfrom(1_024)
                heard.append(packet)
            bmc.sendto(b"x", sender)

        thread = threading.Thread(target=answer_the_third)
        thread.start()
        assert ipmi_probe.answers("127.0.0.1", port, 5.0)
        thread.join()
    assert heard == [ipmi_probe.GET_CHANNEL_AUTHENTICATION_CAPABILITIES] * 3
    assert ipmi_probe.answers("a-name.invalid", port, 0.1), "names are for the worker"
