"""`mw adopt` and `mw forget`: which machines are ours.

Neither is an instruction about a machine's state, that is git's alone. `adopt` says "this machine
is yours to keep as git says"; `forget` takes that back.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Final

import typer

from metalwright.cli.brakes import NodesArgument
from metalwright.cli.common import ERROR, ConfigOption, RepoOption, say, select, settings_from
from metalwright.cli.look import live
from metalwright.daemon.fleet import open_fleet
from metalwright.daemon.reconcile import Reconciler, applied_as
from metalwright.errors import MetalwrightError
from metalwright.model.desired import Desired
from metalwright.model.frozen import FrozenDict
from metalwright.model.noderange import NodeRangeError, fold, unfold
from metalwright.model.operation import Applied, Memory, NodeMemory
from metalwright.model.plan import BlockedReason
from metalwright.model.tenancy import DriftPolicy

_STRANGE: Final = frozenset({BlockedReason.IDENTITY_MISMATCH})
"""Reasons for which it may not be the machine that is meant."""


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

    A node is taken to be what git wants of it at this moment, and adopting by itself changes
    nothing: a node that is seen to be otherwise, or does not answer, is not adopted. With --rebuild
    it is brought to what git wants instead.

    Example: mw adopt r640-01 'rack=a02'
             mw adopt --rebuild 'pool=ci'
    """
    settings = settings_from(config, repository=repo)
    with open_fleet(settings, drive=False, wake=lambda: None) as fleet:
        if fleet.repository.is_remote:
            fleet.repository.fetch()
        reconciler = Reconciler(fleet)
        reconciler.follow_head()
        if reconciler.inventory is None or reconciler.trouble:
            raise MetalwrightError(reconciler.trouble)
        desired = reconciler.resolve(fleet.clock())
        inventory, wanted, now = desired.inventory, desired.nodes, desired.at
        names = select(inventory, nodes)
        unwanted = names - wanted.keys()
        names -= unwanted
        memory = fleet.store.memory()
        known = memory.nodes
        fresh = {name for name in names if name not in known or rebuild}
        busy = [name for name in fresh if name in known and known[name].operation is not None]
        if busy:
            raise MetalwrightError(f"an operation on {fold(busy)} is under way")
        revision, by = inventory.revision, getpass.getuser()
        records = {
            name: None if rebuild else applied_as(wanted[name], revision.id, now)
            for name in sorted(fresh)
        }
        left = {} if rebuild else _otherwise(reconciler, desired, memory, records)
        for name in left:
            del records[name]
        fleet.store.adopt(records, by, now)
    adopted = f"adopted {len(records)}: {fold(records)}" if records else "nothing adopted"
    say(f"{adopted} (as of {revision.id[:12]} {revision.subject})")
    already = names - fresh
    if already:
        say(f"adopted already, left as they are recorded: {fold(already)}")
    if unwanted:
        say(f"git wants nothing of these (not managed, or in no pool): {fold(unwanted)}")
    for why in sorted(set(left.values())):
        say(f"not adopted: {fold(name for name in left if left[name] == why)}: {why}")
    if left:
        say("Declare them in git as they are, or have them brought to what git wants: --rebuild")
    if left or not names:
        raise typer.Exit(ERROR)


def _otherwise(
    reconciler: Reconciler, desired: Desired, memory: Memory, records: Mapping[str, Applied | None]
) -> dict[str, str]:
    """The nodes that are seen to be otherwise than these records say, and in which way."""
    fleet = reconciler.fleet
    nodes = dict(memory.nodes)
    for name, applied in records.items():
        nodes[name] = NodeMemory(node=name, adopted_at=desired.at, adopted_by="", applied=applied)
    would = replace(memory, nodes=FrozenDict(nodes))
    observed = live(fleet, desired.inventory, memory, records.keys())
    context = reconciler.context(memory, desired.inventory)
    context = replace(context, limit_nodes=frozenset(records))
    desired = replace(desired, at=fleet.clock())
    plan = reconciler.plan(desired, observed, would, context)
    found = {line.node: f"it would be changed at once ({line.verb.value})" for line in plan.actions}
    for line in plan.blocked:
        wanted, seen = desired.nodes[line.node], observed.nodes.get(line.node)
        if line.reason in _STRANGE:
            found[line.node] = line.message
        elif wanted.drift is DriftPolicy.CORRECT and line.verb is not None:
            found[line.node] = f"it would be changed ({line.verb.value})"
        elif wanted.drift is DriftPolicy.CORRECT and (seen is None or seen.reading is None):
            found[line.node] = line.message
    return found


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
