"""The ramdisk: which modules get in, and what is said when something is missing."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from metalwright.boot.ramdisk import RamdiskError, build, kernels

VERSION = "6.1.0-9-amd64"
MODULES = {
    "kernel/drivers/virtio/virtio.ko": "",
    "kernel/drivers/net/virtio_net.ko.xz": "kernel/net/core/failover.ko",
    "kernel/drivers/net/wireguard/wireguard.ko": "",
    "kernel/drivers/nvme/host/nvme.ko": "",
    "kernel/net/core/failover.ko": "",
    "kernel/sound/snd.ko": "",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A kernel with modules, as a distribution's package unpacks."""
    (tmp_path / "boot").mkdir()
    (tmp_path / "boot" / f"vmlinuz-{VERSION}").write_bytes(b"kernel")
    home = tmp_path / "lib" / "modules" / VERSION
    for name in MODULES:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(b"")
    lines = [f"{name}: {needs}".rstrip() for name, needs in MODULES.items()]
    (home / "modules.dep").write_text("\n".join(lines) + "\n")
    for name in ("modules.order", "modules.builtin"):
        (home / name).write_text("")
    (tmp_path / "busybox").write_bytes(b"\x7fELF")
    return tmp_path


@pytest.fixture
def tools() -> None:
    """What the ramdisk is made with; missing where CI promises it, the test fails by itself."""
    missing = [tool for tool in ("cpio", "depmod") if shutil.which(tool) is None]
    if missing and os.environ.get("CI") != "true":
        pytest.skip(f"{' and '.join(missing)} not installed")


def names(initrd: Path) -> set[str]:
    packed = gzip.decompress(initrd.read_bytes())
    listed = subprocess.run(
        ["cpio", "-it", "--quiet"], input=packed, capture_output=True, check=True
    )
    return set(listed.stdout.decode().split())


@pytest.mark.live
@pytest.mark.usefixtures("tools")
def test_the_ramdisk_has_the_agent_and_the_modules_that_were_asked_for(root: Path) -> None:
    initrd = root / "initrd"
    build(root, VERSION, root / "busybox", initrd)
    every = names(initrd)
    assert {"init", "bin/mw-agent", "bin/busybox", "bin/sh", "etc/udhcpc.script"} <= every
    under = f"lib/modules/{VERSION}/"
    modules = {name.removeprefix(under) for name in every if ".ko" in name}
    assert modules == set(MODULES) - {
        "kernel/sound/snd.ko", "kernel/drivers/net/wireguard/wireguard.ko"
    }  # fmt: skip
    assert f"{under}modules.dep" in every
    build(root, VERSION, root / "busybox", initrd, ("drivers/net/virtio_net",))
    modules = {name.removeprefix(under) for name in names(initrd) if ".ko" in name}
    assert modules == {"kernel/drivers/net/virtio_net.ko.xz", "kernel/net/core/failover.ko"}


@pytest.mark.live
@pytest.mark.usefixtures("tools")
def test_what_is_missing_is_named(root: Path) -> None:
    with pytest.raises(RamdiskError, match="busybox-static"):
        build(root, VERSION, root / "nothing", root / "initrd")
    with pytest.raises(RamdiskError, match="modules of that kernel"):
        build(root, "7.0", root / "busybox", root / "initrd")
    assert not (root / "initrd").exists()


def test_the_newest_kernel_is_the_last_by_its_numbers(root: Path) -> None:
    for version in ("6.1.0-10-amd64", "5.10.0-99-amd64", "7.0.0-1-amd64"):
        (root / "lib" / "modules" / version).mkdir()
        if version[0] != "7":
            (root / "boot" / f"vmlinuz-{version}").touch()
    assert kernels(root) == ["5.10.0-99-amd64", VERSION, "6.1.0-10-amd64"]
