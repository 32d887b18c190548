"""`mw lab` as a person has it: the tour to its end; Ctrl-C in the middle leaves nothing behind."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from metalwright.lab.power import started

from .machines import require_machines
from .machines_lab import came_up

pytestmark = [pytest.mark.live, pytest.mark.timeout(420)]

TOUR_S = 360.0
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
