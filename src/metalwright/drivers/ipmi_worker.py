"""One worker process: it speaks IPMI through pyghmi, one request after the other, and nothing else.

The parent writes one JSON object per line to its standard input and reads one per line from its
standard output (`workers.py`). Credentials come with each request and are forgotten after it. This
file is run by its path, and imports nothing of Metalwright but `ipmi_reads`, so that it starts
fast.

Why a process, and one thread of requests in it (all seen with pyghmi 1.6.19):
- threads and one lost packet: two locks taken in both orders, every thread hangs for ever;
- its sockets are shared and switched between blocking and not by two threads: the I/O thread hangs;
- a descriptor of 1024 or more kills its I/O thread, and a fork after first use hangs the child;
- nothing in it can be cancelled. A process can be killed, and then sends nothing any more.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import queue
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

from metalwright.drivers.ipmi_reads import another_machine, read_fru, sensors

OPERATOR = 3
"""The privilege level asked for: enough for power and boot device, and no more.

Asking for a fixed level also keeps logins to one: left to itself, pyghmi answers "unauthorized
name" with a second login one level lower, and two wrong logins per try lock accounts twice as fast.
"""

CHASSIS, APPLICATION = 0x00, 0x06
GET_CHASSIS_STATUS, CHASSIS_CONTROL, SET_BOOT_OPTIONS, GET_BOOT_OPTIONS = 0x01, 0x02, 0x08, 0x09
GET_SYSTEM_GUID = 0x37
BOOT_FLAGS, VALID_BIT_CLEARING = 5, 3
POWER_CONTROL = {"off": 0, "on": 1, "soft": 5}
BOOT_SELECTORS = {"pxe": 0x04, "disk": 0x08}
COMPLETION_CODE_MAX = 0xFF
BUSY_CODES = frozenset({0x81, 0xC0, 0xC3})
"""Of Read FRU Data (IPMI 2.0, 34.2: the FRU device is busy), and node busy and time-out (5.2)."""

READY = b"{}\n"
"""The first line of all: pyghmi is loaded, requests are served."""

_PR_SET_PDEATHSIG = 1

Request = dict[str, Any]
Answer = dict[str, Any]


class RefusedError(Exception):
    """The BMC answered with a completion code other than zero."""


class BusyError(RefusedError):
    """The BMC cannot say it now."""


def main() -> None:
    """Serve requests until standard input ends or the parent is gone."""
    parent = int(sys.argv[1])
    die_with(parent)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # the parent decides: it drains, then it kills
    # pyghmi prints to standard output now and then: that must not get between the answers
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), 1)
    requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
    threading.Thread(target=listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    try:
        import pyghmi.ipmi.private.session  # noqa: F401
    except ImportError as error:
        serve_nothing(requests, answers, str(error))
    answers.write(READY)
    while True:
        answer = perform(requests.get(), parent)
        answers.write(json.dumps(answer).encode() + b"\n")
        if answer.get("retire"):
            os._exit(0)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the parent's thread that started it ends.

    The signal follows the *thread* (prctl(2)), so the parent starts workers from one that lives as
    long as the pool. Where it is not to be had, `listen` sees the pipe close.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it ended before the call above


def listen(pipe: BinaryIO, requests: queue.SimpleQueue[Request]) -> None:
    """Hand requests over; leave at once, in the middle of whatever goes on, when the pipe ends."""
    try:
        for line in pipe:
            requests.put(json.loads(line))
    finally:
        os._exit(0)


def serve_nothing(requests: queue.SimpleQueue[Request], answers: BinaryIO, why: str) -> None:
    """Say to every request that pyghmi is not there."""
    answers.write(READY)
    while True:
        requests.get()
        answers.write(json.dumps({"error": "missing", "text": why}).encode() + b"\n")


def perform(request: Request, parent: int) -> Answer:
    """Carry one request out: `{"ok": ...}` or `{"error": kind, "text": ...}`.

    After anything but pyghmi's own error the state of pyghmi is not to be trusted: the answer says
    `retire` and the process ends.
    """
    from pyghmi.exceptions import IpmiException

    at_login = True
    try:
        with logged_in(request) as ask:
            at_login = False
            return {"ok": carried_out(ask, request, parent)}
    except (IpmiException, RefusedError) as error:
        return {"error": "ipmi", "text": str(error), "login": at_login}
    except socket.gaierror as error:
        return {"error": "address", "text": str(error.strerror)}
    except OSError as error:
        return {"error": "system", "text": str(error.strerror), "retire": True}
    except Exception as error:  # noqa: BLE001
        # IndexError, struct.error, TypeError, AssertionError: pyghmi reads packets without looking.
        # Only the name: the text of such an error can carry anything.
        return {"error": "garbage", "text": type(error).__name__, "retire": True}


def carried_out(ask: Ask, request: Request, parent: int) -> Answer:
    """Do what is asked for in an open session. A change is not begun when it is for another
    machine, nor when the parent has died.
    """
    if request["do"] == "observe":
        return observe(ask, request.get("fru_unless"))
    if request["do"] == "sensors":
        return sensors(ask)
    other = another_machine(ask, request.get("own"))
    if other is not None:
        return other
    if os.getppid() != parent:
        os._exit(1)
    if request["do"] == "power":
        return set_power(ask, request["level"])
    once = request.get("once", False)
    return set_boot_device(ask, request["device"], uefi=request["uefi"], once=once)


class Ask:
    """One open session: `ask(netfn, command, data)` gives the data of the answer."""

    def __init__(self, session: Any) -> None:
        self.session = session

    def __call__(self, netfn: int, command: int, *data: int) -> bytes:
        """Raises RefusedError on a completion code, IpmiException when the session is lost."""
        answer = self.session.raw_command(netfn=netfn, command=command, data=data)
        if "error" in answer:
            from pyghmi.exceptions import IpmiException

            code = answer.get("code", 0)
            if not 0 < code <= COMPLETION_CODE_MAX:
                raise IpmiException(answer["error"])
            raise (BusyError if code in BUSY_CODES else RefusedError)(answer["error"])
        return bytes(answer["data"])

    def if_known(self, netfn: int, command: int, *data: int) -> bytes:
        """As a call, with no data where the BMC refuses: not every BMC knows every command."""
        try:
            return self(netfn, command, *data)
        except RefusedError:
            return b""

    def unless_busy(self, netfn: int, command: int, *data: int) -> bytes:
        """The same, but that it is busy says nothing of what it knows. Raises BusyError."""
        try:
            return self(netfn, command, *data)
        except BusyError:
            raise
        except RefusedError:
            return b""


@contextlib.contextmanager
def logged_in(request: Request) -> Iterator[Ask]:
    """Log in, and out again whatever happens: session slots are few (Dell iDRAC 8).

    pyghmi's session, not its `Command`: that loads twice as long and asks the BMC for its maker.
    """
    from pyghmi.ipmi.private.session import Session

    # Bytes, not str: pyghmi 1.6.19 files a str login under one key and removes another, so that
    # the second login to a BMC gets the first one's dead session.
    session = Session(
        bmc=request["host"],
        port=request["port"],
        userid=request["username"].encode(),
        password=request["password"].encode(),
        privlevel=OPERATOR,
    )
    try:
        yield Ask(session)
    finally:
        with contextlib.suppress(Exception):
            if not session.logging:
                session.logout()


def observe(ask: Ask, fru_unless: str | None) -> Answer:
    """The chassis status, boot flags and system GUID, undecoded, as hexadecimal text; and the FRU
    inventory, unless the GUID is `fru_unless`, or that is `None`.
    """
    status = ask(CHASSIS, GET_CHASSIS_STATUS)
    answer = {
        "status": status.hex(),
        "boot_flags": ask.if_known(CHASSIS, GET_BOOT_OPTIONS, BOOT_FLAGS, 0, 0).hex(),
        "guid": ask.if_known(APPLICATION, GET_SYSTEM_GUID).hex(),
    }
    if fru_unless is not None and answer["guid"] != fru_unless:
        with contextlib.suppress(BusyError):  # it is read another time
            answer["fru"] = read_fru(ask).hex()
    return answer


def set_power(ask: Ask, level: str) -> Answer:
    """Ask for a power level where it is not there yet; never for a cycle or a reset."""
    wanted = level == "on"
    if is_on(ask) == wanted:
        return {"already": True}
    try:
        ask(CHASSIS, CHASSIS_CONTROL, POWER_CONTROL[level])
    except RefusedError:
        # some BMCs refuse with "not supported in present state" what has come about meanwhile
        if is_on(ask) != wanted:
            raise
        return {"already": True}
    return {"already": False}


def is_on(ask: Ask) -> bool:
    """Bit 0 of the current power state (IPMI 2.0, table 28-3)."""
    return bool(ask(CHASSIS, GET_CHASSIS_STATUS)[0] & 1)


def set_boot_device(ask: Ask, device: str, *, uefi: bool, once: bool = False) -> Answer:
    """Choose a boot device, for every boot from now on or for the next one only, and read it back.

    Nothing is written where the flags already say so: a BMC keeps them in flash.
    """
    kept = 0 if once else 0x40
    wanted = bytes((0x80 | kept | (0x20 if uefi else 0), BOOT_SELECTORS[device]))
    found = ask.if_known(CHASSIS, GET_BOOT_OPTIONS, BOOT_FLAGS, 0, 0)
    if found[2:4] == wanted and not found[1] & 0x80:
        return {"already": True, "boot_flags": found.hex()}
    # Else the flags lapse when no power command follows within 60 s (IPMI 2.0, table 28-14,
    # parameter 3). Not every BMC has the parameter.
    ask.if_known(CHASSIS, SET_BOOT_OPTIONS, VALID_BIT_CLEARING, 0x08)
    ask(CHASSIS, SET_BOOT_OPTIONS, BOOT_FLAGS, *wanted, 0, 0, 0)
    found = ask.if_known(CHASSIS, GET_BOOT_OPTIONS, BOOT_FLAGS, 0, 0)
    return {"already": False, "boot_flags": found.hex()}


if __name__ == "__main__":
    main()
