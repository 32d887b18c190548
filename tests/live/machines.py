"""Machines that really boot: the lab's, with what a test needs to know about them.

    with MachineFarm(2, directory, boot_url) as farm:
        farm.write_secrets(directory / "secrets")
        farm.node_spec(0)               # its document's spec, as git would have it
        farm[0].is_on, farm[0].console, farm[0].commands

Every machine is a QEMU process and its BMC an `ipmi_sim` process; both end with the farm.
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from metalwright.boot.ramdisk import build, kernels
from metalwright.lab import system
from metalwright.lab.machine import HOST_ADDRESS, LabError, Machine

REFERENCE = "bmc/machines"
FARM_MAX = 4
"""Machines of one farm: each is a processor that is emulated, and 250 MiB of memory."""

USERNAME, PASSWORD = "madmin3", "Machine-pass-1"


def require_machines() -> None:
    """Skip the test where a component is missing; fail where CI promises that it is there."""
    missing = system.missing_packages()
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"should be installed in CI: {', '.join(missing)}")
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


def free_port() -> int:
    """A port of this computer that nothing uses, for UDP and for TCP."""
    for _ in range(100):
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            stream.bind(("127.0.0.1", 0))
            port: int = stream.getsockname()[1]
            try:
                datagram.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port")


@dataclass(frozen=True)
class Systems:
    """What there is to boot: a kernel and ramdisks by the name of their system."""

    directory: Path
    kernel: Path

    def artifact(self, path: Path) -> dict[str, str]:
        """A file as a document names it."""
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"url": path.as_uri(), "sha256": sha256}

    def system(self, name: str) -> dict[str, Any]:
        """The spec of an image that network-boots the system `name`."""
        initrd = self.directory / f"initrd-{name}"
        if not initrd.exists():
            small = (self.directory / "ramdisk-small").read_bytes()
            initrd.write_bytes(system.initrd_of(name, small))
        return {"kernel": self.artifact(self.kernel), "initrd": self.artifact(initrd)}

    def ramdisk(self) -> dict[str, Any]:
        """The spec of the image that wipes and installs."""
        initrd = self.directory / "ramdisk-small"
        return {"kernel": self.artifact(self.kernel), "initrd": self.artifact(initrd)}

    def disk(self, name: str, service: str) -> dict[str, Any]:
        """The spec of a disk image with the system `name`; its agent asks `service`."""
        self.system(name)
        image = self.directory / f"disk-{name}"
        initrd = self.directory / f"initrd-{name}"
        system.write_disk_image(image, self.kernel, initrd, service)
        return {"disk": self.artifact(image)}


def make_systems(directory: Path) -> Systems:
    """The kernel, and the ramdisk for these machines. Skips, or fails in CI, without a kernel."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "metalwright" / "lab"
    try:
        root = system.kernel_below(cache)
    except LabError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
    version = kernels(root)[-1]
    directory.mkdir(parents=True, exist_ok=True)
    build(root, version, system.busybox(), directory / "ramdisk-small", system.MODULES)
    return Systems(directory, root / "boot" / f"vmlinuz-{version}")


class MachineFarm:
    """`count` machines, all off. A context manager; everything ends with it."""

    def __init__(self, count: int, directory: Path, boot_url: str, *, port: int = 0) -> None:
        if not 1 <= count <= FARM_MAX:
            raise ValueError(f"a farm has 1 to {FARM_MAX} machines, not {count}")
        self.boot_url = boot_url
        self.machines = [
            Machine(
                home=directory / f"m{number}",
                number=number,
                port=port or free_port(),
                username=USERNAME,
                password=PASSWORD,
                boot_url=boot_url,
            )
            for number in range(1, count + 1)
        ]

    def __enter__(self) -> MachineFarm:
        require_machines()
        try:
            for machine in self.machines:
                machine.build()
                machine.start_bmc()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Machine]:
        return iter(self.machines)

    def __getitem__(self, index: int) -> Machine:
        return self.machines[index]

    def close(self) -> None:
        """End every process of this farm."""
        for machine in self.machines:
            machine.close()

    def node_spec(self, index: int, **more: Any) -> dict[str, Any]:
        """The spec of the machine's document, with everything that can be declared of it."""
        machine = self.machines[index]
        return {
            "driver": "ipmi",
            "bmc": {"address": machine.host, "port": machine.port, "credentials": REFERENCE},
            "bootMode": "bios",
            "systemUuid": machine.system_uuid,
            "nics": [{"mac": machine.mac, "boot": True}],
            "properties": {"disks": [{"serial": machine.disk_serial}]},
        } | more

    def write_secrets(self, directory: Path) -> None:
        """Write the BMCs' credentials as a mounted secret."""
        secret = directory / REFERENCE
        secret.mkdir(parents=True)
        for folder in (secret, secret.parent, directory):
            folder.chmod(0o700)
        for name, value in (("username", USERNAME), ("password", PASSWORD)):
            path = secret / name
            path.touch(mode=0o600)
            path.write_text(value)


def service_url(port: int) -> str:
    """A service of this computer, as the machines reach it."""
    return f"http://{HOST_ADDRESS}:{port}"
