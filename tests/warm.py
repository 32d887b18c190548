"""`mw` without its start: commands in processes of their own, forked from one that has imported it.

Importing the product takes most of a second, and tests of the command line start it hundreds of
times. Here one process imports it once and forks for each command: arguments, environment,
directory and output are the command's own, its exit is the interpreter's, and nothing is left for
the next one. What a test wants to know of the start itself needs a real one.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

REQUEST_BYTES_MAX = 131_072
END_TIMEOUT_S = 30


class Command:
    """One command under way. `returncode` is None until it was waited for."""

    def __init__(self, answers: socket.socket, words: Sequence[str]) -> None:
        self._answers, self._words = answers, words
        self.pid = int(answers.recv(32))
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, negative for a signal, if it has ended."""
        return self._ended(0.0)

    def wait(self, timeout_s: float) -> int:
        """Its exit code. Raises subprocess.TimeoutExpired, and kills it then."""
        code = self._ended(timeout_s)
        if code is None:
            os.kill(self.pid, signal.SIGKILL)
            self._ended(END_TIMEOUT_S)
            raise subprocess.TimeoutExpired(list(self._words), timeout_s)
        return code

    def terminate(self) -> None:
        """SIGTERM, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def _ended(self, timeout_s: float) -> int | None:
        if self.returncode is None:
            self._answers.settimeout(timeout_s)
            try:
                self.returncode = int(self._answers.recv(32))
            except (TimeoutError, BlockingIOError):
                return None
            self._answers.close()
        return self.returncode


class Warm:
    """The process that has everything imported. A context manager."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )

    def __enter__(self) -> Warm:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        self._process.wait(END_TIMEOUT_S)

    def start(
        self, words: Sequence[str], cwd: Path, environment: Mapping[str, str], out: IO[bytes]
    ) -> Command:
        """Begin `mw WORDS`; both its channels are written to `out`."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            request = json.dumps([list(words), str(cwd), dict(environment)]).encode()
            socket.send_fds(self._requests, [request], [out.fileno(), theirs.fileno()])
        return Command(ours, words)

    def run(
        self, words: Sequence[str], cwd: Path, environment: Mapping[str, str], timeout_s: float
    ) -> tuple[int, str]:
        """The exit code of `mw WORDS`, and what it wrote to both channels."""
        with tempfile.TemporaryFile() as out:
            code = self.start(words, cwd, environment, out).wait(timeout_s)
            out.seek(0)
            return code, out.read().decode()


def _serve(requests: socket.socket) -> list[str] | None:
    """Fork for each request. Returns in the process of a command, with its words, and when nobody
    asks any more, with None.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who watch a command
    while True:
        request, fds, *_ = socket.recv_fds(requests, REQUEST_BYTES_MAX, 2)
        if not request:
            return None
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            words = _begin(json.loads(request), *fds)
            if words is None:
                os._exit(0)
            return words
        for fd in fds:
            os.close(fd)


def _begin(
    request: tuple[list[str], str, dict[str, str]], out: int, answers: int
) -> list[str] | None:
    """The words, in the process of the command; None in the one that has waited for it."""
    words, directory, environment = request
    pid = os.fork()
    if pid:
        os.write(answers, str(pid).encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.write(answers, str(code).encode())
        return None
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    os.close(answers)
    sys.stdin = io.TextIOWrapper(io.FileIO(0, "r", closefd=False), "utf-8")
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(io.FileIO(fd, "w", closefd=False), "utf-8", write_through=True)
        for fd in (1, 2)
    )
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["mw", *words]
    return words


if __name__ == "__main__":
    from metalwright.cli import main

    with socket.socket(fileno=int(sys.argv[1])) as asked:
        called = _serve(asked)
    if called is not None:
        main(called)
