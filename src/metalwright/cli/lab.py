"""`mw lab`: a fleet of three machines on this computer that really boot, and the daemon that drives
them.

The machines are QEMU processes behind simulated BMCs. To the daemon they are machines like any
other: it gets a git repository, a settings file and a secret, and speaks IPMI and HTTP.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from metalwright.boot.ramdisk import build, kernels
from metalwright.cli.adopt import adopt
from metalwright.cli.common import console, say
from metalwright.cli.progress import Progress
from metalwright.daemon import CycleResult, Service
from metalwright.errors import MetalwrightError, SettingsError
from metalwright.inventory.authoring import commit_all, create_repository, revert_head
from metalwright.lab import system
from metalwright.lab.documents import ASSIGNMENT, write_inventory, write_settings
from metalwright.lab.machine import (
    HOST_ADDRESS,
    MACHINES_MAX,
    LabError,
    Machine,
    end_left_behind,
)
from metalwright.settings import LogSettings, load_settings

PORT = 8640
"""Of the boot service; the BMCs have those after it."""

HINTS = """\
In another terminal:

  export METALWRIGHT_CONFIG={config}
  mw status                    how the machines stand
  mw show m1                   everything known of one, with its journal
  tail -f {home}/machines/m1/console.log

  cd {inventory}
  sed -i 's/template: red/template: blue/' pool.yaml
  git commit -am 'All machines run blue'
  git revert --no-edit HEAD

Ctrl-C here ends the daemon, the machines and their BMCs.
"""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("lab")(lab)


def lab(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Where to build it; a temporary directory that is removed."),
    ] = None,
    machines: Annotated[
        int, typer.Option("--machines", min=1, max=MACHINES_MAX, help="How many machines.")
    ] = 3,
    port: Annotated[
        int,
        typer.Option(
            "--port", min=1_024, max=65_000, help="Of the boot service; the BMCs' are those after."
        ),
    ] = PORT,
    tour: Annotated[
        bool, typer.Option("--tour", help="Make the commits of the tour by itself, then end.")
    ] = False,
) -> None:
    """Drive three machines of this computer that really boot.

    Needs Linux with QEMU, iPXE, OpenIPMI's BMC simulator and some tools (it says which are
    missing), 1 GiB of memory, and no privilege. docs/lab.md goes through it step by step.

    Example: mw lab
             mw lab --tour
    """
    missing = system.missing_packages()
    if missing:
        raise SettingsError(
            f"the lab needs packages that are missing; on Debian or Ubuntu: apt-get install"
            f" {' '.join(missing)}"
        )
    for left, processes in end_left_behind().items():
        say(f"{processes} processes of a former lab were still there, in {left}: they are ended")
    with _home(directory) as home:
        every = _machines(home, machines, port)
        try:
            _make(home, every, port)
            _run(home, tour)
        finally:
            for machine in every:
                machine.close()


@contextlib.contextmanager
def _home(directory: Path | None) -> Iterator[Path]:
    if directory is not None:
        if directory.exists() and any(directory.iterdir()):
            raise SettingsError(f"{directory} is not empty")
        directory.mkdir(parents=True, exist_ok=True)
        yield directory.resolve()
        return
    scratch = Path(tempfile.mkdtemp(prefix="metalwright-lab-"))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _machines(home: Path, count: int, port: int) -> list[Machine]:
    password = secrets.token_hex(8)
    return [
        Machine(
            home=home / "machines" / f"m{number}",
            number=number,
            port=port + number,
            username="lab",
            password=password,
            boot_url=f"http://{HOST_ADDRESS}:{port}/boot.ipxe",
        )
        for number in range(1, count + 1)
    ]


def _make(home: Path, machines: list[Machine], port: int) -> None:
    """Everything that there is before the daemon starts."""
    say(f"The lab is in {home}")
    images = _images(home / "images", f"http://{HOST_ADDRESS}:{port}")
    for machine in machines:
        machine.build()
        machine.start_bmc()
    first, last = machines[0], machines[-1]
    say(f"  {len(machines)} machines, off; BMCs at {first.host}, ports {first.port} to {last.port}")
    write_inventory(home / "made", machines, images, system.ARGUMENTS)
    create_repository(home / "inventory", home / "made", "The lab")
    shutil.rmtree(home / "made")
    config = home / "metalwright.toml"
    write_settings(config, port, home / "secrets" / "bmc" / "lab", first)
    say(f"  boot service: http://127.0.0.1:{port}, for the machines http://{HOST_ADDRESS}:{port}")
    say("$ mw adopt --rebuild '*'")
    adopt(["*"], rebuild=True, config=config)


def _images(directory: Path, service: str) -> dict[str, dict[str, Path]]:
    """The files of each image, made here from a kernel and busybox of Debian's."""
    directory.mkdir()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "metalwright"
    say(f"  a kernel of Debian's, kept in {cache / 'lab'}")
    root = system.kernel_below(cache / "lab")
    version = kernels(root)[-1]
    kernel, ramdisk = root / "boot" / f"vmlinuz-{version}", directory / "ramdisk"
    build(root, version, system.busybox(), ramdisk, system.MODULES)
    images = {"ramdisk": {"kernel": kernel, "initrd": ramdisk}}
    for name in ("red", "blue", "green"):
        initrd = directory / name
        initrd.write_bytes(system.initrd_of(name, ramdisk.read_bytes()))
        images[name] = {"kernel": kernel, "initrd": initrd}
    disk = directory / "green.disk"
    system.write_disk_image(disk, kernel, directory / "green", service)
    images["green"] = {"disk": disk}
    say(f"  systems red and blue that run from memory, green for the disk; kernel {version}")
    return images


