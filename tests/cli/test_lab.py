"""`mw lab` says what it lacks, and touches nothing that is there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from metalwright.cli.lab import HINTS
from metalwright.lab.documents import POOL


def mw_lab(*words: str, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "metalwright", "lab", *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": path, "HOME": "/nonexistent"},
        check=False,
    )


def test_every_package_that_is_missing_is_named_at_once(tmp_path: Path) -> None:
    git = shutil.which("git")
    assert git is not None
    (tmp_path / "git").symlink_to(git)
    done = mw_lab("--dir", str(tmp_path / "lab"), path=str(tmp_path))
    assert done.returncode == 1
    assert done.stdout == ""
    for package in ("qemu-system-x86", "openipmi", "cpio", "mtools", "syslinux"):
        assert package in done.stderr
    assert "apt-get install" in done.stderr
    assert not (tmp_path / "lab").exists()


def test_the_edit_that_is_suggested_is_one_of_the_pool() -> None:
    assert "s/template: red/template: blue/' pool.yaml" in HINTS
    assert POOL.count("template: red") == 1
