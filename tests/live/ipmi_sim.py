"""One simulated BMC: an `ipmi_sim` process, its configuration, and the machine that it controls.

What was learnt about `ipmi_sim` (openipmi 2.0.33): only SHA-1 suites (3), so `ipmitool` needs
`-C 3`; one MC needs a `serial 15` line even with no machine behind it; the chassis script blocks
the simulator, so it must be fast; a user of privilege level "user" may do what an operator may, so
refused privileges cannot be tested here; the value and the flag of `identify` reach it as one word.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

Address = tuple[str, int]

OPERATOR = "foperator8"
"""A second user of every BMC, with operator privilege only."""

_SCRIPT = Path(__file__).with_name("chassis.sh")
_AUTH_CAPABILITIES = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")
_AUTHS = "none md2 md5 straight"


def require_ipmi_sim() -> None:
    """Skip the test where the simulator is not installed; fail where CI promises that it is."""
    missing = [tool for tool in ("ipmi_sim", "ipmitool") if shutil.which(tool) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"{' and '.join(missing)} should be installed in CI (openipmi, ipmitool)")
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed")


@dataclass
class Simulator:
    """One BMC with an administrator and an `OPERATOR`, and its machine's files in `home`."""

    home: Path
    address: Address
    guid: bytes
    username: str
    password: str
    process: subprocess.Popen[bytes] | None = None
    fru: bytes = b""
    emulated: tuple[str, ...] = ()
    """More commands of `ipmi_sim_cmd(5)`, such as sensors."""

    def configure(self) -> None:
        """Write what the next start reads."""
        host, port = self.address
        self.write(
            "lan.conf",
            f"""name "{self.home.name}"
set_working_mc 0x20
 startlan 1
  addr {host} {port}
  priv_limit admin
  allowed_auths_callback {_AUTHS}
  allowed_auths_user {_AUTHS}
  allowed_auths_operator {_AUTHS}
  allowed_auths_admin {_AUTHS}
  guid {self.guid.hex()}
 endlan
 chassis_control "{_SCRIPT} {self.home}"
 serial 15 {host} 9002 codec VM
 user 1 false "" "none" user 10 none
 user 2 true "{self.username}" "{self.password}" admin 10 {_AUTHS}
 user 3 true "{OPERATOR}" "{self.password}" operator 10 {_AUTHS}""",
        )
        self.write(
            "sim.emu",
            "mc_setbmc 0x20\n"
            "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\n"
            "sel_enable 0x20 100 0x0a\n"
            + "".join(f"{line}\n" for line in self._more())
            + "mc_enable 0x20",
        )

    def _more(self) -> list[str]:
        lines = list(self.emulated)
        if self.fru:
            data = " ".join(f"0x{each:02x}" for each in self.fru)
            lines.append(f"mc_add_fru_data 0x20 0 0x{len(self.fru):x} data {data}")
        return lines

    def start(self) -> None:
        """Start the process; it answers a moment later (`await_answer`)."""
        command = ["ipmi_sim", "-c", str(self.home / "lan.conf"), "-f", str(self.home / "sim.emu")]
        with (self.home / "sim.log").open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "-n", "-p", "-s", str(self.home)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def await_answer(self, timeout_s: float) -> None:
        """Return when the BMC answers. Raises RuntimeError with its log when it does not."""
        assert self.process is not None
        deadline = time.monotonic() + timeout_s
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            probe.connect(self.address)
            while not _answers(probe):
                code = self.process.poll()
                if code is not None or time.monotonic() > deadline:
                    said = self.read("sim.log")
                    raise RuntimeError(f"{self.home.name} is not up (exit code {code}): {said}")
                time.sleep(0.01)

    def stop(self) -> None:
        """Kill the process and its scripts, in whatever state they are."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)
        self.process = None

    def signal(self, number: signal.Signals) -> None:
        """Send the running process a signal."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def read(self, name: str) -> str:
        """The text of one of the machine's files, empty when it is not there."""
        try:
            return (self.home / name).read_text().strip()
        except FileNotFoundError:
            return ""

    def write(self, name: str, value: str) -> None:
        """Replace one of the machine's files as a whole."""
        fresh = self.home / f".{name}.farm"
        fresh.write_text(value + "\n")
        fresh.replace(self.home / name)

    def remove(self, name: str) -> None:
        """Remove one of the machine's files, if it is there."""
        (self.home / name).unlink(missing_ok=True)

    def flag(self, name: str, present: bool) -> None:
        """Set or clear one of the script's faults."""
        if present:
            self.write(name, "")
        else:
            self.remove(name)


def _answers(probe: socket.socket) -> bool:
    """Whether a BMC answers Get Channel Authentication Capabilities within 100 ms."""
    try:
        probe.send(_AUTH_CAPABILITIES)
        return bool(probe.recv(512))
    except OSError:
        return False


def reserve_network(port: int) -> tuple[str, socket.socket]:
    """A 127.x network that no other farm uses: its last address is bound for as long."""
    for number in range(190):
        second = 64 + (os.getpid() + number) % 190
        reservation = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            reservation.bind((f"127.{second}.255.254", port))
        except OSError:
            reservation.close()
            continue
        return f"127.{second}", reservation
    raise RuntimeError("every 127.x network is in use")