def _run(home: Path, tour: bool) -> None:
    config, inventory = home / "metalwright.toml", home / "inventory"
    if not tour:
        say("\n" + HINTS.format(config=config, inventory=inventory, home=home))
    guide = Tour(inventory) if tour else None
    settings = load_settings(config, log=LogSettings(level="error"))  # Progress tells the rest
    with Progress(console(), "metalwright lab") as progress:

        def on_cycle(result: CycleResult) -> None:
            progress.show(result)
            if guide is not None and guide.goes_on(result) is False:
                service.stop()

        service = Service(settings, config, on_cycle)
        service.install_signals()
        service.run()
    if guide is not None and guide.left:
        raise LabError("the tour did not come to its end")


class Tour:
    """The commits of the tour: the next one is made when all machines are as the last one wants."""

    def __init__(self, inventory: Path) -> None:
        self.inventory, self.revision = inventory, ""
        self.left: list[Callable[[], str]] = [self._blue, self._back, self._green, self._clean]

    def goes_on(self, result: CycleResult) -> bool:
        """Make the next commit when it is time; false when there is none."""
        plan = result.plan
        if plan is None or not result.settled or plan.totals.as_desired < plan.totals.nodes:
            return True
        if self.revision not in ("", plan.revision.id):
            return True
        if not self.left:
            return False
        self.revision = self.left.pop(0)()
        return True

    def _blue(self) -> str:
        pool = self.inventory / "pool.yaml"
        text = pool.read_text(encoding="utf-8")
        pool.write_text(text.replace("template: red", "template: blue"), encoding="utf-8")
        return self._commit("All machines run blue")

    def _back(self) -> str:
        self._tell("git revert --no-edit HEAD")
        return revert_head(self.inventory)

    def _green(self) -> str:
        return self._assign("green", "m1 gets green on its disk")

    def _clean(self) -> str:
        return self._assign("clean", "m1 is wiped, and runs from memory again")

    def _assign(self, template: str, subject: str) -> str:
        text = ASSIGNMENT.format(name="grace", node="m1", template=template)
        (self.inventory / "grace.yaml").write_text(text, encoding="utf-8")
        return self._commit(subject)

    def _commit(self, subject: str) -> str:
        self._tell(f"git commit -m '{subject}'")
        try:
            return commit_all(self.inventory, subject)
        except MetalwrightError as error:
            raise LabError(f"the tour cannot go on: {error}") from error

    def _tell(self, command: str) -> None:
        console().print(f"$ {command}", markup=False, highlight=False, style="bold")
