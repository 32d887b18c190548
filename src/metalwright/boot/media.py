"""The boot disc: a small bootable ISO image that leads a machine to the boot service.

It is for machines that do not find the service by their network card's firmware: a BMC shows it as
virtual media, and it boots from a CD or a USB stick as well. It holds iPXE, for BIOS and for UEFI,
and a script with the address of the service; no secret, and nothing of any one machine. It is made
by `mw boot-media` with xorriso, isolinux and mtools; the service serves the file as it is.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from metalwright.errors import MetalwrightError
from metalwright.model.template import Artifact

DISC_BYTES_MAX: Final = 64 * 1024 * 1024
ROUNDS_MAX: Final = 20
"""How often the disc tries every network card before the firmware goes on."""

PAUSE_S: Final = 5

_TOOL_TIMEOUT_S: Final = 120.0
_NAME: Final = re.compile(r"metalwright-[0-9a-f]{12}\.iso")
_UEFI: Final = {"ipxe.efi": "BOOTX64.EFI", "ipxe-arm64.efi": "BOOTAA64.EFI"}
"""The programs that UEFI firmware looks for on a disc (UEFI 2.10, 3.5.1.1), by those of iPXE."""

_UEFI_MARK: Final = b"BOOTX64 EFI"  # the name as a FAT directory has it
_AUTOEXEC: Final = (b"autoexec.ipxe", "autoexec.ipxe".encode("utf-16-le"))
_SPARE_BYTES: Final = 256 * 1024
_TOOLS: Final = {"xorriso": "xorriso", "mformat": "mtools", "mmd": "mtools", "mcopy": "mtools"}
_BIOS: Final[Mapping[str, tuple[str, ...]]] = {
    "isolinux.bin": ("/usr/lib/ISOLINUX", "/usr/share/syslinux", "/usr/lib/syslinux/bios"),
    "ldlinux.c32": (
        "/usr/lib/syslinux/modules/bios",
        "/usr/share/syslinux",
        "/usr/lib/syslinux/bios",
    ),
    "isohdpfx.bin": ("/usr/lib/ISOLINUX", "/usr/share/syslinux", "/usr/lib/syslinux/bios"),
}
"""Where Debian, Fedora and Arch keep what starts a disc in BIOS mode."""

_MENU: Final = """\
DEFAULT ipxe
PROMPT 0
TIMEOUT 0
LABEL ipxe
 KERNEL /ipxe.krn
 INITRD /boot.ipx
"""
_SCRIPT: Final = """\
#!ipxe
set round:int32 0
:round
set card:int32 0
:card
isset ${{net${{card}}/mac}} || goto over
echo Metalwright: asking on net${{card}} ${{net${{card}}/mac}}
dhcp net${{card}} && {chain} ||
ifclose net${{card}}
inc card
goto card
:over
inc round
iseq ${{round}} {rounds} && goto end ||
sleep {pause}
goto round
:end
echo Metalwright: no network card leads to {url}
exit
"""


class MediaError(MetalwrightError):
    """A boot disc that cannot be made or served, and what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disc:
    """A boot disc as the service serves it, below `name`; `uefi` where it boots in UEFI mode too.

    The name changes with the content: a BMC that keeps an image by its address has the right one.
    """

    artifact: Artifact
    name: str
    uefi: bool


def is_ours(image: str) -> bool:
    """Whether the address of an image is that of a boot disc, of this content or an older one."""
    return _NAME.fullmatch(image.rpartition("/")[2]) is not None


def script(url: str) -> str:
    """What the disc has iPXE do: ask for an address on one network card after the other, and go to
    the boot service at `url` from the first that leads there. A card may lead elsewhere.
    """
    return _SCRIPT.format(chain=_chain(url), url=url, rounds=ROUNDS_MAX, pause=PAUSE_S)


def open_disc(path: Path, url: str) -> Disc:
    """The disc in a file, which has to lead to the boot service at `url`.

    Raises:
        MediaError: it cannot be read, or it is no disc of this service.
    """
    try:
        with path.open("rb") as file:
            content = file.read(DISC_BYTES_MAX + 1)
    except OSError as error:
        raise MediaError(f"boot.media {path}: {error.strerror}") from error
    if len(content) > DISC_BYTES_MAX or f"{_chain(url)} ".encode() not in content:
        raise MediaError(
            f"boot.media {path} is no boot disc that leads to {url}: make it with mw boot-media"
        )
    sha256 = hashlib.sha256(content).hexdigest()
    return Disc(
        artifact=Artifact(url=path.resolve().as_uri(), sha256=sha256),
        name=f"metalwright-{sha256[:12]}.iso",
        uefi=_UEFI_MARK in content,
    )


