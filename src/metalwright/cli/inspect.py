"""`mw status` and `mw history`: how things stand, and how they came to be so."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from rich.table import Table
from rich.text import Text

from metalwright.cli.common import (
    ConfigOption,
    Format,
    FormatOption,
    RepoOption,
    console,
    print_json,
    say,
    settings_from,
)
from metalwright.cli.look import Look, StatusFile, in_force, look
from metalwright.cli.standing import (
    driver_line,
    instant,
    release_words,
    releases_of,
    standing_lines,
)
from metalwright.daemon.fleet import Fleet, driven_by, open_fleet
from metalwright.daemon.reconcile import FACT_CYCLE
from metalwright.history import CommitEffect, Released, released, timeline
from metalwright.model.fields import format_duration
from metalwright.model.noderange import fold
from metalwright.model.operation import Operation
from metalwright.model.plan import Fate, InProgress
from metalwright.model.rollout import Rollout
from metalwright.plan import Release, gated, needed

OPERATIONS_READ_MAX = 10_000
COMMITS_SHOWN = 20
STATE_WIDTH_MIN = 32


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("status")(status)
    app.command("history")(history)


def status(
    repo: RepoOption = None, output: FormatOption = Format.TEXT, config: ConfigOption = None
) -> None:
    """How every node stands, one line each.

    Above them: who drives the fleet and its last sentence, what is held or in quarantine, and the
    rollouts. The JSON can be given to `mw plan --observed FILE`.

    Example: mw status
             mw status --format json > observed.json
    """
    settings = settings_from(config, repository=repo)
    with open_fleet(settings, drive=False, wake=lambda: None) as fleet:
        seen = look(fleet)
        freed = releases_of(seen, fleet)
        said = fleet.store.fact(FACT_CYCLE)
    daemon = json.loads(said[0]) if said is not None else None
    process = driven_by(settings)
    if output is Format.JSON:
        observed = TypeAdapter(StatusFile).dump_python(
            StatusFile(observed=seen.observed), mode="json"
        )
        rollouts = TypeAdapter(tuple[Rollout, ...]).dump_python(seen.plan.rollouts, mode="json")
        more = {"daemon": daemon, "driven_by": process, "rollouts": rollouts}
        more["releases"] = TypeAdapter(tuple[Release, ...]).dump_python(freed, mode="json")
        print_json(observed | more | {"nodes": _rows(seen)})
        return
    _print_status(seen, daemon, process, freed)


def _print_status(
    seen: Look, daemon: dict[str, Any] | None, process: int | None, freed: tuple[Release, ...]
) -> None:
    revision, totals = seen.plan.revision, seen.plan.totals
    say(f"revision {revision.id[:12]} {revision.subject} ({revision.author})")
    say(driver_line(process, daemon))
    for finding in daemon["findings"] if daemon is not None and daemon["trouble"] else ():
        say(f"          {finding}")
    say(
        f"fleet     {totals.as_desired} as desired, {totals.changes} to change, "
        f"{totals.in_progress} in progress, {totals.blocked} blocked, {totals.unmanaged} unmanaged"
    )
    for line in standing_lines(seen.desired, seen.memory, seen.plan):
        say(line)
    for release in freed:
        say(f"release   {release_words(release)}")
    rows = _rows(seen)
    if not console().is_terminal:
        for line in _aligned([list(_ROW), *([row[key] for key in _ROW] for row in rows)]):
            say(line)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    columns = _fitting(rows, console().width)
    for heading in columns:
        table.add_column(heading, no_wrap=heading != "state", overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[key]) for key in columns))
    console().print(table)


def _fitting(rows: list[dict[str, str]], width: int) -> list[str]:
    """The columns that leave room for the state, which is what one looks for."""
    columns = list(_ROW)
    for dispensable in ("pool", "asked", "holder", "wanted"):
        others = [key for key in columns if key != "state"]
        taken = sum(max([len(key), *(len(row[key]) for row in rows)]) + 2 for key in others)
        if width - taken >= STATE_WIDTH_MIN:
            break
        columns.remove(dispensable)
    return columns


def _aligned(rows: list[list[str]]) -> list[str]:
    """Columns for a pipe or a file: one line per row, however long, nothing cut off."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


_ROW = ("node", "pool", "holder", "wanted", "power", "asked", "state")


def _rows(seen: Look) -> list[dict[str, str]]:
    states = _states(seen)
    return [
        _row(name, seen, states.get(name, "as desired" if name in seen.desired.nodes else "-"))
        for name in sorted(seen.desired.inventory.nodes)
    ]


