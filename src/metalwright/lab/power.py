"""The power of one machine of the lab: what its BMC's wires would do.

`ipmi_sim` runs this file as its chassis control program, by itself and with a Python that sees
nothing but the standard library:

    power.py HOME get power|boot...
    power.py HOME set power 0|1, boot pxe|default|..., shutdown 1, reset 1, identify N

And the lab runs it once for each machine, beside the BMC, with a pipe that nobody writes to:

    power.py HOME keep PARENT

This one waits until the lab is gone, by whatever end, also `kill -9`, and then ends every process
of the machine. They are known by a variable of their environment, `METALWRIGHT_LAB=HOME`.

HOME has `machine.json` (QEMU's arguments) and is where everything is noted: `log` (every `set`,
with its time), `console.log` (what the machine says on its serial port), `qemu.pid`, `qemu.log`,
`boot` (the boot device of the next start, and of no other).

`ipmi_sim` stands still while this runs, and its client asks again after a second: so everything
here is short, and may be done twice.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

STOP_STEPS, STOP_STEP_S = 10, 0.05
"""QEMU is asked to end and, after so many looks, killed."""

START_TIMEOUT_S = 20.0
MARK = "METALWRIGHT_LAB"
"""The variable in the environment of every process of a machine; its value is the HOME."""

PARENT_LOOK_S = 1.0
"""How often the keeper looks whether its parent still is that; a closed pipe tells at once."""

END_TIMEOUT_S = 10.0
END_LOOK_S = 0.05
CLEAN_LOOKS = 2
"""A process that is just starting another one may be missed by one look at /proc, not by two."""

QMP_TIMEOUT_S = 0.5

NETWORK_FIRST, DISK_FIRST = "order=cn,once=n", "order=cn"
"""The firmware's order: disk (c), then network (n), unless the BMC says otherwise for one start."""


def process_of(home: Path) -> int:
    """The process id of the machine in `home`, 0 when it is off.

    A pid file outlives its process, whose number another may have by now: so its arguments count.
    """
    try:
        number = int((home / "qemu.pid").read_text())
        arguments = Path(f"/proc/{number}/cmdline").read_bytes()
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return 0
    ours = f"{home / 'qemu.pid'}".encode() in arguments.split(b"\0")
    return number if ours and state != "Z" else 0


def started(home: Path) -> list[int]:
    """Every process that was started as this machine, whatever the pid file says."""
    mark = f"{home / 'qemu.pid'}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "cmdline").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def belonging(home: Path | None = None) -> dict[int, Path]:
    """Every process of the machine in `home`, or of any, and the home that it belongs to; keepers
    are not among them. Those of other users cannot be seen.
    """
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            for variable in (entry / "environ").read_bytes().split(b"\0"):
                name, _, value = variable.partition(b"=")
                if name == MARK.encode() and (home is None or value == os.fsencode(home)):
                    found[int(entry.name)] = Path(os.fsdecode(value))
    return found


def kept() -> set[Path]:
    """The homes of the machines that a keeper looks after."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if b"keep" in words and Path(os.fsdecode(words[-5])).name == Path(__file__).name:
                found.add(Path(os.fsdecode(words[-4])))
    return found


def end_all(home: Path) -> bool:
    """Kill every process of the machine in `home`; whether none is left."""
    clean, until = 0, time.monotonic() + END_TIMEOUT_S
    while clean < CLEAN_LOOKS and time.monotonic() < until:
        found = belonging(home)
        for number in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        clean = 0 if found else clean + 1
        time.sleep(END_LOOK_S)
    return clean >= CLEAN_LOOKS


def keep(home: Path, parent: int) -> None:
    """Wait until the process `parent`, which holds the other end of our input, is gone; then end
    the machine.
    """
    while os.getppid() == parent:
        if select.select([0], [], [], PARENT_LOOK_S)[0] and not os.read(0, 1):
            break
    end_all(home)


def switch_on(home: Path) -> None:
    """Start the machine, unless it runs."""
    if process_of(home):
        return
    device = _boot_device(home)
    _note(home, "console.log", f"--- power on, boot device {device or 'none chosen'}")
    command = json.loads((home / "machine.json").read_text())["command"]
    command += ["-boot", NETWORK_FIRST if device == "pxe" else DISK_FIRST]
    command += ["-pidfile", str(home / "qemu.pid"), "-daemonize"]
    with (home / "qemu.log").open("ab") as log:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home,
            timeout=START_TIMEOUT_S, check=False, env={**os.environ, MARK: str(home)},
        )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"QEMU does not start, see {home / 'qemu.log'}")
    (home / "boot").unlink(missing_ok=True)


def switch_off(home: Path) -> None:
    """End the machine, at once, as if its plug were pulled."""
    number = process_of(home)
    with contextlib.suppress(ProcessLookupError):
        if number:
            os.kill(number, signal.SIGTERM)
        for _ in range(STOP_STEPS):
            if not process_of(home):
                return
            time.sleep(STOP_STEP_S)
        os.kill(number, signal.SIGKILL)


def _press_button(home: Path) -> None:
    """The power button, by QEMU's control socket; a machine that is off does not notice."""
    if not process_of(home):
        return
    os.chdir(home)  # the path of a socket may have 107 bytes
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(QMP_TIMEOUT_S)
        connection.connect("qmp.sock")
        with connection.makefile("rw") as line:
            line.readline()
            for command in ("qmp_capabilities", "system_powerdown"):
                line.write(json.dumps({"execute": command}) + "\n")
                line.flush()
                line.readline()


def _boot_device(home: Path) -> str:
    try:
        return (home / "boot").read_text().strip()
    except FileNotFoundError:
        return ""


def _note(home: Path, name: str, words: str) -> None:
    with (home / name).open("a") as file:
        file.write(f"{words}\n")


def _get(home: Path, what: str) -> str:
    if what == "power":
        return f"power:{int(process_of(home) > 0)}"
    if what == "boot":
        return f"boot:{_boot_device(home) or 'default'}"
    raise SystemExit(f"no such parameter: {what}")


def _set(home: Path, what: str, value: str) -> None:
    _note(home, "log", f"{time.time():.6f} {what} {value}")
    if what == "power":
        (switch_on if value == "1" else switch_off)(home)
    elif what == "reset":
        switch_off(home)
        switch_on(home)
    elif what == "boot":
        part = home / "boot.part"
        part.write_text(value)
        part.replace(home / "boot")
    elif what == "shutdown":
        _press_button(home)
    elif what != "identify":
        raise SystemExit(f"no such parameter: {what}")


def main(arguments: list[str]) -> None:
    """Do what one call asks for."""
    home, operation, rest = Path(arguments[0]), arguments[1], arguments[2:]
    if operation == "get":
        for what in rest:
            sys.stdout.write(_get(home, what) + "\n")
    elif operation == "set":
        while len(rest) >= 2:
            _set(home, rest[0], rest[1])
            rest = rest[2:]
    elif operation == "keep":
        keep(home, int(rest[0]))
    elif operation != "check":
        raise SystemExit(f"no such operation: {operation}")


if __name__ == "__main__":
    main(sys.argv[1:])
