"""`mw boot-media`: the disc that leads a machine to the boot service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from metalwright.boot.media import build, open_disc
from metalwright.cli.common import ConfigOption, say, settings_from
from metalwright.errors import SettingsError


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("boot-media")(boot_media)


def boot_media(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the ISO image.")],
    ipxe: Annotated[
        Path, typer.Option("--ipxe", metavar="DIR", help="Directory with the files of iPXE.")
    ] = Path("/usr/lib/ipxe"),
    bios_only: Annotated[
        bool, typer.Option("--bios-only", help="For machines in BIOS mode, without UEFI.")
    ] = False,
    config: ConfigOption = None,
) -> None:
    """Make the boot disc that BMCs show to machines.

    It leads to the boot service of the settings, and boots from CD, USB stick and virtual media.

    Example: mw boot-media /srv/metalwright/boot.iso
    """
    settings = settings_from(config)
    boot = settings.boot
    url = boot.url or (f"http://{boot.listen}" if boot.listen else "")
    if not url:
        raise SettingsError("boot.url or boot.listen is missing: where is the boot service?")
    build(out, url, ipxe, uefi=not bios_only)
    disc = open_disc(out, url)
    modes = "BIOS and UEFI" if disc.uefi else "BIOS only"
    say(f"{out}: {modes}, leads to {url}/boot.ipxe, sha256 {disc.artifact.sha256}")
    if boot.media is None or boot.media.resolve() != out.resolve():
        say(f'name it in the settings, [boot] media = "{out.resolve()}", and restart the daemon')
    else:
        say("restart the daemon to have it served")
