"""`mw lab` as a person has it: the tour to its end; Ctrl-C or `kill -9` leaves nothing behind."""

from __future__ import annotations

import contextlib
import http.server
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from metalwright.boot import scripts
from metalwright.lab.machine import LabError, Machine, end_left_behind
from metalwright.lab.power import belonging, kept, process_of, started, switch_on

from .machines import require_machines, service_url
from .machines_lab import came_up

pytestmark = [pytest.mark.live, pytest.mark.timeout(1_020)]

TOUR_S = 900.0
START_S = 90.0
PORTS = 8
TRIES_MAX = 100


@pytest.fixture
def ports() -> int:
    """The first of some ports in a row that nothing uses now, below those that any call may get."""
    require_machines()
    for _ in range(TRIES_MAX):
        first = random.SystemRandom().randrange(20_000, 30_000)
        if all(is_free(port) for port in range(first, first + PORTS)):
            return first
    raise AssertionError(f"no {PORTS} ports in a row are free")


def is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def mw_lab(home: Path, port: int, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "metalwright",
            "lab",
            "--dir",
            str(home),
            "--port",
            str(port),
            *words,
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def systems(home: Path, name: str) -> list[str]:
    """The systems that came up on a machine, by its own console."""
    return came_up((home / "machines" / name / "console.log").read_text(errors="replace"))


def assert_nothing_runs(home: Path) -> None:
    assert [path for path in belonging().values() if path.is_relative_to(home)] == []
    assert [pid for machine in (home / "machines").iterdir() for pid in started(machine)] == []
    marks = str(home).encode()
    left = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.exists() and marks in _read(path)
    ]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def eventually(reached: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not reached():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def descendants(pid: int) -> set[int]:
    """All processes below one, those of its threads too."""
    found: set[int] = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, path.read_text().split()):
                found |= {child} | descendants(child)
    return found


def is_gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def a_machine(home: Path, port: int, number: int = 1) -> Machine:
    url = f"http://10.0.2.2:{port}/none"
    machine = Machine(home=home, number=number, port=port, username="u", password="p", boot_url=url)
    machine.build()
    return machine


def test_the_tour_goes_to_its_end(tmp_path: Path, ports: int) -> None:
    home = tmp_path / "lab"
    running = mw_lab(home, ports, "--tour")
    try:
        said, _ = running.communicate(timeout=TOUR_S)
    finally:
        running.kill()
    assert running.returncode == 0, said[-4000:]
    assert "3 as desired" in said, said[-4000:]
    assert systems(home, "m1") == ["red", "blue", "red", "green", "red"]
    assert systems(home, "m2") == systems(home, "m3") == ["red", "blue", "red"]
    assert not (home / "machines" / "m1" / "disk.raw").read_bytes().strip(b"\0")
    assert_nothing_runs(home)


def test_ctrl_c_ends_every_process(tmp_path: Path, ports: int) -> None:
    home = tmp_path / "lab"
    running = mw_lab(home, ports, "--machines", "1")
    try:
        deadline = time.monotonic() + START_S
        while not (home / "machines" / "m1" / "qemu.pid").exists():
            assert running.poll() is None, running.communicate()[0][-4000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        said, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert running.returncode == 0, said[-4000:]
    assert_nothing_runs(home)


def test_kill_9_ends_every_process(tmp_path: Path, ports: int) -> None:
    home = tmp_path / "lab"
    running = mw_lab(home, ports, "--machines", "1")
    try:
        machine = home / "machines" / "m1"
        eventually(lambda: process_of(machine) > 0 or running.poll() is not None, "QEMU", START_S)
        assert running.poll() is None, running.communicate()[0][-4000:]
        every = descendants(running.pid) | set(belonging(machine)) | set(started(machine))
        assert len(every) >= 3, "the keeper, the BMC, and QEMU, which is no descendant"
        running.kill()
        running.wait()
        eventually(lambda: all(is_gone(pid) for pid in every), "their end")
        eventually(lambda: machine not in kept(), "the end of the keeper")
        assert_nothing_runs(home)
    finally:
        running.kill()
        running.communicate()


HOLDER = """
import sys, time
from pathlib import Path
from metalwright.boot import scripts
from metalwright.lab.machine import Machine
from metalwright.lab.power import switch_on
home, port = Path(sys.argv[1]), int(sys.argv[2])
machine = Machine(home=home, number=1, port=port, username="u", password="p", boot_url="http://x")
machine.build()
machine.start_bmc()
switch_on(home)
print(machine._keeper.pid, flush=True)
time.sleep(600)
"""


def test_what_was_killed_with_its_keeper_is_ended_by_the_next(tmp_path: Path, ports: int) -> None:
    home = tmp_path / "m1"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home), str(ports)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    with holder.stdout, contextlib.closing(a_machine(tmp_path / "m2", ports + 1, 2)) as other:
        keeper = int(holder.stdout.readline())
        other.start_bmc()
        assert {home, other.home} <= kept()
        # While it is kept, it is not ours to end, and its port is refused in words.
        assert home not in end_left_behind()
        with pytest.raises(LabError, match=rf"cannot have port {ports} .* another lab"):
            a_machine(tmp_path / "m3", ports, 3).start_bmc()
        os.kill(keeper, signal.SIGKILL)
        holder.kill()
        holder.wait()
        eventually(lambda: home not in kept(), "the keeper to be gone")
        end_left_behind()
        eventually(lambda: belonging(home) == {}, "the end of what was left")
        assert other.bmc_process in belonging(other.home), "the other one goes on"
    assert belonging(other.home) == {}
    assert other.home not in kept()


def test_a_machine_that_nobody_keeps_is_let_alone(tmp_path: Path, ports: int) -> None:
    with contextlib.closing(a_machine(tmp_path / "m1", ports)) as machine:
        switch_on(machine.home)
        assert machine.home not in end_left_behind()
        assert machine.is_on
    assert belonging(machine.home) == {}


class Faulty(http.server.BaseHTTPRequestHandler):
    """A boot service that has no room at first, then dies, then breaks off in the middle."""

    asked: list[str]
    service: str

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.asked.append(path)
        number = self.asked.count(path)
        if path == "/boot.ipxe":
            if number == 1:
                self.answer(503, "no room", **{"Retry-After": "1"})
            else:
                self.answer(200, scripts.identify(self.service))
        elif path == "/ipxe" and number == 2:
            base = f"{self.service}/b/T"
            self.answer(200, scripts.kernel(base, (), initrds=("i",), service=self.service))
        elif path == "/ipxe" and number > 2:
            self.answer(200, scripts.local_disk("done", "efi"))
        elif path == "/b/T/kernel":
            self.answer(200, "half of it", **{"Content-Length": "1000000"})

    def answer(self, status: int, text: str, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(text))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


def test_ipxe_asks_again_where_there_is_no_room_and_where_it_breaks_off(
    tmp_path: Path, ports: int
) -> None:
    service = service_url(ports + 1)
    asked: list[str] = []
    handler = type("Handler", (Faulty,), {"asked": asked, "service": service})
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", ports + 1), handler) as server,
        contextlib.closing(a_machine(tmp_path / "m1", ports)) as machine,
    ):
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            machine.boot_url = f"{service}/boot.ipxe"
            machine.build()
            (machine.home / "boot").write_text("pxe")
            switch_on(machine.home)
            eventually(lambda: asked.count("/ipxe") >= 3, f"the third question: {asked}", 180)
        finally:
            server.shutdown()
            thread.join()
    assert asked == ["/boot.ipxe", "/boot.ipxe", "/ipxe", "/ipxe", "/b/T/kernel", "/ipxe"]
