"""A PostgreSQL server for the tests: Debian's binaries, a socket in a temporary directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

TEMPLATE = "filled_with_the_schema"
START_S, STOP_S = 60.0, 30.0


def binaries() -> Path | None:
    """Where the newest server that is installed has its programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda it: it.parts[-3])
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).parent if elsewhere else None


class Server:
    """A running server; each `database` is a copy of the template."""

    def __init__(self, programs: Path, socket: Path) -> None:
        self._programs, self._socket = programs, socket

    def sql(self, statement: str, database: str = "postgres") -> str:
        asked = [str(self._programs / "psql"), "-h", str(self._socket), "-U", "owner", "-qAtX"]
        asked += ["-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement]
        return subprocess.run(
            asked, check=True, capture_output=True, text=True, timeout=START_S
        ).stdout.strip()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://owner@/{database}?host={self._socket}"

    @contextmanager
    def database(self, template: str) -> Iterator[str]:
        name = f"t{uuid4().hex}"
        self.sql(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
        try:
            yield self.url(name)
        finally:
            self.sql(f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def running_server(programs: Path, *, durable: bool = False) -> Iterator[Server]:
    """Start a server as an unprivileged user, and end it. Nothing of it survives.

    A `durable` one writes each commit to the disk, as a real one does; tests need not wait for it.
    """
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as made:
        directory = Path(made)
        user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        if os.getuid() == 0:
            shutil.chown(directory, "nobody", "nogroup")
        else:
            user = []
        at = {"cwd": directory, "stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT}
        init = ["-D", "data", "-U", "owner", "-A", "trust", "--no-sync", "-E", "UTF8"]
        init += ["--locale=C"]
        subprocess.run([*user, str(programs / "initdb"), *init], check=True, timeout=START_S, **at)
        options = {"listen_addresses": "", "unix_socket_directories": made}
        options |= {"max_connections": "40", "shared_buffers": "16MB"}
        if not durable:
            options |= {"fsync": "off", "full_page_writes": "off"}
        flags = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        process = subprocess.Popen([*user, str(programs / "postgres"), "-D", "data", *flags], **at)
        try:
            until = time.monotonic() + START_S
            ready = [str(programs / "pg_isready"), "-q", "-h", made]
            while subprocess.run(ready, timeout=START_S, check=False).returncode != 0:
                assert process.poll() is None, "the server ended"
                assert time.monotonic() < until, "the server does not answer"
                time.sleep(0.05)
            yield Server(programs, directory)
        finally:
            process.send_signal(2)  # SIGINT: the server's "fast" shutdown
            process.wait(STOP_S)
