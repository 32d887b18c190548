"""Machines that really boot, behind a Redfish service: virtual machines of libvirt, and in front of
it the emulator of sushy-tools.

    with RedfishMachines(2, directory, boot_url) as farm:
        farm.node_spec(0)               # its document's spec, as git would have it
        farm.kill_emulator(); farm.start_emulator()
        farm[0].is_on, farm[0].console, farm[0].switched

libvirt's daemon is one of the farm's own: unprivileged, with all its files below one directory, and
on no network. Killing the emulator leaves it and the machines as they are, as a BMC's restart does.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import re
import shutil
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import pytest

from metalwright.lab.machine import MEMORY_MIB, TRANSLATED_MIB, Machine

from .machines import PASSWORD, REFERENCE, USERNAME, MachineFarm, free_port, require_machines
from .redfish_farm import basic

START_TIMEOUT_S = 60.0
PYTHON = Path("/usr/bin/python3")
"""Debian's: the one that Debian's bindings of libvirt are made for."""

NEEDED: Final = {
    Path("/usr/sbin/libvirtd"): "libvirt-daemon",
    Path("/usr/lib/python3/dist-packages/libvirt.py"): "python3-libvirt",
}
DRIVER = "*/libvirt/connection-driver/libvirt_driver_qemu.so"

DOMAIN = """\
<domain type="qemu">
  <name>{name}</name><uuid>{machine.system_uuid}</uuid>
  <memory unit="MiB">{memory_mib}</memory><vcpu>1</vcpu>
  <os>
    <type arch="x86_64" machine="pc">hvm</type><boot dev="hd"/><smbios mode="sysinfo"/>
  </os>
  <sysinfo type="smbios"><system>
    <entry name="manufacturer">Metalwright</entry><entry name="product">Lab</entry>
    <entry name="serial">{machine.serial}</entry><entry name="uuid">{machine.system_uuid}</entry>
  </system></sysinfo>
  <features><acpi/><tcg><tb-cache unit="MiB">{translated_mib}</tb-cache></tcg></features>
  <cpu mode="maximum"/>
  <on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <emulator>{emulator}</emulator>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw" discard="unmap"/><source file="{machine.disk}"/>
      <target dev="vda" bus="virtio"/><serial>{machine.disk_serial}</serial>
    </disk>
    <interface type="user"><mac address="{machine.mac}"/><model type="virtio"/></interface>
    <controller type="usb" model="none"/><memballoon model="none"/>
    <serial type="file">
      <source path="{machine.home}/console.log" append="on"/><target port="0"/>
    </serial>
  </devices>
</domain>
"""
QEMU = """\
#!/bin/sh
# What libvirt starts as QEMU. It has no word for the boot URL that QEMU's own network tells.
while [ -e '{slow}' ]; do sleep 0.1; done
for argument; do
  shift
  case $argument in
    '{{"type":"user",'*) argument="${{argument%\\}}}},\\"bootfile\\":\\"{boot_url}\\"}}" ;;
    user,id=hostnet*) argument="$argument,bootfile={boot_url}" ;;
  esac
  set -- "$@" "$argument"
done
exec qemu-system-x86_64 "$@"
"""
SLOW = "slow"
DEFINE = """\
import libvirt, sys
connection = libvirt.open(sys.argv[1])
for path in sys.argv[2:]:
    connection.defineXML(open(path).read())
"""
EMULATE = "import sys; from sushy_tools.emulator.main import main; sys.exit(main())"
SWITCHED = re.compile(r"^(\S+ \S+?): (starting up|shutting down)", re.MULTILINE)


def require_libvirt() -> None:
    """Skip the test where a component is missing; fail where CI promises that it is there."""
    require_machines()
    missing = [package for path, package in NEEDED.items() if not path.exists()]
    if not list(Path("/usr/lib").glob(DRIVER)):
        missing.append("libvirt-daemon-driver-qemu")
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"should be installed in CI: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@dataclass
class RedfishMachine(Machine):
    """A virtual machine of libvirt. `port` is the Redfish service's, TCP, the same for all."""

    domains: Path = field(kw_only=True)
    """Where libvirt keeps what it knows of its machines."""

    @property
    def name(self) -> str:
        """Its name in libvirt."""
        return f"machine-{self.number}"

    @property
    def is_on(self) -> bool:
        """Whether its process runs."""
        return bool(self.processes())

    @property
    def switched(self) -> list[tuple[float, str]]:
        """When it was switched, by libvirt's own log: Unix time, and `on` or `off`."""
        log = self.domains / "cache/libvirt/qemu/log" / f"{self.name}.log"
        said = log.read_text(errors="replace") if log.exists() else ""
        return [
            (datetime.fromisoformat(at).timestamp(), "on" if what == "starting up" else "off")
            for at, what in SWITCHED.findall(said)
        ]

    @contextlib.contextmanager
    def slow_start(self) -> Iterator[None]:
        """Meanwhile a machine that is switched on does not come on, and libvirt waits for it.

        Of every machine of the farm, and for less than the 30 s after which libvirt gives up.
        """
        slow = self.domains / SLOW
        slow.touch()
        try:
            yield
        finally:
            slow.unlink()

    def processes(self) -> list[int]:
        """The process ids of this machine: one, or none when it is off."""
        mark = f"guest={self.name},".encode(), bytes(self.domains)
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                if all(each in words for each in mark):
                    found.append(int(entry.name))
        return found

    def build(self) -> None:
        """Write its empty disk."""
        self.home.mkdir(parents=True, exist_ok=True)
        with self.disk.open("wb") as disk:
            disk.truncate(self.disk_mib << 20)

    def close(self) -> None:
        """End its process."""
        for number in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