def _row(name: str, seen: Look, state: str) -> dict[str, str]:
    wanted = seen.desired.nodes.get(name)
    target = wanted.target if wanted is not None else None
    template = target.template if target is not None else None
    observation = seen.observed.nodes.get(name)
    age = f"{format_duration(int(observation.age_s(seen.plan.at)))} ago" if observation else "never"
    if observation is not None and observation.error is not None:
        words = observation.error.message
        state = state if words in state else f"{state} (not observed: {words})"
    return {
        "node": name,
        "pool": seen.desired.inventory.pool_of.get(name, "-"),
        "holder": str(wanted.holder) if wanted is not None else "-",
        "wanted": template.name if template else (target.power.value if target else "-"),
        "power": observation.power.value if observation is not None else "unknown",
        "asked": age,
        "state": state,
    }


def _states(seen: Look) -> dict[str, str]:
    """What the plan says of each node that is not as desired."""
    states = {
        each.node: f"{each.reason}: {each.message.replace(' NODE`', f' {each.node}`')}"
        for each in seen.plan.blocked
    }
    states |= {each.node: f"to change: {each.verb}" for each in seen.plan.actions}
    for each in seen.plan.in_progress:
        states[each.node] = f"{each.verb}: {_stage(each)}{_ending(each, seen)}"
    return states


def _stage(each: InProgress) -> str:
    if each.stage is not None:
        return f"{each.stage}, attempt {each.attempt}"
    return f"queued, {each.attempt} failed" if each.attempt else "queued"


def _ending(each: InProgress, seen: Look) -> str:
    """What is going to end it, if anything."""
    remembered = seen.memory.nodes.get(each.node)
    operation = remembered.operation if remembered is not None else None
    if operation is not None and operation.cancelled_by:
        return f"; to be cancelled ({operation.cancelled_by})"
    return f"; to {each.fate}: {each.why}" if each.fate is not Fate.CONTINUE else ""


def history(
    node: Annotated[str | None, typer.Argument(metavar="NODE", help="Only this node.")] = None,
    count: Annotated[
        int, typer.Option("--count", min=1, max=10_000, help="How many commits.")
    ] = COMMITS_SHOWN,
    output: FormatOption = Format.TEXT,
    config: ConfigOption = None,
) -> None:
    """What each commit did to which machines, the latest first.

    Example: mw history
             mw history r640-07 --count 5
    """
    with open_fleet(settings_from(config), drive=False, wake=lambda: None) as fleet:
        operations = _operations(fleet, node)
        freed = _released(fleet, operations) if node is None else ()
    effects = timeline(operations)[:count]
    if output is Format.JSON:
        print_json(TypeAdapter(tuple[CommitEffect, ...]).dump_json(effects, indent=2).decode())
        return
    if not effects:
        say("nothing was done yet" if node is None else f"nothing was done to {node} yet")
    for each in freed:
        nodes = f"{each.ready} node{'s' if each.ready > 1 else ''} ready"
        say(f"released {each.assignment} at {instant(each.at)}, {nodes}")
    for effect in effects:
        commit = effect.commit
        ended = instant(effect.ended_at) if effect.ended_at is not None else "still under way"
        say(f"commit {commit.id[:12]} {commit.subject}")
        say(f"  by {commit.author}, acted {instant(effect.began_at)} to {ended}")
        for group in effect.groups:
            error = f": {group.last_error}" if group.last_error else ""
            nodes = f"{len(group.nodes)} x {fold(group.nodes)}"
            say(f"  {group.verb.value} {group.state.value}: {nodes} ({group.source}){error}")


def _released(fleet: Fleet, operations: tuple[Operation, ...]) -> tuple[Released, ...]:
    """When the assignments of the revision in force were released that have something to pass."""
    if not any(operation.holder.kind == "Assignment" for operation in operations):
        return ()
    inventory = in_force(fleet).inventory
    worth = [each for each in inventory.assignments.values() if gated(each, inventory)]
    names = {each.metadata.name: each for each in worth}
    assigned = {name: frozenset(inventory.assigned[name]) for name in names}
    enough = {name: needed(each, inventory) for name, each in names.items()}
    return released(operations, assigned, enough)


def _operations(fleet: Fleet, node: str | None) -> tuple[Operation, ...]:
    return fleet.store.operations(node, OPERATIONS_READ_MAX)
