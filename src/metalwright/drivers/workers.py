"""Worker processes: started from one place, given one request at a time, killed at the deadline.

A call has an answer within its time or its process is dead, so nothing that it began can come out
after it has ended. Workers die with this process, also on SIGKILL. What a request means is unknown.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from metalwright.drivers.admission import Admission, Lane
from metalwright.drivers.credentials import ENVIRONMENT_PREFIX, Credentials

WAIT_SHARE = 0.5
"""How much of a call's time it may wait for a worker; the rest is for the BMC."""

SLOW_S = 3.0
"""A BMC that held a worker for longer is a suspect until a call ends sooner."""

REQUESTS_MAX = 1_000
"""After so many a worker is replaced: pyghmi 1.6.19 leaks about 1 kB per session."""

ANSWER_BYTES_MAX = 65_536
END_TIMEOUT_S = 5.0

Answer = dict[str, Any]


class WorkerError(Exception):
    """A call has no answer; the process that should have given it is dead."""


class DeadlineError(WorkerError):
    """The worker gave no answer in time."""


class BusyError(WorkerError):
    """No worker became free in time, the BMC has another call, or the pool is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, which BMC it is for, and the credentials that go with it."""

    bmc: str
    lane: Lane
    request: Mapping[str, Any]
    credentials: Credentials

    def line(self) -> bytes:
        """What the worker reads. Only made to be written: credentials are in no variable that a
        traceback could show.
        """
        login = {"username": self.credentials.username, "password": self.credentials.password}
        return json.dumps({**self.request, **login}).encode() + b"\n"


