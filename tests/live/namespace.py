"""A network of its own for tests of what speaks below IP: a bridge, taps, and nothing else on it.

    with Namespace() as network:            # whatever is started in here is in it
        network.tap("tap1")                 # for QEMU: -netdev tap,ifname=tap1,...
        with Wire("probe") as wire:         # a port of the bridge that frames are written to
            ...

It is a network namespace of Linux, for the calling thread: what this thread starts is in it, and
nothing of it is seen outside. When the block ends, however it ends, whatever still runs in it is
killed, and with the last process the bridge and the taps are gone too.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

BRIDGE = "br0"
ADDRESS, PREFIX = "10.77.0.1", 24
"""This computer's address on the bridge."""

FRAME_MAX = 65_536
KILL_TIMEOUT_S = 10.0

_CLONE_NEWNET = 0x40000000  # <sched.h>
_TUNSETIFF = 0x400454CA  # <linux/if_tun.h>
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_HERE = Path("/proc/thread-self/ns/net")
_SYSTEM_DIRECTORIES = "/usr/sbin:/sbin"


def program(name: str) -> str | None:
    """Where a program is, also one that only root has in its path."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_DIRECTORIES}")


def require_namespace() -> None:
    """Skip the test where no network can be made; fail where CI promises that it can."""
    try:
        with Namespace() as network:
            network.tap("tap0")
    except (OSError, subprocess.CalledProcessError) as error:
        said = f"no network of its own can be made (it takes root, and /dev/net/tun): {error}"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(said)


class Namespace:
    """A network with one bridge, `BRIDGE`, which this computer is on with `ADDRESS`."""

    def __init__(self) -> None:
        self._home = -1
        self._inode = 0

    def __enter__(self) -> Namespace:
        self._home = os.open(_HERE, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", _CLONE_NEWNET)
        except OSError:
            os.close(self._home)
            raise
        self._inode = _HERE.stat().st_ino
        try:
            ip("link", "set", "lo", "up")
            ip("link", "add", BRIDGE, "type", "bridge")
            ip("address", "add", f"{ADDRESS}/{PREFIX}", "dev", BRIDGE)
            ip("link", "set", BRIDGE, "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            _call("setns", self._home, _CLONE_NEWNET)
        finally:
            os.close(self._home)
            self._kill()

    def tap(self, name: str) -> None:
        """Plug a tap into the bridge; a QEMU process opens it by its name."""
        ip("tuntap", "add", name, "mode", "tap")
        plug(name)

    def processes(self) -> list[int]:
        """Every other process that is in this network."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and (entry / "ns" / "net").stat().st_ino == self._inode:
                    found.append(int(entry.name))
        return [number for number in found if number != os.getpid()]

    def _kill(self) -> None:
        until = time.monotonic() + KILL_TIMEOUT_S
        while left := self.processes():
            for number in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
            if time.monotonic() > until:
                raise AssertionError(f"these processes do not end: {left}")
            time.sleep(0.02)


class Wire:
    """A port of the bridge whose other end is this process: whole Ethernet frames."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._file = -1

    def __enter__(self) -> Wire:
        self._file = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            wanted = struct.pack("16sH22x", self._name.encode(), _IFF_TAP | _IFF_NO_PI)
            fcntl.ioctl(self._file, _TUNSETIFF, wanted)
            plug(self._name)
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        os.close(self._file)

    def fileno(self) -> int:
        """What `select` waits for."""
        return self._file

    def send(self, frame: bytes) -> None:
        """Put a frame on the bridge; one that there is no room for is lost, as on any wire."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._file, frame)

    def receive(self, timeout_s: float) -> bytes:
        """The next frame; nothing when none came."""
        if not select.select([self], [], [], timeout_s)[0]:
            return b""
        with contextlib.suppress(BlockingIOError):
            return os.read(self._file, FRAME_MAX)
        return b""


class Cable:
    """Connects a QEMU machine to the bridge and lets each frame that the machine sends be looked
    at, and changed, on its way. Its end of `-netdev` is `netdev`.
    """

    def __init__(self, name: str, number: int, passes: Callable[[bytes], bytes]) -> None:
        self._wire, self._passes = Wire(name), passes
        self._ours, self._theirs = ("127.0.0.1", 20_000 + number), ("127.0.0.1", 21_000 + number)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    @property
    def netdev(self) -> str:
        """What QEMU is told, without an id."""
        ours, theirs = (f"{host}:{port}" for host, port in (self._ours, self._theirs))
        return f"socket,udp={ours},localaddr={theirs}"

    def __enter__(self) -> Cable:
        self._socket.bind(self._ours)
        self._socket.setblocking(False)
        self._wire.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self._wire.__exit__()
        self._socket.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            ready = select.select([self._socket, self._wire], [], [], 0.1)[0]
            with contextlib.suppress(OSError):  # a machine that is off hears nothing
                if self._socket in ready:
                    self._wire.send(self._passes(self._socket.recv(FRAME_MAX)))
            with contextlib.suppress(OSError):
                if self._wire in ready:
                    self._socket.sendto(self._wire.receive(0), self._theirs)


def ip(*words: str) -> None:
    """Run ip(8) in the network of this thread."""
    tool = program("ip")
    if tool is None:
        raise FileNotFoundError("ip is not installed: apt-get install iproute2")
    subprocess.run([tool, *words], check=True, capture_output=True, text=True, timeout=30)


def plug(name: str) -> None:
    """Make an interface a port of the bridge."""
    ip("link", "set", name, "master", BRIDGE, "up")


def _call(name: str, *arguments: int) -> None:
    """A system call of one thread, by the C library: the interpreter has these from 3.12 on."""
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
