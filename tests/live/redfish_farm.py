"""Redfish services of the real kind: sushy-tools' emulator, and a front for each machine.

The emulator is one service with many systems, as a chassis is; each front is an address of its own
that forwards to it, counts what passes, and can fall ill. The truth about a machine is in the
emulator's own file. Power takes the emulator up to 11 s; `settle` lets that time have passed.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pickle
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Bmc, BmcProtocol, Nic, NodeSpec
from metalwright.model.observed import BootDevice, Power

START_S = 30.0
HELD_S = 60.0
USERNAME, PASSWORD = "operator-ada", "Redfish-pass-1"
REFERENCE = "bmc/redfish"
DEVICES = {"Pxe": BootDevice.PXE, "Hdd": BootDevice.DISK}


@dataclass
class Seen:
    """One request that came to a front."""

    method: str
    path: str
    login: bool
    body: bytes = b""


@dataclass
class Front:
    """An address of one machine's service, in front of the emulator."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    ill: str = ""
    healed: threading.Event = field(default_factory=threading.Event)
    delay_s: float = 0.3


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    front: Front
    back: int


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _serve(self) -> None:
        front, length = self.server.front, int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        login = "Authorization" in self.headers
        front.seen.append(Seen(self.command, self.path, login, body))
        if front.ill == "silent":
            front.healed.wait(HELD_S)
            self.close_connection = True
            return
        if front.ill == "garbage":
            self.wfile.write(b"\x00\xff\x16HTP/9 what?\r\n\r\n{]")
            self.close_connection = True
            return
        if front.ill == "slow":
            time.sleep(front.delay_s)
        back = http.client.HTTPConnection("127.0.0.1", self.server.back)
        try:
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            back.request(self.command, self.path, body, headers)
            answer = back.getresponse()
            content = answer.read()
        except OSError:  # the emulator is dead: so is this service
            self.close_connection = True
            return
        finally:
            back.close()
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - what http.server calls

    def log_message(self, *arguments: object) -> None:
        """Silence."""


