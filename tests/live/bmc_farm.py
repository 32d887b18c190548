"""Real BMCs on loopback: OpenIPMI's `ipmi_sim`, one process each, behind a network that can fail.

    with BmcFarm(3, tmp_path) as farm:
        node = farm.node(0)             # its document, credentials reference `bmc/farm`
        farm.write_secrets(directory)   # the secret that opens them
        farm.hang(1)                    # and so on
        assert farm.power(0) is Power.ON

A BMC's power and boot device live in files that its `chassis_control` script keeps, so the true
state is read without IPMI, and every command that reached the machine is in its log.

Two sorts of trouble: `kill`, `hang`, `restart`, `set_password`, `ignore_power` befall the BMC;
`silence`, `slow`, `garbage`, `hang_mid_session` befall the network before it (`udp_relay.py`).
`ipmitool` goes round that network.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Bmc, BootMode, NodeSpec
from metalwright.model.observed import BootDevice, Power

from .ipmi_sim import Simulator, require_ipmi_sim, reserve_network
from .udp_relay import Line, Relay

REFERENCE = "bmc/farm"
READY_TIMEOUT_S = 15.0
IPMITOOL_TIMEOUT_S = 25.0
COUNT_MAX = 2_000
AWAIT_STEP_S = 0.002

_GUID = 0xA1230000000040008000000000000000


@dataclass(frozen=True)
class Command:
    """One command that reached the machine: Unix time in seconds, words such as `power 1`."""

    at: float
    words: str


class BmcFarm:
    """`count` BMCs, all off, all with one user. A context manager; everything ends with it."""

    def __init__(
        self,
        count: int,
        directory: Path,
        *,
        port: int = 6_230,
        username: str = "fadmin7",
        password: str = "Farm-pass-1",
    ) -> None:
        assert 1 <= count <= COUNT_MAX
        self.count, self.directory, self.port = count, directory, port
        self.username, self.password = username, password
        self._bmcs: list[Simulator] = []
        self._relay: Relay | None = None
        self._network, self._reservation = reserve_network(port)

    def __enter__(self) -> BmcFarm:
        try:
            require_ipmi_sim()
            for index in range(self.count):
                home = self.directory / f"bmc{index}"
                home.mkdir(parents=True, exist_ok=True)
                back, guid = (self._host(index, 100), self.port), self.guid(index)
                bmc = Simulator(home, back, guid, self.username, self.password)
                bmc.configure()
                bmc.start()
                self._bmcs.append(bmc)
            for bmc in self._bmcs:
                bmc.await_answer(READY_TIMEOUT_S)
            fronts = [(self.address(index), self.port) for index in self]
            backs = [bmc.address for bmc in self._bmcs]
            self._relay = Relay(list(zip(fronts, backs, strict=True)))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.count))

    def close(self) -> None:
        """End every process that this farm started, whatever state it is in."""
        for bmc in self._bmcs:
            bmc.stop()
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        self._reservation.close()

    # What a driver needs to know.

    def address(self, index: int) -> str:
        """Where BMC `index` answers, through the network that can fail."""
        return self._host(index, 0)

    def node(self, index: int, name: str | None = None) -> Node:
        """The document of the machine behind BMC `index`."""
        bmc = Bmc(address=self.address(index), port=self.port, credentials=REFERENCE)
        spec = NodeSpec(driver="ipmi", bmc=bmc, boot_mode=BootMode.UEFI)
        return Node(metadata=Metadata(name=name or f"node-{index:03}"), spec=spec)

    def guid(self, index: int) -> bytes:
        """The 16 bytes of Get System GUID, as they are on the wire."""
        return (_GUID + index).to_bytes(16, "big")

    def write_secrets(self, directory: Path, password: str | None = None) -> Path:
        """Write the farm's credentials as a mounted secret and return `directory`."""
        secret = directory / REFERENCE
        secret.mkdir(parents=True, exist_ok=True)
        for folder in (secret, secret.parent, directory):
            folder.chmod(0o700)
        for name, value in (("username", self.username), ("password", password or self.password)):
            path = secret / name
            path.unlink(missing_ok=True)
            path.touch(mode=0o600)
            path.write_text(value)
        return directory

    # The truth, without IPMI.

    def power(self, index: int) -> Power:
        """Whether the machine is on, from its own files."""
        for pending, power in (("off_at", Power.OFF), ("on_at", Power.ON)):
            at = self._bmcs[index].read(pending)
            if at and time.time() >= float(at):
                return power
        return Power.ON if self._bmcs[index].read("power") == "1" else Power.OFF

    def set_power(self, index: int, power: Power) -> None:
        """Press the button: not logged, as it is no command of the BMC."""
        for pending in ("off_at", "on_at"):
            self._bmcs[index].remove(pending)
        self._bmcs[index].write("power", "1" if power is Power.ON else "0")

    def boot_device(self, index: int) -> BootDevice | None:
        """What the machine would boot from; `None` when nothing was ever chosen."""
        chosen = self._bmcs[index].read("boot")
        return {"pxe": BootDevice.PXE, "default": BootDevice.DISK}.get(chosen)

    def log(self, index: int) -> list[Command]:
        """Every command that changed, or was to change, the machine, oldest first."""
        lines = [line.partition(" ") for line in self._bmcs[index].read("log").splitlines()]
        return [Command(float(at), words) for at, _, words in lines]

    def await_command(self, words: str, timeout_s: float) -> bool:
        """Return within milliseconds when a machine has been told `words`; false after the time."""
        logs = [bmc.home / "log" for bmc in self._bmcs]
        known = [log.stat().st_size if log.exists() else 0 for log in logs]
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            for index, log in enumerate(logs):
                size = log.stat().st_size if log.exists() else 0
                if size > known[index]:
                    fresh = log.read_text()[known[index] :].splitlines()
                    if any(line.partition(" ")[2] == words for line in fresh):
                        return True
                    known[index] = size
            time.sleep(AWAIT_STEP_S)
        return False

    def line(self, index: int) -> Line:
        """The network before BMC `index`, with its counters."""
        assert self._relay is not None
        return self._relay.lines[index]

    def logins(self, index: int) -> int:
        """How often a user name was presented (RAKP message 1), repeats included."""
        return self.line(index).logins

    # Trouble in the BMC.

    def kill(self, index: int) -> None:
        """The BMC loses power (the machine keeps its own)."""
        self._bmcs[index].stop()

    def hang(self, index: int) -> None:
        """The BMC stands still; what is sent to it meanwhile waits in its socket."""
        self._bmcs[index].signal(signal.SIGSTOP)

    def resume(self, index: int) -> None:
        """It goes on where it stood."""
        self._bmcs[index].signal(signal.SIGCONT)

    def restart(self, index: int) -> None:
        """The BMC reboots: its sessions are gone, its boot flags and the machine stay."""
        self._bmcs[index].stop()
        self._bmcs[index].start()
        self._bmcs[index].await_answer(READY_TIMEOUT_S)

    def set_password(self, index: int, password: str) -> None:
        """The BMC accepts this password only, after a reboot."""
        self._bmcs[index].password = password
        self._bmcs[index].configure()
        self.restart(index)

    def emulate(self, index: int, *, fru: bytes = b"", commands: tuple[str, ...] = ()) -> None:
        """The BMC has this FRU inventory and obeys these emulator commands, after a reboot."""
        self._bmcs[index].fru, self._bmcs[index].emulated = fru, commands
        self._bmcs[index].configure()
        self.restart(index)

    def password_of(self, index: int) -> str:
        """The password that the BMC accepts."""
        return self._bmcs[index].password

    def ignore_power(self, index: int, ignored: bool = True) -> None:
        """Power commands are acknowledged and logged, and nothing happens."""
        self._bmcs[index].flag("ignore_power", ignored)

    def ignore_soft_power_off(self, index: int, ignored: bool = True) -> None:
        """The operating system does not react to the power button."""
        self._bmcs[index].flag("ignore_shutdown", ignored)

    def refuse(self, index: int, refused: bool = True) -> None:
        """Every chassis command fails with a completion code."""
        self._bmcs[index].flag("refuse", refused)

    def set_soft_power_off_delay(self, index: int, delay_s: int) -> None:
        """How long the operating system takes to shut down, in whole seconds."""
        self._bmcs[index].write("shutdown_s", str(delay_s))

    def set_power_on_delay(self, index: int, delay_s: int) -> None:
        """For how long a machine that was told to power on still shows off, in whole seconds; up
        to one less.
        """
        self._bmcs[index].write("power_on_s", str(delay_s))

    def due_at(self, index: int) -> int | None:
        """When a shutdown or a power-on that is under way is done, Unix time; `None` without."""
        found = self._bmcs[index].read("off_at") or self._bmcs[index].read("on_at")
        return int(found) if found else None

    def let_time_pass(self, index: int) -> None:
        """The time of what is under way has come."""
        for name in ("off_at", "on_at"):
            if self._bmcs[index].read(name):
                self._bmcs[index].write(name, "0")

    # Trouble in the network.

    def silence(self, index: int) -> None:
        """Nothing gets through, in either direction."""
        self.line(index).silent = True

    def slow(self, index: int, delay_s: float) -> None:
        """Every packet takes `delay_s`, each way; one observation has about 20 of them."""
        self.line(index).delay_s = delay_s

    def garbage(self, index: int) -> None:
        """Every request is answered with nonsense and does not reach the BMC."""
        self.line(index).garbage = True

    def hang_mid_session(self, index: int, commands: int = 1, *, deliver: bool = False) -> None:
        """The line dies at the n-th command from now inside a session, the first counting as 1.

        With `deliver` that command still reaches the BMC and its answer is lost: the effect comes
        about and nobody is told. (The first command of a session sets the privilege level.)
        """
        line = self.line(index)
        line.deliver_last = deliver
        line.commands_max = line.commands + commands

    def heal(self, index: int) -> None:
        """The network works again."""
        self.line(index).heal()

    # A second opinion, by another implementation of IPMI, round the network.

    def ipmitool(self, index: int, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `ipmitool` against the BMC itself."""
        bmc = self._bmcs[index]
        command = ["ipmitool", "-I", "lanplus", "-C", "3", "-H", bmc.address[0]]
        command += ["-p", str(self.port), "-U", bmc.username, "-P", bmc.password, *words]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=IPMITOOL_TIMEOUT_S, check=False
        )

    def ipmitool_power(self, index: int) -> Power:
        """The power state as `ipmitool chassis status` tells it."""
        shown = self.ipmitool(index, "chassis", "status").stdout
        found = re.search(r"^System Power\s*: (on|off)$", shown, re.MULTILINE)
        return Power(found[1]) if found else Power.UNKNOWN

    def ipmitool_boot_device(self, index: int) -> BootDevice | None:
        """The selector as `ipmitool chassis bootparam get 5` tells it.

        `ipmi_sim` says "Boot Flag Invalid" whatever was set, and yet shows the selector (the disk
        where nothing was set); it shows neither "persistent" nor UEFI.
        """
        shown = self.ipmitool(index, "chassis", "bootparam", "get", "5").stdout
        if "Force PXE" in shown:
            return BootDevice.PXE
        return BootDevice.DISK if "Force Boot from default Hard-Drive" in shown else None

    def _host(self, index: int, offset: int) -> str:
        return f"{self._network}.{offset + index // 200}.{1 + index % 200}"
