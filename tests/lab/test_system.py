"""The files that the lab's systems are made of, and what is said when one is not there."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from metalwright.lab import system
from metalwright.lab.machine import LabError, Machine


def machine(home: Path, number: int = 1) -> Machine:
    return Machine(
        home=home, number=number, port=1, username="u", password="p", boot_url="http://10.0.2.2/x"
    )


def test_an_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("cpio not installed")
    packed = system.archive({"system": b"#!/bin/sh\n", "a/b/even": b"12345678"})
    subprocess.run(
        ["cpio", "-i", "--quiet"], input=packed, cwd=tmp_path, check=True, capture_output=True
    )
    assert (tmp_path / "system").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "a" / "b" / "even").read_bytes() == b"12345678"
    assert (tmp_path / "system").stat().st_mode & 0o777 == 0o755


def test_a_system_is_the_ramdisk_and_its_own_file_after_it() -> None:
    ramdisk = gzip.compress(b"ramdisk")
    red, blue = (system.initrd_of(name, ramdisk) for name in ("red", "blue"))
    assert red.startswith(ramdisk)
    assert red != blue
    begin = len(ramdisk) + -len(ramdisk) % 4
    assert b"This is the system red." in gzip.decompress(red[begin:])
    assert red == system.initrd_of("red", ramdisk), "the same input gives the same bytes"


def test_a_kernel_that_is_kept_is_not_downloaded(tmp_path: Path) -> None:
    kept = tmp_path / "linux-image-mine" / "boot"
    kept.mkdir(parents=True)
    (kept / "vmlinuz-6.1").touch()
    assert system.kernel_below(tmp_path) == kept.parent


def test_machines_differ_in_all_that_identifies_them(tmp_path: Path) -> None:
    one, two = machine(tmp_path / "1"), machine(tmp_path / "2", 2)
    for name in ("mac", "serial", "system_uuid", "disk_serial"):
        assert getattr(one, name) != getattr(two, name)
    one.build()
    assert one.disk.stat().st_size == one.disk_mib << 20
    one.disk.write_bytes(b"kept")
    one.build()
    assert one.disk.read_bytes() == b"kept"


def test_a_path_that_qemu_would_misread_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="cannot be told to QEMU"):
        machine(tmp_path / "a,b").build()