def build(out: Path, url: str, ipxe: Path, *, uefi: bool = True) -> None:
    """Write the disc that leads to the boot service at `url` to `out`.

    `ipxe` is a directory with iPXE's files: `ipxe.lkrn`, and for `uefi` an `ipxe.efi` that runs an
    `autoexec.ipxe` (iPXE from 2021 on), with `ipxe-arm64.efi` where there is one. The same files
    make the same disc.

    Raises:
        MediaError: a file or a tool is missing or of no use, or a tool failed.
    """
    for tool, package in _TOOLS.items():
        if shutil.which(tool) is None:
            raise MediaError(f"{tool} is missing; on Debian: apt-get install {package}")
    with tempfile.TemporaryDirectory(prefix="metalwright-media-") as made, _named(out):
        tree = Path(made) / "tree"
        (tree / "isolinux").mkdir(parents=True)
        starter = _bios(tree, script(url), ipxe)
        if uefi:
            _uefi(tree, script(url), ipxe)
        image = Path(made) / "disc.iso"
        _write(tree, image, starter)
        part = out.with_name(f".{out.name}.part")
        shutil.copyfile(image, part)
        part.replace(out)


def _chain(url: str) -> str:
    return f"chain --replace --autofree {url}/boot.ipxe"


def _bios(tree: Path, text: str, ipxe: Path) -> Path:
    """Fill the tree with what BIOS firmware starts; the sector that starts a USB stick."""
    found = {name: _first(name, places) for name, places in _BIOS.items()}
    kernel = ipxe / "ipxe.lkrn"
    if not kernel.is_file():
        raise MediaError(f"{kernel} is not there; on Debian: apt-get install ipxe")
    for name in ("isolinux.bin", "ldlinux.c32"):
        shutil.copyfile(found[name], tree / "isolinux" / name)
    shutil.copyfile(kernel, tree / "ipxe.krn")
    (tree / "boot.ipx").write_text(text)
    (tree / "isolinux" / "isolinux.cfg").write_text(_MENU)
    return found["isohdpfx.bin"]


def _uefi(tree: Path, text: str, ipxe: Path) -> None:
    """Add the FAT image that UEFI firmware starts from: iPXE, and its script in the root."""
    programs = {to: ipxe / name for name, to in _UEFI.items() if (ipxe / name).is_file()}
    if "BOOTX64.EFI" not in programs:
        raise MediaError(f"{ipxe / 'ipxe.efi'} is not there; on Debian: apt-get install ipxe")
    for program in programs.values():
        content = program.read_bytes()
        if not any(each in content for each in _AUTOEXEC):
            raise MediaError(
                f"{program} is too old: it runs no autoexec.ipxe, as iPXE does from 2021 on."
                " Debian 13's package ipxe has one; name the directory with it by --ipxe, or make"
                " a disc for machines in BIOS mode with --bios-only"
            )
    size = sum(each.stat().st_size for each in programs.values()) + _SPARE_BYTES
    image, autoexec = tree / "efi.img", tree.parent / "autoexec.ipxe"
    autoexec.write_text(text)
    with image.open("wb") as file:
        file.truncate(-(-size // 32_768) * 32_768)
    at = ("-i", str(image))
    sectors = str(image.stat().st_size // 512)
    _run(
        "mformat",
        *at,
        "-h",
        "64",
        "-s",
        "32",
        "-T",
        sectors,
        "-N",
        "4d57424f",
        "-v",
        "MWBOOT",
        "::",
    )
    _run("mmd", *at, "::EFI", "::EFI/BOOT")
    for name, program in sorted(programs.items()):
        _run("mcopy", *at, str(program), f"::EFI/BOOT/{name}")
    _run("mcopy", *at, str(autoexec), "::autoexec.ipxe")


def _write(tree: Path, image: Path, starter: Path) -> None:
    """The tree as an ISO image: El Torito for both firmwares, and a partition table for sticks."""
    for path in (*tree.rglob("*"), tree):
        os.utime(path, (0, 0))
    more = ["-isohybrid-mbr", str(starter)]
    if (tree / "efi.img").exists():
        more = [*_AS_UEFI, *more, "-isohybrid-gpt-basdat"]
    _run("xorriso", *_AS_BIOS, *more, "-o", str(image), str(tree))


_AS_BIOS: Final = (
    *("-as", "mkisofs", "-quiet", "-V", "METALWRIGHT", "-J", "-r"),
    *("-b", "isolinux/isolinux.bin", "-c", "isolinux/boot.cat"),
    *("-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"),
)
_AS_UEFI: Final = ("-eltorito-alt-boot", "-e", "efi.img", "-no-emul-boot")


def _first(name: str, places: tuple[str, ...]) -> Path:
    for place in places:
        if (Path(place) / name).is_file():
            return Path(place) / name
    raise MediaError(f"{name} is not there; on Debian: apt-get install isolinux syslinux-common")


@contextmanager
def _named(out: Path) -> Iterator[None]:
    """Errors of files are MediaErrors that name them."""
    try:
        yield
    except OSError as error:
        raise MediaError(f"{error.filename or out}: {error.strerror}") from error


def _run(tool: str, *arguments: str) -> None:
    # Times of the tools' own would make another disc, with another name, of the same files.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "315532800", "MTOOLS_SKIP_CHECK": "1"}
    try:
        done = subprocess.run(
            [tool, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MediaError(f"{tool} was not done after {_TOOL_TIMEOUT_S:g} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()[-400:]
        raise MediaError(f"{tool} failed: {said}")
