"""`mw demo`: the whole line on a simulated fleet, from an empty directory, in less than a minute.

Nothing is special about it: it makes a git repository of the example inventory, writes a settings
file, adopts the nodes and runs the daemon, then makes a commit and reverts it, as a person would.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

import metalwright
from metalwright.cli.adopt import adopt
from metalwright.cli.apply import run_until_settled
from metalwright.cli.common import ERROR, console, say
from metalwright.cli.inspect import history
from metalwright.cli.plan import plan
from metalwright.cli.progress import Progress
from metalwright.daemon import CycleResult, Service
from metalwright.errors import MetalwrightError, SettingsError
from metalwright.inventory.authoring import commit_all, create_repository, revert_head
from metalwright.settings import LogSettings, load_settings

LOAN = """\
# Four spares for the storage team, as a pull request would add them.
apiVersion: metalwright/v1
kind: Assignment
metadata:
  name: storage-loan
spec:
  pool: spare
  nodes:
    - dl380-[01-04]
  template: rescue
  owner: Storage team <storage@example.net>
  ticket: STOR-77
"""

EDIT = ("    - mitigations=auto\n", "    - mitigations=off\n")
SHORTER = (
    ("pools.yaml", "    soak: 10m\n", "    soak: 2s\n"),
    ("policy.yaml", "      per: 10s\n", "      per: 1s\n"),
    ("templates/base.yaml", "    softPowerOff: 3m\n", "    softPowerOff: 2s\n"),
)

SETTINGS = """\
# One installation of Metalwright: the demonstration.
repository = "inventory"
branch = "main"
state_dir = "state"

[drivers.fake]
seed = {seed}
speed = {speed}

[observe]
interval_s = 2
busy_interval_s = 0.25
"""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("demo")(demo)


def demo(
    directory: Annotated[
        Path | None,
        typer.Option("--dir", help="Where to build it; a temporary directory that is removed."),
    ] = None,
    speed: Annotated[
        float, typer.Option("--speed", min=1, max=10_000, help="How many times faster than life.")
    ] = 120.0,
    seed: Annotated[int, typer.Option("--seed", help="Another seed is another fleet.")] = 7,
    stay: Annotated[
        bool, typer.Option("--stay/--exit", help="Keep the daemon running at the end.")
    ] = False,
) -> None:
    """Watch a commit, and its revert, change 48 simulated machines.

    Example: mw demo
             mw demo --dir ./lab --stay      (then edit ./lab/inventory and commit)
    """
    if directory is not None:
        if directory.exists() and any(directory.iterdir()):
            raise SettingsError(f"{directory} is not empty")
        directory.mkdir(parents=True, exist_ok=True)
        _tell(directory, speed, seed, stay)
        return
    scratch = Path(tempfile.mkdtemp(prefix="metalwright-demo-"))
    try:
        _tell(scratch, speed, seed, stay)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _tell(home: Path, speed: float, seed: int, stay: bool) -> None:
    """The story, chapter by chapter."""
    inventory, config = home / "inventory", home / "metalwright.toml"
    _copy_example(home, inventory)
    config.write_text(SETTINGS.format(speed=speed, seed=seed), encoding="utf-8")

    _chapter("1. A git repository declares 48 machines, nobody has touched them yet")
    say(f"$ mw adopt --rebuild '*' --config {config}")
    adopt(["*"], rebuild=True, config=config)
    _command("mw plan", config)

    _chapter("2. The daemon brings them to what git wants, never more than 8 at a time")
    _converge(config, "first convergence")

    _chapter("3. A commit lends four spare machines to the storage team")
    (inventory / "assignments" / "storage-loan.yaml").write_text(LOAN, encoding="utf-8")
    commit_all(inventory, "Lend four spares to the storage team (STOR-77)")
    say(f"$ git -C {inventory} commit -m 'Lend four spares to the storage team (STOR-77)'")
    _command("mw plan", config)
    _converge(config, "lending four spares")

    _chapter("4. git revert is the rollback, and needs nothing else")
    revert_head(inventory)
    say(f"$ git -C {inventory} revert HEAD")
    _converge(config, "bringing them back")

    _chapter("5. An edit of a template goes out in steps: two canaries, then wave after wave")
    template = inventory / "templates" / "rhel-like.yaml"
    text = template.read_text(encoding="utf-8")
    template.write_text(text.replace(*EDIT), encoding="utf-8")
    commit_all(inventory, "Idle CI machines boot without mitigations (CI-2041)")
    say(f"$ git -C {inventory} commit -m 'Idle CI machines boot without mitigations (CI-2041)'")
    _command("mw plan", config)
    _converge(config, "canaries, then waves")

    _chapter("6. The history of the fleet is the git log")
    say("$ mw history")
    history(config=config)
    if stay:
        _stay(config, inventory)


def _copy_example(home: Path, inventory: Path) -> None:
    """The repository of the example. Its times are for real machines; these here are faster."""
    copy = home / "example"
    shutil.copytree(example_inventory(), copy)
    for name, long, short in SHORTER:
        file = copy / name
        file.write_text(file.read_text(encoding="utf-8").replace(long, short), encoding="utf-8")
    create_repository(inventory, copy, "The example inventory")
    shutil.rmtree(copy)


def _converge(config: Path, title: str) -> None:
    last = run_until_settled(load_settings(config), f"metalwright: {title}")
    if last is None or last.plan is None or last.plan.totals.changes:
        raise MetalwrightError("the demonstration did not converge")


def _command(text: str, config: Path) -> None:
    say(f"$ {text}")
    try:
        plan(config=config)
    except typer.Exit as ending:
        if ending.exit_code == ERROR:
            raise


def _stay(config: Path, inventory: Path) -> None:
    say(f"\nThe daemon goes on. Edit {inventory} and commit; Ctrl-C ends it.")
    say(f"In another terminal: mw status --config {config}\n")
    settings = load_settings(config, log=LogSettings(level="error"))  # Progress tells the rest
    with Progress(console(), "metalwright daemon") as progress:

        def on_cycle(result: CycleResult) -> None:
            progress.show(result)

        service = Service(settings, config, on_cycle)
        service.install_signals()
        service.run()


def _chapter(text: str) -> None:
    console().print(f"\n{text}\n", style="bold", markup=False, highlight=False)


def example_inventory() -> Path:
    """The example inventory: beside the package when installed, at the top of a checkout."""
    package = Path(metalwright.__file__).parent
    for candidate in (package / "example", package.parents[1] / "inventory-example"):
        if candidate.is_dir():
            return candidate
    raise SettingsError("this installation has no example inventory")
