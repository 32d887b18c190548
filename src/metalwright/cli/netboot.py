"""`mw dnsmasq` and `mw ramdisk`: what the boot service needs around it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from metalwright.boot.dnsmasq import Network, configuration
from metalwright.boot.ramdisk import RamdiskError, build, kernels
from metalwright.cli.common import ConfigOption, RepoOption, say, settings_from
from metalwright.daemon.fleet import open_repository
from metalwright.drivers.registry import driver_names
from metalwright.errors import SettingsError
from metalwright.inventory import Loader


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("dnsmasq")(dnsmasq)
    app.command("ramdisk")(ramdisk)


def dnsmasq(
    ranges: Annotated[
        list[str],
        typer.Option(
            "--range", metavar="R", help="Addresses to give out, as dnsmasq's dhcp-range."
        ),
    ],
    interface: Annotated[
        str, typer.Option("--interface", metavar="IF", help="The network interface to serve on.")
    ] = "",
    loaders: Annotated[
        str, typer.Option("--loaders", metavar="DIR", help="Directory with the files of iPXE.")
    ] = "/usr/lib/ipxe",
    loaders_url: Annotated[
        str,
        typer.Option("--loaders-url", metavar="URL", help="The same files, for UEFI HTTP boot."),
    ] = "",
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Print a DHCP and TFTP configuration for dnsmasq.

    It names the declared machines, and no others.

    Example: mw dnsmasq --range 10.20.0.100,10.20.0.200,1h --interface eth1
    """
    settings = settings_from(config, repository=repo)
    url = settings.boot.url or (f"http://{settings.boot.listen}" if settings.boot.listen else "")
    if not url:
        raise SettingsError("boot.url or boot.listen is missing: where is the boot service?")
    with open_repository(settings) as repository:
        if repository.is_remote:
            repository.fetch()
        inventory = Loader(repository, driver_names()).load(repository.head())
    network = Network(
        ranges=tuple(ranges), interface=interface, loaders_dir=loaders, loaders_url=loaders_url
    )
    say(configuration(inventory.nodes, url, network, inventory.revision.id).rstrip("\n"))


def ramdisk(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the initrd.")],
    kernel: Annotated[
        str | None, typer.Option("--kernel", metavar="V", help="Kernel version; the newest one.")
    ] = None,
    root: Annotated[
        Path, typer.Option("--root", help="Below which boot/ and lib/modules/ are.")
    ] = Path("/"),
    busybox: Annotated[
        Path, typer.Option("--busybox", help="A busybox that needs no libraries.")
    ] = Path("/bin/busybox"),
) -> None:
    """Make the ramdisk that wipes and installs disks.

    The Image document that names it is printed.

    Example: mw ramdisk /srv/images/ramdisk.img
    """
    found = kernels(root)
    if kernel is None and not found:
        raise RamdiskError(
            f"no kernel with its modules is below {root}; on Debian: apt-get install"
            " linux-image-amd64"
        )
    version = kernel if kernel is not None else found[-1]
    image = root / "boot" / f"vmlinuz-{version}"
    if not image.is_file():
        raise RamdiskError(f"{image} is not there")
    build(root, version, busybox, out)
    say("apiVersion: metalwright/v1\nkind: Image\nmetadata: {name: ramdisk}\nspec:")
    for role, path in (("kernel", image), ("initrd", out)):
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        say(f'  {role}: {{url: "{path.resolve().as_uri()}", sha256: "{sha256}"}}')