class Worker:
    """One process and its two pipes. Used by one thread at a time."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._requests = cast(BinaryIO, process.stdin)
        self._answers = cast(BinaryIO, process.stdout)
        self._ready = False
        self._served = 0

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def usable(self) -> bool:
        """Whether it lives and has not served its share."""
        return self._process.poll() is None and self._served < REQUESTS_MAX

    def call(self, call: Call, deadline: float) -> Answer:
        """The answer, before `deadline` (`time.monotonic`).

        Raises:
            BusyError: the process is still starting; the request was not sent.
            WorkerError: there is no answer. The process is dead then.
        """
        self._await_ready(deadline)
        self._served += 1
        answered = False
        try:
            self._requests.write(call.line())
            self._requests.flush()
            answer = cast(Answer, json.loads(self._line(deadline)))
            answered = not answer.get("retire")
        except (OSError, ValueError) as error:
            raise WorkerError("the worker process ended unexpectedly") from error
        finally:
            if not answered:  # also on Ctrl-C: a late answer must never meet the next request
                self.end()
        return answer

    def _await_ready(self, deadline: float) -> None:
        if self._ready:
            return
        try:
            self._line(deadline)
        except DeadlineError as error:  # kept: killed, it would only be started again
            raise BusyError("the worker process is still starting") from error
        self._ready = True

    def end(self) -> None:
        """Kill the process and wait until it is gone."""
        self._process.kill()
        self._process.wait(END_TIMEOUT_S)
        self._answers.close()
        with contextlib.suppress(BrokenPipeError):  # what is left in its buffer has no reader
            self._requests.close()

    def kill(self) -> None:
        """Kill the process under the thread that waits for it, which then cleans up."""
        self._process.kill()

    def _line(self, deadline: float) -> bytes:
        descriptor, found = self._answers.fileno(), bytearray()
        poll = select.poll()  # not select.select: it ends at descriptor 1023
        poll.register(descriptor, select.POLLIN)
        while not found.endswith(b"\n"):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not poll.poll(left_s * 1_000):
                raise DeadlineError("no answer in time")
            chunk = os.read(descriptor, ANSWER_BYTES_MAX)
            found += chunk
            if not chunk or len(found) > ANSWER_BYTES_MAX:
                raise WorkerError("the worker process ended unexpectedly")
        return bytes(found)


class Nursery:
    """Starts workers, all from one thread that lives until `close`.

    A process that asks the kernel to be killed with its parent (PR_SET_PDEATHSIG) is killed when
    the *thread* that started it ends. A caller's thread may end at any time; this one does not.
    """

    def __init__(self) -> None:
        self._wanted: queue.SimpleQueue[Future[Worker] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._closed = False

    def start(self, timeout_s: float) -> Worker:
        """A new worker.

        Raises:
            BusyError: the system did not give us a process.
        """
        future: Future[Worker] = Future()
        with self._lock:
            if self._closed:
                raise BusyError("the driver is closed")
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._serve, name="ipmi-nursery", daemon=True
                )
                self._thread.start()
            self._wanted.put(future)
        try:
            return future.result(timeout_s)
        except FutureTimeoutError as error:
            future.add_done_callback(_end_unwanted)
            raise BusyError("no worker process could be started in time") from error
        except OSError as error:
            raise BusyError(f"no worker process could be started: {error.strerror}") from error

    def close(self) -> None:
        """End the thread; the kernel ends what it started."""
        with self._lock:
            self._closed = True
            self._wanted.put(None)
        if self._thread is not None:
            self._thread.join(END_TIMEOUT_S)

    def _serve(self) -> None:
        while (future := self._wanted.get()) is not None:
            try:
                future.set_result(Worker(_spawn()))
            except OSError as error:
                future.set_exception(error)


class WorkerPool:
    """Up to `workers_max` workers for any number of threads."""

    def __init__(self, workers_max: int) -> None:
        """Raises ValueError for fewer than three."""
        self._admission = Admission(workers_max)
        self._nursery = Nursery()
        self._lock = threading.Lock()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._closed = False

    def call(self, call: Call, timeout_s: float) -> Answer:
        """The worker's answer to one call in a turn of its own; see `turn`."""
        with self.turn(call.bmc, call.lane, timeout_s) as ask:
            return ask(call)

    @contextlib.contextmanager
    def turn(self, bmc: str, lane: Lane, timeout_s: float) -> Iterator[Callable[[Call], Answer]]:
        """The turn of one BMC: while it lasts, nobody else asks it. It gives a function that
        carries out calls, all within `timeout_s` from now, waiting for a worker included.

        Raises:
            WorkerError: no answer in time, no worker, or a worker that died.
        """
        began = time.monotonic()
        ticket = self._admission.enter(bmc, lane, timeout_s * WAIT_SHARE)
        if ticket is None:
            closed = "the driver is closed"
            waited = f"no worker was free for it within {timeout_s * WAIT_SHARE:g} s"
            raise BusyError(closed if self._closed else waited)
        admitted = time.monotonic()

        def ask(call: Call) -> Answer:
            worker = self._take(timeout_s)
            try:
                return worker.call(call, began + timeout_s)
            finally:
                self._give_back(worker)

        try:
            yield ask
        finally:
            self._admission.leave(ticket, slow=time.monotonic() - admitted > SLOW_S)

    def close(self) -> None:
        """Kill every worker; calls that run end with a WorkerError."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        self._admission.close()
        for worker in idle:
            worker.end()
        for worker in busy:
            worker.kill()
        self._nursery.close()

    def _take(self, timeout_s: float) -> Worker:
        with self._lock:
            while self._idle:
                worker = self._idle.pop()
                if worker.usable:
                    self._busy.add(worker)
                    return worker
                worker.end()
        worker = self._nursery.start(timeout_s)
        with self._lock:
            if not self._closed:
                self._busy.add(worker)
                return worker
        worker.end()
        raise BusyError("the driver is closed")

    def _give_back(self, worker: Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
            if worker.usable and not self._closed:
                self._idle.append(worker)
                return
        worker.end()


def _spawn() -> subprocess.Popen[bytes]:
    """Start a worker that sees none of our secrets: they are not in its environment."""
    script = Path(__file__).with_name("ipmi_worker.py")
    return subprocess.Popen(
        [sys.executable, "-P", str(script), str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT_PREFIX)},
    )


def _end_unwanted(future: Future[Worker]) -> None:
    if future.exception() is None:
        future.result().end()
