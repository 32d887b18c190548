"""One machine of the lab: a QEMU process behind a BMC of its own, an `ipmi_sim` process.

A machine has 192 MiB of memory, one network interface that boots over the network, and one disk
with a serial number. QEMU's own network stands between it and this computer: no privilege, no
bridge and no DHCP server is needed, and all that the machine reaches is this computer, as 10.0.2.2.

None of its processes outlives the one that started its BMC: a keeper (see `power.py`) ends them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from metalwright.errors import MetalwrightError
from metalwright.lab import power

HOST_ADDRESS = "10.0.2.2"
"""This computer, as the machines see it (QEMU, "user" network)."""

MEMORY_MIB = 192
TRANSLATED_MIB = 64
"""What QEMU may keep of translated code; its own default is much more than such a machine needs."""

DISK_MIB = 48
MACHINES_MAX = 16
BMC_READY_TIMEOUT_S = 15.0
KEEPER_END_TIMEOUT_S = 30.0

_KEEPER_FILE = "keeper.pid"
_SUITES = "none md2 md5 straight"
_AUTH_CAPABILITIES = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")
_NAMESPACE = uuid.UUID("6d657461-6c77-4d69-8768-742d6c616221")


class LabError(MetalwrightError):
    """Something of the lab cannot be had, and what to do about it."""


@dataclass
class Machine:
    """One machine, off at first, and its BMC. `number` counts from 1; names, addresses and serial
    numbers follow from it. `port` is the BMC's, UDP; its TCP port of the same number is in use too.
    """

    home: Path
    number: int
    port: int
    username: str
    password: str
    boot_url: str
    """What its network card is told to boot from: the first script of the boot service."""
    host: str = "127.0.0.1"
    disk_mib: int = DISK_MIB
    cable: bool = True
    """Whether its network card is connected to anything."""
    _bmc: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _keeper: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def mac(self) -> str:
        """The MAC address of its network card."""
        return f"52:54:00:4c:61:{self.number:02x}"

    @property
    def serial(self) -> str:
        """Its serial number, as SMBIOS has it."""
        return f"LAB-{self.number:04}"

    @property
    def system_uuid(self) -> str:
        """Its system UUID, of SMBIOS and of the BMC."""
        return str(uuid.uuid5(_NAMESPACE, self.serial))

    @property
    def disk_serial(self) -> str:
        """The serial number of its disk."""
        return f"DISK-{self.number:04}"

    @property
    def disk(self) -> Path:
        """The bytes of its disk."""
        return self.home / "disk.raw"

    @property
    def console(self) -> str:
        """All that it ever said on its serial port."""
        return self._read("console.log")

    @property
    def commands(self) -> list[tuple[float, str]]:
        """Every command of the BMC that was to change it: Unix time, words such as `power 1`."""
        lines = [line.partition(" ") for line in self._read("log").splitlines()]
        return [(float(at), words) for at, _, words in lines]

    @property
    def is_on(self) -> bool:
        """Whether its process runs."""
        return power.process_of(self.home) > 0

    @property
    def bmc_process(self) -> int:
        """The process id of its BMC, 0 when that does not run."""
        return self._bmc.pid if self._bmc is not None else 0

    def build(self) -> None:
        """Write everything that its parts read; a disk that is there stays as it is."""
        if set(str(self.home)) & set(" \"'\\,=:"):
            raise LabError(f"{self.home}: a path with such characters cannot be told to QEMU")
        self.home.mkdir(parents=True, exist_ok=True)
        if not self.disk.exists():
            with self.disk.open("wb") as disk:
                disk.truncate(self.disk_mib << 20)
        (self.home / "machine.json").write_text(json.dumps({"command": self._command()}))
        (self.home / "lan.conf").write_text(self._lan())
        (self.home / "sim.emu").write_text(
            "mc_setbmc 0x20\n"
            "mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\n"
            "sel_enable 0x20 100 0x0a\n"
            "mc_enable 0x20\n"
        )

    def keep(self) -> None:
        """See to it that all of the machine ends with this process, however that ends."""
        if self._keeper is not None:
            return
        command = [sys.executable, "-IS", power.__file__, str(self.home), "keep", str(os.getpid())]
        with (self.home / "bmc.log").open("ab") as output:
            self._keeper = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=output, stderr=output, cwd="/",
                start_new_session=True,  # Ctrl-C is for the lab alone
            )  # fmt: skip
        (self.home / _KEEPER_FILE).write_text(f"{self._keeper.pid}\n")

    def start_bmc(self) -> None:
        """Start its BMC. Raises LabError with the BMC's own words when it does not come up."""
        self._must_be_free()
        self.keep()
        command = ["ipmi_sim", "-n", "-p", "-s", str(self.home)]
        command += ["-c", str(self.home / "lan.conf"), "-f", str(self.home / "sim.emu")]
        with (self.home / "bmc.log").open("ab") as output:
            self._bmc = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env={**os.environ, power.MARK: str(self.home)},
            )  # fmt: skip
        deadline = time.monotonic() + BMC_READY_TIMEOUT_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(0.1)
            probe.connect((self.host, self.port))
            while not _answers(probe):
                if self._bmc.poll() is not None or time.monotonic() > deadline:
                    said = self._read("bmc.log").strip()[-400:]
                    raise LabError(f"the BMC of machine {self.number} does not answer: {said}")
                time.sleep(0.02)

    def stop_bmc(self) -> None:
        """Kill its BMC, in whatever state that is. The machine itself goes on as it is."""
        if self._bmc is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._bmc.pid, signal.SIGKILL)
        self._bmc.wait(timeout=10)
        self._bmc = None

    def close(self) -> None:
        """End both processes; also one that was just being started when the BMC was killed."""
        self.stop_bmc()
        power.switch_off(self.home)
        power.end_all(self.home)
        if self._keeper is not None and self._keeper.stdin is not None:
            self._keeper.stdin.close()
            self._keeper.wait(KEEPER_END_TIMEOUT_S)
            self._keeper = None

    def _must_be_free(self) -> None:
        """A BMC that has its port already would answer in place of ours."""
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            with socket.socket(socket.AF_INET, kind) as tried:
                if kind is socket.SOCK_STREAM:
                    tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    tried.bind((self.host, self.port))
                except OSError as error:
                    raise LabError(
                        f"the BMC of machine {self.number} cannot have port {self.port} of"
                        f" {self.host}: {error.strerror}; is another lab running?"
                    ) from error

    def _command(self) -> list[str]:
        network = (
            f"user,id=net0,bootfile={self.boot_url}" if self.cable else "hubport,hubid=0,id=net0"
        )
        system = (
            f"manufacturer=Metalwright,product=Lab,serial={self.serial},uuid={self.system_uuid}"
        )
        return [
            *("qemu-system-x86_64", "-name", f"metalwright-lab-{self.number}"),
            # Never the processor's virtualization: what is there does not always work.
            *("-accel", f"tcg,tb-size={TRANSLATED_MIB}", "-cpu", "max", "-m", str(MEMORY_MIB)),
            *("-machine", "pc,graphics=off", "-nodefaults", "-display", "none"),
            *("-qmp", "unix:qmp.sock,server=on,wait=off"),
            *("-netdev", network, "-device", f"virtio-net-pci,netdev=net0,mac={self.mac}"),
            *("-smbios", f"type=1,{system}"),
            *("-drive", f"id=disk0,if=none,format=raw,discard=unmap,file={self.disk}"),
            *("-device", f"virtio-blk-pci,drive=disk0,serial={self.disk_serial}"),
            *("-chardev", f"file,id=serial0,append=on,path={self.home / 'console.log'}"),
            *("-serial", "chardev:serial0"),
        ]

    def _lan(self) -> str:
        script = f"{sys.executable} -IS {power.__file__} {self.home}"
        return f"""name "machine-{self.number}"
set_working_mc 0x20
 startlan 1
  addr {self.host} {self.port}
  priv_limit admin
  allowed_auths_callback {_SUITES}
  allowed_auths_user {_SUITES}
  allowed_auths_operator {_SUITES}
  allowed_auths_admin {_SUITES}
  guid {uuid.UUID(self.system_uuid).hex}
 endlan
 chassis_control "{script}"
 serial 15 {self.host} {self.port} codec VM
 user 1 false "" "none" user 10 none
 user 2 true "{self.username}" "{self.password}" admin 10 {_SUITES}
"""

    def _read(self, name: str) -> str:
        try:
            return (self.home / name).read_text(errors="replace")
        except FileNotFoundError:
            return ""


def end_left_behind() -> dict[Path, int]:
    """End the machines of labs that were killed together with their keepers: how many processes
    each had, by its home. Those that are kept, or never were, are somebody else's.

    Raises:
        LabError: they cannot be ended.
    """
    every, kept = power.belonging(), power.kept()
    found: dict[Path, int] = {}
    for home in every.values():
        if home not in kept and ((home / _KEEPER_FILE).exists() or not home.exists()):
            found[home] = found.get(home, 0) + 1
    for home in found:
        if not power.end_all(home):
            raise LabError(f"the processes of a former lab in {home} cannot be ended")
    return found


def _answers(probe: socket.socket) -> bool:
    """Whether a BMC answers Get Channel Authentication Capabilities within 100 ms."""
    try:
        probe.send(_AUTH_CAPABILITIES)
        return bool(probe.recv(512))
    except OSError:
        return False