class RedfishFarm:
    """`count` machines behind one emulator; as a context manager it runs."""

    def __init__(self, count: int, directory: Path) -> None:
        self.count, self.directory = count, directory
        self.fronts = [Front() for _ in range(count)]
        self._servers: list[_Server] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._command: list[str] = []
        self.port = 0

    def __enter__(self) -> RedfishFarm:
        program = Path(sys.executable).with_name("sushy-emulator")
        if not program.exists():
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no sushy-emulator")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.set_password(PASSWORD)
        self.port = free_port()
        conf = self.directory / "emulator.conf"
        systems = [self._fresh(index) for index in range(self.count)]
        conf.write_text(
            "SUSHY_EMULATOR_FAKE_DRIVER = True\n"
            f"SUSHY_EMULATOR_STATE_DIR = {str(self.directory)!r}\n"
            f"SUSHY_EMULATOR_AUTH_FILE = {str(self.directory / 'htpasswd')!r}\n"
            f"SUSHY_EMULATOR_FAKE_SYSTEMS = {systems!r}\n"
        )
        self._command = [str(program), "--config", str(conf), "--fake", "-i", "127.0.0.1"]
        self._command += ["-p", str(self.port)]
        try:
            self.start()
            for front in self.fronts:
                server = _Server(("127.0.0.1", 0), _Handler)
                server.front, server.back = front, self.port
                front.port = server.server_address[1]
                threading.Thread(target=server.serve_forever, daemon=True).start()
                self._servers.append(server)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.front.healed.set()
            server.shutdown()
            server.server_close()
        self.kill()

    def start(self) -> None:
        """Start the emulator, which knows its machines from its file, and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._await()

    def kill(self) -> None:
        """Kill the emulator: every service is dead, the machines go on."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def reset(self) -> None:
        """Every machine off, healthy and without a boot device, as at the start."""
        self.set_password(PASSWORD)
        for index, front in enumerate(self.fronts):
            self.heal(index)
            front.seen.clear()
            self._write(index, self._fresh(index))

    def node(self, index: int, **changes: Any) -> Node:
        """The machine as git would declare it."""
        bmc = Bmc(
            address="127.0.0.1",
            port=self.fronts[index].port,
            credentials=REFERENCE,
            protocol=BmcProtocol.HTTP,
            system=self.uuid(index),
        )
        nics = (Nic(mac=self.mac(index), boot=True),)
        spec = {"driver": "redfish", "bmc": bmc, "nics": nics, **changes}
        return Node(metadata=Metadata(name=f"n{index}"), spec=NodeSpec(**spec))

    def uuid(self, index: int) -> str:
        return f"6d617463-6865-4e6f-9999-{index:012d}"

    def mac(self, index: int) -> str:
        return f"52:54:00:77:00:{index:02x}"

    def settle(self, index: int) -> dict[str, Any]:
        """The emulator's own record of a machine, once what was started has had its time."""
        record = self._read(index)
        pending = record.get("pending_power")
        if pending:
            self._write(index, record | {"pending_power": pending | {"apply_time": 0}})
            record |= {"power_state": pending["power_state"], "pending_power": None}
        return record

    def power(self, index: int) -> Power:
        return Power(self.settle(index)["power_state"].lower())

    def set_power(self, index: int, power: Power) -> None:
        state = {"power_state": power.value.capitalize(), "pending_power": None}
        self._write(index, self._read(index) | state)

    def boot_device(self, index: int) -> BootDevice | None:
        return DEVICES.get(self._read(index).get("boot_device", ""))

    def fall_ill(self, index: int, how: str) -> None:
        self.fronts[index].healed.clear()
        self.fronts[index].ill = how

    def heal(self, index: int) -> None:
        self.fronts[index].ill = ""
        self.fronts[index].healed.set()

    def set_password(self, password: str) -> None:
        """What the service accepts from now on, of every machine."""
        import bcrypt

        digest = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
        fresh = self.directory / "htpasswd.new"
        fresh.write_text(f"{USERNAME}:{digest}\n")
        fresh.replace(self.directory / "htpasswd")

    def _fresh(self, index: int) -> dict[str, Any]:
        return {
            "uuid": self.uuid(index),
            "name": f"machine-{index}",
            "power_state": "Off",
            "external_notifier": False,
            "nics": [{"mac": self.mac(index), "ip": f"172.22.0.{index + 1}"}],
        }

    def _await(self) -> None:
        """Wait for the emulator to answer and to have written its file."""
        deadline = time.monotonic() + START_S
        path = f"/redfish/v1/Systems/{self.uuid(0)}"
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", path, headers=basic(USERNAME, PASSWORD))
                answer = connection.getresponse()
                found = answer.read()
                connection.close()
                if answer.status == 200 and "PowerState" in json.loads(found):
                    return
            time.sleep(0.1)
        pytest.fail(f"the emulator did not start: {(self.directory / 'log').read_text()[-2000:]}")

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        database = sqlite3.connect(self.directory / "fakedriver.sqlite", timeout=10)
        try:
            with database:
                yield database
        finally:
            database.close()

    def _read(self, index: int) -> dict[str, Any]:
        with self._database() as database:
            row = database.execute(
                "select value from cache where key = ?", (pickle.dumps(self.uuid(index)),)
            ).fetchone()
        found: dict[str, Any] = pickle.loads(row[0])
        return found

    def _write(self, index: int, record: dict[str, Any]) -> None:
        values = pickle.dumps(record), pickle.dumps(self.uuid(index))
        with self._database() as database:
            assert (
                database.execute("update cache set value = ? where key = ?", values).rowcount == 1
            )


def basic(username: str, password: str) -> dict[str, str]:
    import base64

    token = base64.b64encode(f"{username}:{password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write_secret(directory: Path, username: str = USERNAME, password: str = PASSWORD) -> Path:
    """The directory of secrets with the one that the machines name."""
    where = directory / REFERENCE
    where.mkdir(parents=True, exist_ok=True)
    for folder in (directory, where.parent, where):
        folder.chmod(0o700)
    for name, value in (("username", username), ("password", password)):
        file = where / name
        file.touch(mode=0o600)
        file.write_text(value)
    return directory
