"""No room under the images, or the store: refused in words, nothing half, and then it goes on."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalwright.boot.images import ImageCache, ImageError
from metalwright.errors import StoreError
from metalwright.model.boots import Noted
from metalwright.model.operation import EffectKind, Stage
from metalwright.model.report import Phase
from metalwright.model.template import Artifact, ImageSpec

from .boot_world import EVIDENCE, FACTS, World, world

LARGE = b"large" * 1_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes."""
    place = tmp_path / "small"
    place.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if os.getuid() != 0 or subprocess.run(mounting, capture_output=True, check=False).returncode:
        said = "a small file system cannot be mounted here: that needs root"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(said)
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 1_024)


@contextlib.contextmanager
def no_file_grows_beyond(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def fill_store(lab: World, ballast: Path) -> None:
    """Fill the disk, and what the store has of it already."""
    fill(ballast)
    line = Noted(node="n1", event="refused", detail="x" * 200)
    refused = 0
    for _ in range(10_000):
        try:
            lab.store.note([line], lab.now)
            refused = 0
        except StoreError:
            refused += 1
        if refused == 10:  # what a checkpoint frees is filled too
            return
    raise AssertionError("the disk is never full")


def artifact(directory: Path, name: str, content: bytes) -> Artifact:
    (directory / name).write_bytes(content)
    url = (directory / name).as_uri()
    return Artifact(url=url, sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("room", [0, 1, len(LARGE) - 1])
def test_an_image_that_does_not_fit_leaves_nothing(tmp_path: Path, room: int) -> None:
    cache = ImageCache(tmp_path / "cache")
    small, large = artifact(tmp_path, "s", b"small"), artifact(tmp_path, "l", LARGE)
    kept = cache.get(small)
    with no_file_grows_beyond(room), pytest.raises(ImageError, match=r"the image cache .*cache: F"):
        cache.get(large)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [small.sha256]
    assert not cache.holds(large.sha256)
    assert cache.get(small) == kept
    assert cache.get(large).read_bytes() == LARGE


def test_a_full_disk_under_the_images_keeps_those_that_are_there(
    tmp_path: Path, small_disk: Path
) -> None:
    (tmp_path / "cache").symlink_to(small_disk)
    with world(tmp_path) as lab:
        lab.adopt()
        small = artifact(tmp_path, "s", b"small")
        large = artifact(tmp_path, "l", LARGE[: 3 << 20])
        template = lab.template(image=ImageSpec(kernel=small, initrd=small, rootfs=large))
        lab.operate(template)
        path = lab.boot()
        (small_disk / large.sha256).unlink()
        fill(small_disk / "ballast")
        for _ in range(3):
            answer = lab.client.get(f"{path}/rootfs")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert lab.client.get(f"{path}/kernel").content == b"small"
        assert "No space left on device" in lab.trouble[-1]
        assert str(tmp_path / "cache") in lab.trouble[-1]
        assert {path.name for path in small_disk.iterdir()} == {"ballast", small.sha256}
        (small_disk / "ballast").unlink()
        assert lab.client.get(f"{path}/rootfs").content == LARGE[: 3 << 20]


def everything(lab: World) -> tuple[object, ...]:
    store = lab.store
    boots = store.latest_boot("n1")
    return (store.heard(), store.memory(), store.wipes("n1", 10), store.journal(None, 100), boots)


def test_a_full_disk_under_the_store_refuses_reports_and_still_serves(
    tmp_path: Path, small_disk: Path
) -> None:
    (tmp_path / "store.sqlite").symlink_to(small_disk / "store.sqlite")
    with world(tmp_path) as lab:
        lab.adopt()
        lab.operate(lab.template(), Stage.WIPE, EffectKind.WIPE, "full")
        path = lab.boot()
        assert lab.report(path, "ready", facts=FACTS).text == "wipe vda full\n"
        assert lab.report(path, "wiping").status_code == 200
        fill_store(lab, small_disk / "ballast")
        before = everything(lab)
        wipes = [EVIDENCE | {"message": "x" * 400}]
        for _ in range(3):
            answer = lab.report(path, "wiped", facts=FACTS, wipes=wipes, message="y" * 900)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert any("full" in words for words in lab.trouble), lab.trouble
        assert everything(lab) == before, "the last good state stays, whole"
        # What needs no line is served: an image of a boot that is written down, and a stranger's
        # own disk, of which the line is lost.
        lab.now = lab.now.replace(hour=lab.now.hour + 1)
        assert lab.client.get(f"{path}/kernel").content == b"RAMKERNEL"
        assert "sanboot" in lab.script(mac="52-54-00-00-00-99", serial="X", uuid="")
        (small_disk / "ballast").unlink()
        assert lab.report(path, "wiped", facts=FACTS, wipes=wipes).text == "ok\n"
        heard = lab.store.heard()["n1"]
        assert (heard.report.phase, heard.last_wipe) == (Phase.WIPED, "o1")
        assert len(lab.store.wipes("n1", 10)) == 1


def test_no_token_is_given_that_was_not_written_down(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "store.sqlite").symlink_to(small_disk / "store.sqlite")
    with world(tmp_path) as lab:
        lab.adopt()
        lab.operate(lab.template())
        fill_store(lab, small_disk / "ballast")
        query = {"mac": "52:54:00:00:00:01", "serial": "SN1"}
        for _ in range(3):
            answer = lab.client.get("/ipxe", params=query)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert "mw.url" not in answer.text
        assert lab.events("served") == []
        assert lab.store.latest_boot("n1") is None
        (small_disk / "ballast").unlink()
        path = lab.boot()
        assert lab.client.get(f"{path}/kernel").status_code == 200