class RedfishMachines(MachineFarm):
    """`count` machines, all off, behind one Redfish service, as the blades of a chassis are."""

    def __init__(self, count: int, directory: Path, boot_url: str) -> None:
        self.boot_url, self.port = boot_url, free_port()
        self.logs = directory
        self.logs.mkdir(parents=True, exist_ok=True)
        # libvirt's sockets are below it, whose paths may have 107 bytes; and where we are root,
        # somebody else has to get there.
        self.root = Path(tempfile.mkdtemp(prefix="mw-"))
        self.machines: list[RedfishMachine] = [
            RedfishMachine(
                home=self.root / f"m{number}",
                number=number,
                port=self.port,
                username=USERNAME,
                password=PASSWORD,
                boot_url=boot_url,
                domains=self.root,
            )
            for number in range(1, count + 1)
        ]
        self._libvirt: subprocess.Popen[bytes] | None = None
        self._emulator: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """Where libvirt answers."""
        return f"qemu+unix:///session?socket={self.root}/run/libvirt/libvirt-sock"

    def __enter__(self) -> RedfishMachines:
        try:
            require_libvirt()
            self._write()
            self._start_libvirt()
            self.start_emulator()
        except BaseException:
            self.close()
            raise
        return self

    def __getitem__(self, index: int) -> RedfishMachine:
        return self.machines[index]

    def close(self) -> None:
        """End every process of this farm, and leave nothing behind but logs."""
        self.kill_emulator()
        if self._libvirt is not None:
            self._libvirt.kill()
            self._libvirt.wait(10)
            self._libvirt = None
        for machine in self.machines:
            machine.close()
        shutil.rmtree(self.root, ignore_errors=True)

    def node_spec(self, index: int, **more: Any) -> dict[str, Any]:
        """The spec of the machine's document, with everything that can be declared of it."""
        machine = self.machines[index]
        bmc = {"address": machine.host, "port": self.port, "protocol": "http"}
        bmc |= {"credentials": REFERENCE, "system": machine.system_uuid}
        return super().node_spec(index) | {"driver": "redfish", "bmc": bmc} | more

    def start_emulator(self) -> None:
        """Start the Redfish service, and wait until it answers who logs in."""
        environment = os.environ | {
            "PYTHONPATH": sysconfig.get_path("purelib"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        command = [str(PYTHON), "-c", EMULATE, "--config", str(self.root / "emulator.conf")]
        command += ["--interface", "127.0.0.1", "--port", str(self.port)]
        with (self.logs / "emulator.log").open("ab") as log:
            self._emulator = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.answers(PASSWORD) != 200:
            said = (self.logs / "emulator.log").read_text()[-2000:]
            assert self._emulator.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)

    def kill_emulator(self) -> None:
        """As `kill -9`: the service is gone, the machines go on."""
        if self._emulator is not None:
            self._emulator.kill()
            self._emulator.wait(10)
            self._emulator = None

    def answers(self, password: str) -> int:
        """The status of the service's answer about the first machine, 0 without one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        path = f"/redfish/v1/Systems/{self.machines[0].system_uuid}"
        with contextlib.closing(connection), contextlib.suppress(OSError):
            connection.request("GET", path, headers=basic(USERNAME, password))
            return connection.getresponse().status
        return 0

    def _write(self) -> None:
        """Everything that libvirt and the emulator read."""
        import bcrypt

        emulator = self.root / "qemu"
        emulator.write_text(QEMU.format(boot_url=self.boot_url, slow=self.root / SLOW))
        emulator.chmod(0o755)
        for machine in self.machines:
            machine.build()
            (self.root / f"{machine.name}.xml").write_text(
                DOMAIN.format(
                    name=machine.name,
                    machine=machine,
                    emulator=emulator,
                    memory_mib=MEMORY_MIB,
                    translated_mib=TRANSLATED_MIB,
                )
            )
        secret = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        (self.root / "htpasswd").write_text(f"{USERNAME}:{secret}\n")
        state = self.root / "emulator"
        state.mkdir()
        (self.root / "emulator.conf").write_text(
            f"SUSHY_EMULATOR_LIBVIRT_URI = {self.uri!r}\n"
            f"SUSHY_EMULATOR_STATE_DIR = {str(state)!r}\n"
            f"SUSHY_EMULATOR_AUTH_FILE = {str(self.root / 'htpasswd')!r}\n"
        )

    def _start_libvirt(self) -> None:
        """Start libvirt's daemon as somebody without privileges, and tell it the machines."""
        for name in ("home", "config", "cache", "run"):
            (self.root / name).mkdir(mode=0o700)
        somebody: dict[str, Any] = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            somebody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
            for path in (self.root, *self.root.rglob("*")):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_CACHE_HOME": str(self.root / "cache"),
            "XDG_RUNTIME_DIR": str(self.root / "run"),
        }
        with (self.logs / "libvirt.log").open("ab") as log:
            self._libvirt = subprocess.Popen(
                ["/usr/sbin/libvirtd"], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                cwd=self.root, env=environment, umask=0o077, **somebody,
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        socket = self.root / "run/libvirt/libvirt-sock"
        while not socket.exists():
            said = (self.logs / "libvirt.log").read_text()[-2000:]
            assert self._libvirt.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        documents = [self.root / f"{machine.name}.xml" for machine in self.machines]
        done = subprocess.run(
            [PYTHON, "-c", DEFINE, self.uri, *documents],
            capture_output=True, text=True, timeout=START_TIMEOUT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr + (self.logs / "libvirt.log").read_text()
