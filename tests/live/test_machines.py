"""The machines of the lab are machines: their BMC commands what really happens, and what boots is
what was served. No daemon is in it.
"""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalwright.lab.machine import Machine
from metalwright.lab.power import process_of, started

from .machines import MachineFarm, Systems, free_port, require_machines, service_url

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

BOOT_S = 90.0
SCRIPT = "#!ipxe\nkernel {0}/kernel initrd=initrd {1}\ninitrd --name initrd {0}/initrd\nboot\n"


class Server:
    """A web server that boots every machine alike, and notes who asked for what."""

    def __init__(self) -> None:
        self.port = free_port()
        self.base = service_url(self.port)
        self.asked: list[str] = []
        self.reports: list[dict[str, object]] = []
        self.files: dict[str, bytes] = {"agent": b""}  # by which a card finds the service
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                name = self.path.partition("?")[0].strip("/")
                self._answer(200, outer.files[name])

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.reports.append(json.loads(body))
                self._answer(200, b"ok\n")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def boots(self, systems: Systems, name: str) -> None:
        """Serve the system `name` from now on."""
        systems.system(name)
        arguments = f"console=ttyS0 quiet rdinit=/system mw.url={self.base}/b"
        self.files["script"] = SCRIPT.format(self.base, arguments).encode()
        self.files["kernel"] = systems.kernel.read_bytes()
        self.files["initrd"] = (systems.directory / f"initrd-{name}").read_bytes()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    require_machines()
    running = Server()
    yield running
    running.close()


def ipmitool(machine: Machine, *words: str) -> str:
    command = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", machine.host, "-p", str(machine.port)]
    command += ["-U", machine.username, "-P", machine.password, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=25)
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait(reached: Callable[[], bool], what: str, timeout_s: float = BOOT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def test_a_machine_boots_what_is_served_and_then_from_the_disk_that_was_written(
    tmp_path: Path, server: Server, systems: Systems
) -> None:
    server.boots(systems, "red")
    systems.disk("green", server.base)
    server.files["hello"] = f"url {server.base}/b\n".encode()
    with MachineFarm(1, tmp_path / "farm", f"{server.base}/script") as farm:
        machine = farm[0]
        ipmitool(machine, "chassis", "bootdev", "pxe")
        ipmitool(machine, "chassis", "power", "on")
        assert machine.is_on
        assert "is on" in ipmitool(machine, "chassis", "power", "status")
        wait(lambda: len(server.reports) == 1, "its first report")
        facts = server.reports[0]["facts"]
        assert isinstance(facts, dict)
        assert facts["serial"] == machine.serial
        assert facts["system_uuid"] == machine.system_uuid
        assert [nic["mac"] for nic in facts["nics"]] == [machine.mac]
        assert [disk["serial"] for disk in facts["disks"]] == [machine.disk_serial]
        wait(lambda: "This is the system red." in machine.console, "its console")

        ipmitool(machine, "chassis", "power", "soft")
        wait(lambda: not machine.is_on, "its system to shut down", 20)
        machine.disk.write_bytes((systems.directory / "disk-green").read_bytes())
        asked = len(server.asked)
        ipmitool(machine, "chassis", "power", "on")
        wait(lambda: len(server.reports) == 2, "its second report")
        wait(lambda: "This is the system green." in machine.console, "its console")
        (question,) = (path for path in server.asked[asked:] if path != "/agent")
        assert question.startswith("/hello?mac=")
        words = [words for _, words in machine.commands]
        assert words == ["boot pxe", "power 1", "shutdown 1", "power 1"]


def test_power_is_the_process_and_its_bmc_may_die_without_it(tmp_path: Path) -> None:
    with MachineFarm(1, tmp_path, service_url(free_port())) as farm:
        machine = farm[0]
        for _ in range(2):  # what a client repeats changes nothing
            ipmitool(machine, "chassis", "power", "on")
        number = process_of(machine.home)
        assert number
        machine.stop_bmc()
        machine.start_bmc()
        assert process_of(machine.home) == number
        assert "is on" in ipmitool(machine, "chassis", "power", "status")
        ipmitool(machine, "chassis", "power", "soft")
        ipmitool(machine, "chassis", "power", "reset")
        assert process_of(machine.home) not in (0, number)
        os.kill(process_of(machine.home), 9)
        wait(lambda: not machine.is_on, "the process to be gone", 5)
        assert "is off" in ipmitool(machine, "chassis", "power", "status")
        ipmitool(machine, "chassis", "power", "on")
        left, bmc = process_of(machine.home), machine.bmc_process
    assert started(machine.home) == []
    for pid in (left, bmc):
        assert pid
        wait(lambda pid=pid: not _runs(pid), "it to be ended", 5)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
