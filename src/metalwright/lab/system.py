"""What the machines of the lab run: small Linux systems, made from Debian's kernel and busybox.

A system is a ramdisk with the agent, which reports to the boot service, and with a file of its own
that says which system it is. Two systems differ by that, as two releases of a real one would.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from metalwright.lab.machine import LabError

MODULES = (
    "drivers/virtio",
    "drivers/net/virtio_net",
    "drivers/block/virtio_blk",
    "drivers/acpi/button",
    "drivers/input/evdev",
)
"""The drivers that QEMU's machines need (see the ramdisk's own `MODULES`), and two to listen to
their power button.
"""

ARGUMENTS = ("console=ttyS0", "quiet", "rdinit=/system")
"""The kernel's arguments of every system of the lab."""

BUSYBOX = (Path("/bin/busybox"), Path("/usr/bin/busybox"))
IMAGE_MIB = 24
PARTITION_MIB = 1
"""Where the one partition begins."""

TOOL_TIMEOUT_S = 60.0
DOWNLOAD_TIMEOUT_S = 600.0

_NEEDED: Mapping[str, str] = {
    "qemu-system-x86_64": "qemu-system-x86",
    "/usr/share/seabios/bios-256k.bin": "seabios",
    "/usr/lib/ipxe/qemu/pxe-virtio.rom": "ipxe-qemu",
    "ipmi_sim": "openipmi",
    "cpio": "cpio",
    "depmod": "kmod",
    "/bin/busybox": "busybox-static",
    "sfdisk": "fdisk",
    "mformat": "mtools",
    "syslinux": "syslinux",
    "/usr/lib/syslinux/mbr/mbr.bin": "syslinux-common",
}
_SYSTEM_DIRECTORIES = "/usr/local/sbin:/usr/sbin:/sbin"
_MBR = Path("/usr/lib/syslinux/mbr/mbr.bin")
_MBR_CODE_BYTES = 440
_FIRST = """#!/bin/sh
export PATH=/bin
echo "This is the system {name}."
mount -t devtmpfs dev /dev
(
	# Until /init has loaded what the power button needs.
	until [ -c /dev/input/event0 ]; do sleep 1; done
	busybox acpid -d
) &
umount -l /dev
exec /init
"""
_BUTTON = """#!/bin/sh
exec /bin/poweroff -f
"""


def missing_packages() -> list[str]:
    """The Debian packages whose files are not there, which the lab needs."""
    found = []
    for file, package in _NEEDED.items():
        there = Path(file).exists() if file.startswith("/") else _tool(file) is not None
        if not there:
            found.append(package)
    return sorted(found)


def kernel_below(cache: Path) -> Path:
    """A directory with `boot/` and `lib/modules/` of Debian's kernel for virtual machines.

    It is downloaded when `cache` has none, with `apt-get`, which needs no privilege for that.

    Raises:
        LabError: it cannot be had.
    """
    kept = sorted(cache.glob("linux-image-*/boot/vmlinuz-*"))
    if kept:
        return kept[-1].parents[1]
    said = _run("apt-cache", "depends", "linux-image-cloud-amd64")
    names = re.findall(r"Depends: (linux-image-[0-9]\S*-cloud-amd64)", said)
    if not names:
        raise LabError(
            "apt knows of no kernel for virtual machines: run apt-get update as root, or put a"
            f" kernel's boot/ and lib/modules/ into {cache / 'linux-image-mine'}"
        )
    part = cache / f"{names[-1]}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    _run("apt-get", "download", names[-1], cwd=part, timeout_s=DOWNLOAD_TIMEOUT_S)
    package = next(part.glob("*.deb"))
    _run("dpkg-deb", "-x", str(package), str(part))
    package.unlink()
    return part.rename(cache / names[-1])


def busybox() -> Path:
    """The static busybox. Raises LabError."""
    for path in BUSYBOX:
        if path.is_file():
            return path
    raise LabError("busybox is not there; on Debian: apt-get install busybox-static")


def initrd_of(name: str, ramdisk: bytes) -> bytes:
    """The ramdisk as the system `name`: more files after it, which the kernel unpacks too
    (Documentation/driver-api/early-userspace/buffer-format.rst).
    """
    first = _FIRST.format(name=name)
    more = archive({"system": first.encode(), "etc/acpi/PWRF/00000080": _BUTTON.encode()})
    return ramdisk + bytes(-len(ramdisk) % 4) + gzip.compress(more, mtime=0)


def archive(files: Mapping[str, bytes]) -> bytes:
    """Programs, and the directories that they are in, as a cpio archive of the format that the
    kernel unpacks (cpio(5), "newc").
    """
    directories = {str(path) for name in files for path in Path(name).parents if path.name}
    entries = [(name, 0o040755, b"") for name in sorted(directories)]
    entries += [(name, 0o100755, content) for name, content in files.items()]
    packed = bytearray()
    for inode, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        path = name.encode() + b"\0"
        head = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
        packed += b"070701" + "".join(f"{value:08x}" for value in head).encode() + path
        packed += bytes(-len(packed) % 4)
        packed += content
        packed += bytes(-len(packed) % 4)
    return bytes(packed)


def write_disk_image(image: Path, kernel: Path, initrd: Path, service: str) -> None:
    """Write a disk image that boots a system from a disk by itself: MBR, FAT, syslinux. Its agent
    asks the boot service at `service` who it is. No privilege is needed.

    Raises:
        LabError: a tool failed.
    """
    part = image.with_name(f"{image.name}.part")
    with part.open("wb") as file:
        file.truncate(IMAGE_MIB << 20)
    start, sectors = PARTITION_MIB * 2_048, (IMAGE_MIB - PARTITION_MIB) * 2_048
    _run("sfdisk", "--quiet", str(part), given=f"{start},{sectors},6,*\n")
    where = f"{part}@@{PARTITION_MIB}M"
    _run("mformat", "-i", where, "-h", "64", "-s", "32", "-T", str(sectors), "-v", "SYSTEM", "::")
    arguments = " ".join((*ARGUMENTS, f"mw.service={service}"))
    config = image.with_name("syslinux.cfg")
    config.write_text(
        "DEFAULT linux\nPROMPT 0\nTIMEOUT 0\nLABEL linux\n"
        f" KERNEL kernel\n INITRD initrd\n APPEND {arguments}\n"
    )
    for path, name in ((kernel, "kernel"), (initrd, "initrd"), (config, "syslinux.cfg")):
        _run("mcopy", "-i", where, str(path), f"::{name}")
    _run("syslinux", "-t", str(PARTITION_MIB << 20), "--install", str(part))
    with part.open("r+b") as file:
        file.write(_MBR.read_bytes()[:_MBR_CODE_BYTES])
    part.replace(image)


def _tool(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path=_SYSTEM_DIRECTORIES)


def _run(
    tool: str, *arguments: str, given: str = "", cwd: Path | None = None,
    timeout_s: float = TOOL_TIMEOUT_S,
) -> str:  # fmt: skip
    began = time.monotonic()
    try:
        done = subprocess.run(
            [_tool(tool) or tool, *arguments], input=given, cwd=cwd, capture_output=True,
            text=True, errors="replace", timeout=timeout_s, check=False,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise LabError(f"{tool} is not there") from error
    except subprocess.TimeoutExpired as error:
        spent = time.monotonic() - began
        raise LabError(f"{tool} was not done after {spent:.0f} s") from error
    if done.returncode:
        raise LabError(f"{tool} failed: {(done.stderr or done.stdout).strip()[-400:]}")
    return done.stdout
