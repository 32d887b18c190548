"""A PostgreSQL server that can be stopped and started, and one whose tables are on a small disk."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from postgres import binaries

START_S, STOP_S = 60.0, 30.0
OPTIONS = {
    "listen_addresses": "",
    "max_connections": "20",
    "shared_buffers": "16MB",
    "autovacuum": "off",
}


def missing(what: str) -> None:
    """Skip the test; fail it where CI promises that everything is there."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(what)


class PostgresServer:
    """One cluster in `directory`, run as an unprivileged user. Its commits are durable."""

    def __init__(self, directory: Path) -> None:
        programs = binaries()
        if programs is None:
            missing("no PostgreSQL server is installed: apt-get install postgresql")
        assert programs is not None
        self._programs, self._directory = programs, directory
        self._user: list[str] = []
        if os.getuid() == 0:
            shutil.chown(directory, "nobody", "nogroup")
            self._user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "-D", "data", "-U", "owner", "-A", "trust", "-E", "UTF8", "--locale=C")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = OPTIONS | {"unix_socket_directories": str(self._directory)}
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._user, str(self._programs / "postgres"), "-D", "data", *flags],
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + START_S
        while self._run("pg_isready", "-q", "-h", str(self._directory), check=False).returncode:
            assert self._process.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        """Shut it down at once: every connection is cut."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(2)  # SIGINT: the server's "fast" shutdown
            process.wait(STOP_S)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run one statement, as the owner."""
        words = ["-h", str(self._directory), "-U", "owner", "-qAtX", "-v", "ON_ERROR_STOP=1"]
        return self._run("psql", *words, "-d", database, "-c", statement).stdout.strip()

    def url(self, database: str) -> str:
        """The address of one of its databases, as the settings have it."""
        return f"postgresql+psycopg://owner@/{database}?host={self._directory}"

    def _run(
        self, program: str, *words: str, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._user, str(self._programs / program), *words],
            cwd=self._directory,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=check,
        )


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server in a short path of its own: that of a socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as made:
        server = PostgresServer(Path(made))
        server.start()
        try:
            yield server
        finally:
            server.stop()


class SmallDisk:
    """A file system of a few megabytes for the tables of one database."""

    def __init__(self, place: Path) -> None:
        self.space = place / "space"
        self._ballast = place / "ballast"

    def fill(self) -> None:
        """Leave no room on it."""
        with self._ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(1_024))

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


@contextmanager
def small_disk(megabytes: int) -> Iterator[SmallDisk]:
    """Mount one, which takes root."""
    with tempfile.TemporaryDirectory(prefix="disk") as made:
        mounting = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", made]
        if os.getuid() != 0 or subprocess.run(mounting, capture_output=True).returncode:
            missing("a small file system cannot be mounted here: that needs root")
        try:
            Path(made).chmod(0o755)
            disk = SmallDisk(Path(made))
            disk.space.mkdir()
            shutil.chown(disk.space, "nobody", "nogroup")
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", made], check=True)
