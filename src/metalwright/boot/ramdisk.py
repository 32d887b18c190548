"""The ramdisk that wipes and installs: busybox, the agent, and the drivers of one kernel.

It is made on any Linux machine from what a distribution ships: a kernel with its modules, a static
busybox, `cpio` and `depmod`. It holds no secret and no address: what it is to do comes on the
kernel's command line with each boot.
"""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterable
from importlib.resources import as_file, files
from pathlib import Path

from metalwright.errors import MetalwrightError

MODULES = (
    "drivers/acpi",
    "drivers/ata",
    "drivers/block",
    "drivers/firmware",
    "drivers/hv",
    "drivers/message/fusion",
    "drivers/mmc",
    "drivers/net/ethernet",
    "drivers/net/hyperv",
    "drivers/net/vmxnet3",
    "drivers/net",
    "drivers/nvme/host",
    "drivers/scsi",
    "drivers/virtio",
)
"""Directories below a kernel's `kernel/`, with what finds disks and wired networks; what these
modules need is added.
"""

_FLAT = frozenset({"drivers/net"})
"""Of these only the files, not the directories: much of `drivers/net` is no network card."""

_APPLETS = """
awk basename blkdiscard blockdev cat cut date dd dirname dmesg echo env expr false find grep
gunzip gzip halt head hexdump ip kill ln ls mkdir modprobe mount mv poweroff printf ps
reboot rm sed seq sh sha256sum sleep sort sync tail test timeout tr true udhcpc umount uname
uniq wc wget xargs xzcat
"""
_DIRECTORIES = ("bin", "dev", "etc", "proc", "run", "sys", "tmp")
_TOOL_TIMEOUT_S = 300.0
_GZIP_LEVEL = 6  # 9 takes ten times as long for one per cent less


class RamdiskError(MetalwrightError):
    """A ramdisk that cannot be made, and what is missing."""


def kernels(root: Path) -> list[str]:
    """The kernels below `root` that have modules and an image, the newest last."""
    found = [
        path.name
        for path in (root / "lib" / "modules").glob("*/")
        if (root / "boot" / f"vmlinuz-{path.name}").is_file()
    ]
    return sorted(found, key=lambda name: [int(part) for part in re.findall(r"\d+", name)])


def build(
    root: Path, version: str, busybox: Path, initrd: Path, modules: Collection[str] = MODULES
) -> None:
    """Write the ramdisk of kernel `version` below `root` to `initrd`.

    `modules` are directories as in `MODULES`, or single modules without their suffix: a ramdisk for
    machines that are known has few, and starts sooner.

    Raises:
        RamdiskError: a file or a tool is missing, or a tool failed.
    """
    for tool in ("cpio", "depmod"):
        if shutil.which(tool) is None:
            raise RamdiskError(f"{tool} is missing; on Debian: apt-get install cpio kmod")
    if not busybox.is_file():
        raise RamdiskError(f"{busybox} is not there; on Debian: apt-get install busybox-static")
    source = root / "lib" / "modules" / version
    if not source.is_dir():
        raise RamdiskError(f"{source} is not there; it should hold the modules of that kernel")
    with tempfile.TemporaryDirectory(prefix="metalwright-ramdisk-") as made:
        tree = Path(made) / "tree"
        try:
            _fill(tree, busybox)
            _add_modules(source, tree / "lib" / "modules" / version, modules)
            _run("depmod", "-b", str(tree), version)
            _pack(tree, initrd)
        except OSError as error:
            raise RamdiskError(f"{error.filename or initrd}: {error.strerror}") from error


def _fill(tree: Path, busybox: Path) -> None:
    for name in _DIRECTORIES:
        (tree / name).mkdir(parents=True)
    shutil.copyfile(busybox, tree / "bin" / "busybox")
    (tree / "bin" / "busybox").chmod(0o755)
    for name in _APPLETS.split():
        (tree / "bin" / name).symlink_to("busybox")
    places = {"init": "init", "mw-agent": "bin/mw-agent", "udhcpc.script": "etc/udhcpc.script"}
    with as_file(files("metalwright.boot") / "agent") as agent:
        for name, place in places.items():
            shutil.copyfile(agent / name, tree / place)
            (tree / place).chmod(0o755)


def _add_modules(source: Path, target: Path, modules: Collection[str]) -> None:
    """Copy the wanted modules of a kernel, and what they depend on."""
    needs = _dependencies(source)
    wanted = {name for name in needs if _is_wanted(name, modules)}
    for name in list(wanted):
        wanted.update(needs[name])
    for name in sorted(wanted):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _is_wanted(name: str, modules: Collection[str]) -> bool:
    path = name.removeprefix("kernel/")
    directory = path.rpartition("/")[0]
    return path.partition(".ko")[0] in modules or any(
        directory == each or (each not in _FLAT and directory.startswith(f"{each}/"))
        for each in modules
    )


def _dependencies(source: Path) -> dict[str, list[str]]:
    """Each module and all that it needs, as `modules.dep` has them (depmod(8))."""
    try:
        lines: Iterable[str] = (source / "modules.dep").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        _run("depmod", "-b", str(source.parents[2]), source.name)
        lines = (source / "modules.dep").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        name, _, needs = line.partition(":")
        found[name] = needs.split()
    return found


def _pack(tree: Path, initrd: Path) -> None:
    """A cpio archive as the kernel unpacks it ("newc"), owned by root, compressed."""
    names = "\n".join(sorted(str(path.relative_to(tree)) for path in tree.rglob("*")))
    packed = _run(
        "cpio", "--quiet", "--create", "--format=newc", "--owner=+0:+0", "--reproducible",
        cwd=tree, given=names.encode(),
    )  # fmt: skip
    part = initrd.with_name(f"{initrd.name}.part")
    part.write_bytes(gzip.compress(packed, _GZIP_LEVEL, mtime=0))
    part.replace(initrd)


def _run(*command: str, cwd: Path | None = None, given: bytes = b"") -> bytes:
    try:
        done = subprocess.run(
            command, cwd=cwd, input=given, capture_output=True, timeout=_TOOL_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise RamdiskError(f"{command[0]} took longer than {_TOOL_TIMEOUT_S:g} s") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()[-400:]
        raise RamdiskError(f"{command[0]} failed: {said}")
    return done.stdout
