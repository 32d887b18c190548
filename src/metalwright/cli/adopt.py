"""`mw adopt` and `mw forget`: which machines are ours.

Neither is an instruction about a machine's state, that is git's alone. `adopt` says "this machine
is yours to keep as git says"; `forget` takes that back.
"""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from metalwright.cli.brakes import NodesArgument
from metalwright.cli.common import ERROR, ConfigOption, RepoOption, say, select, settings_from
from metalwright.cli.look import in_force
from metalwright.daemon.fleet import open_fleet
from metalwright.daemon.reconcile import applied_as
from metalwright.errors import MetalwrightError
from metalwright.model.noderange import NodeRangeError, fold, unfold


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("adopt")(adopt)
    app.command("forget")(forget)


def adopt(
    nodes: NodesArgument,
    rebuild: Annotated[
        bool,
        typer.Option(
            "--rebuild",
            help="What runs there is not what git wants: bring it to that, as git allows.",
        ),
    ] = False,
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Take nodes over: from now on a change in git changes them.

    A node is taken to be what git wants of it at this moment, so adopting by itself changes
    nothing. With --rebuild it is brought to what git wants instead.

    Example: mw adopt r640-01 'rack=a02'
             mw adopt --rebuild 'pool=ci'
    """
    settings = settings_from(config, repository=repo)
    with open_fleet(settings, drive=False, wake=lambda: None) as fleet:
        desired = in_force(fleet)
        inventory, wanted, now = desired.inventory, desired.nodes, desired.at
        names = select(inventory, nodes)
        unwanted = names - wanted.keys()
        names -= unwanted
        known = fleet.store.memory().nodes
        fresh = sorted(name for name in names if name not in known or rebuild)
        busy = [name for name in fresh if name in known and known[name].operation is not None]
        if busy:
            raise MetalwrightError(f"an operation on {fold(busy)} is under way")
        revision = inventory.revision.id
        records = {
            name: None if rebuild else applied_as(wanted[name], revision, now) for name in fresh
        }
        fleet.store.adopt(records, getpass.getuser(), now)
    say(f"adopted {len(fresh)}: {fold(fresh)}" if fresh else "nothing adopted")
    already = names.difference(fresh)
    if already:
        say(f"adopted already, left as they are recorded: {fold(already)}")
    if unwanted:
        say(f"git wants nothing of these (not managed, or in no pool): {fold(unwanted)}")
    if not names:
        raise typer.Exit(ERROR)


def forget(
    nodes: Annotated[
        list[str], typer.Argument(metavar="NODE", help="Names or ranges, in git or not.")
    ],
    config: ConfigOption = None,
) -> None:
    """Take an adoption back: the nodes are not ours any more.

    Nothing is done to the machines. Meant for those that left the fleet; one that git still
    declares is NOT_ADOPTED from then on.

    Example: mw forget r640-07
    """
    try:
        names = sorted({name for text in nodes for name in unfold(text)})
    except NodeRangeError as error:
        raise typer.BadParameter(str(error), param_hint="NODE") from error
    settings = settings_from(config)
    with open_fleet(settings, drive=False, wake=lambda: None) as fleet, fleet.store.batch():
        now, by = fleet.clock(), getpass.getuser()
        gone = [name for name in names if fleet.store.forget(name, by, now)]
    say(f"forgotten {len(gone)}: {fold(gone)}" if gone else "none of these nodes was adopted")
    if not gone:
        raise typer.Exit(ERROR)
