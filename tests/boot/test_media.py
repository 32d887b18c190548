"""The boot disc: what makes it, what is in it, and how BMCs fetch it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalwright.boot.media import (
    DISC_BYTES_MAX,
    Disc,
    MediaError,
    build,
    is_ours,
    open_disc,
    script,
)

from .boot_world import World, world

URL = "http://boot.lab.example:8800"
IPXE = Path("/usr/lib/ipxe")
NEEDED = ("xorriso", "mformat")
FILES = (IPXE / "ipxe.lkrn", Path("/usr/lib/ISOLINUX/isolinux.bin"))


@pytest.fixture
def tools() -> None:
    """Skip the test where what makes a disc is missing; fail where CI promises it."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    missing += [str(path) for path in FILES if not path.exists()]
    if missing:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"missing: {missing}")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        yield made


def a_disc(path: Path, url: str = URL) -> Path:
    """A file that passes for a disc: nothing of it is ever run here."""
    path.write_bytes(os.urandom(70_000) + script(url).encode() + b"BOOTX64 EFI" + bytes(9_000))
    return path


def test_the_script_asks_on_every_card_and_comes_to_an_end() -> None:
    text = script(URL)
    assert text.startswith("#!ipxe\n")
    assert f"dhcp net${{card}} && chain --replace --autofree {URL}/boot.ipxe ||\n" in text
    assert "isset ${net${card}/mac} || goto over\n" in text
    assert "iseq ${round} 20 && goto end ||\n" in text
    assert text.endswith("exit\n")
    labels = {line[1:] for line in text.splitlines() if line.startswith(":")}
    wanted = {line.partition("goto ")[2].split()[0] for line in text.splitlines() if "goto" in line}
    assert wanted <= labels


@pytest.mark.live
def test_a_disc_is_the_same_for_the_same_files(tools: None, tmp_path: Path) -> None:
    for name in ("a.iso", "b.iso"):
        build(tmp_path / name, URL, IPXE, uefi=False)
    first, second = (open_disc(tmp_path / name, URL) for name in ("a.iso", "b.iso"))
    assert first.name == second.name
    assert is_ours(f"http://elsewhere/media/{first.name}")
    assert not first.uefi
    build(tmp_path / "c.iso", f"{URL}1", IPXE, uefi=False)
    assert open_disc(tmp_path / "c.iso", f"{URL}1").name != first.name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.iso", "b.iso", "c.iso"]


@pytest.mark.live
def test_an_ipxe_that_runs_no_script_from_a_disc_is_refused(tools: None, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for directory, content in ((old, b"iPXE"), (new, "MZ autoexec.ipxe".encode("utf-16-le"))):
        directory.mkdir()
        shutil.copyfile(IPXE / "ipxe.lkrn", directory / "ipxe.lkrn")
        (directory / "ipxe.efi").write_bytes(content * 1_000)
    with pytest.raises(MediaError, match=r"old/ipxe\.efi is too old: .* --bios-only"):
        build(tmp_path / "disc.iso", URL, old)
    assert not (tmp_path / "disc.iso").exists()
    build(tmp_path / "disc.iso", URL, new)
    assert open_disc(tmp_path / "disc.iso", URL).uefi


@pytest.mark.live
def test_what_is_missing_is_named(tools: None, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"ipxe\.lkrn is not there; on Debian: apt-get install"):
        build(tmp_path / "disc.iso", URL, tmp_path)
    shutil.copyfile(IPXE / "ipxe.lkrn", tmp_path / "ipxe.lkrn")
    with pytest.raises(MediaError, match=r"ipxe\.efi is not there"):
        build(tmp_path / "disc.iso", URL, tmp_path)
    with pytest.raises(MediaError, match="nowhere"):
        build(tmp_path / "nowhere" / "disc.iso", URL, IPXE, uefi=False)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = a_disc(tmp_path / "boot.iso")
    disc = open_disc(path, URL)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert disc.artifact.sha256 == sha256
    assert disc.name == f"metalwright-{sha256[:12]}.iso"
    assert disc.uefi


def test_a_disc_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    path = a_disc(tmp_path / "boot.iso")
    for url in ("http://other.lab.example:8800", URL[:-1], f"{URL}0"):
        with pytest.raises(MediaError, match="make it with mw boot-media"):
            open_disc(path, url)
    with pytest.raises(MediaError, match="No such file"):
        open_disc(tmp_path / "none.iso", URL)
    with path.open("ab") as file:
        file.truncate(DISC_BYTES_MAX + 1)
    with pytest.raises(MediaError, match="make it with mw boot-media"):
        open_disc(path, URL)


@pytest.mark.parametrize(
    ("image", "ours"),
    [
        ("metalwright-0123456789ab.iso", True),
        ("http://10.0.0.1:8800/media/metalwright-0123456789ab.iso", True),
        ("http://10.0.0.1/metalwright-0123456789AB.iso", False),
        ("http://10.0.0.1/metalwright-0123456789ab.iso/rescue.iso", False),
        ("http://10.0.0.1/rescue.iso", False),
        ("", False),
    ],
)
def test_our_discs_are_known_by_their_names(image: str, ours: bool) -> None:
    assert is_ours(image) is ours


def serve(served: World) -> tuple[Disc, bytes]:
    path = a_disc(served.directory / "boot.iso", served.url)
    disc = open_disc(path, served.url)
    served.server.desk.disc = disc
    return disc, path.read_bytes()


def test_a_bmc_fetches_it_whole_or_in_parts(served: World) -> None:
    assert served.client.get("/media/metalwright-0123456789ab.iso").status_code == 404
    disc, content = serve(served)
    where = f"/media/{disc.name}"
    whole = served.client.get(where)
    assert whole.content == content
    assert whole.headers["accept-ranges"] == "bytes"
    head = served.client.head(where)
    assert (head.status_code, head.headers["content-length"]) == (200, str(len(content)))
    part = served.client.get(where, headers={"Range": "bytes=32768-34815"})
    assert (part.status_code, part.content) == (206, content[32_768:34_816])
    assert part.headers["content-range"] == f"bytes 32768-34815/{len(content)}"
    assert served.client.get(where, headers={"Range": "bytes=9999999-"}).status_code == 416


def test_nothing_else_is_to_be_had_there(served: World) -> None:
    serve(served)
    for name in ("metalwright-0123456789ab.iso", "..%2Fboot.iso", "boot.iso", "%2e%2e"):
        assert served.client.get(f"/media/{name}").status_code == 404


def test_a_file_that_was_changed_since_is_not_served(served: World) -> None:
    disc, content = serve(served)
    (served.directory / "boot.iso").write_bytes(content + b"x")
    assert served.client.get(f"/media/{disc.name}").status_code == 503
    assert "its sha256 is" in served.trouble[0]


def test_a_file_that_was_served_once_stays_as_it_was(served: World) -> None:
    disc, content = serve(served)
    assert served.client.get(f"/media/{disc.name}").content == content
    (served.directory / "boot.iso").write_bytes(b"another")
    assert served.client.get(f"/media/{disc.name}").content == content
