"""`mw show` and `mw explain`: how one node stands, why, and what could be done about it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter

from metalwright.cli.booted import booted_lines
from metalwright.cli.common import (
    ConfigOption,
    Format,
    FormatOption,
    NodeArgument,
    RepoOption,
    print_json,
    say,
    settings_from,
)
from metalwright.cli.look import Look, look
from metalwright.cli.sensors import sensor_lines
from metalwright.cli.standing import instant, release_words, releases_of, rollout_words
from metalwright.cli.suggest import failed_diff
from metalwright.daemon.fleet import Fleet, open_fleet
from metalwright.errors import MetalwrightError
from metalwright.history import Explanation, explain
from metalwright.model.documents import Node
from metalwright.model.inspected import Identity
from metalwright.model.operation import JournalEntry, Operation
from metalwright.model.rollout import ROLLOUT_OVER
from metalwright.plan import replacements

JOURNAL_READ_MAX = 200
OPERATIONS_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("show")(show)
    app.command("explain")(explain_node)


def show(
    node: NodeArgument,
    repo: RepoOption = None,
    sensors: Annotated[
        bool, typer.Option("--sensors", help="Ask its BMC for every sensor, too: slow.")
    ] = False,
    output: FormatOption = Format.TEXT,
    config: ConfigOption = None,
) -> None:
    """Everything known of one node, with its journal.

    Example: mw show r640-01
             mw show r640-01 --sensors
    """
    with open_fleet(
        settings_from(config, repository=repo), drive=False, wake=lambda: None
    ) as fleet:
        seen = look(fleet)
        account = _explained(node, seen)
        more = _beside(node, seen, fleet)
        more = (*more, *booted_lines(fleet, node, seen.desired.inventory.nodes.get(node)))
        if sensors:
            more = (*more, *sensor_lines(fleet, seen.desired.inventory.nodes.get(node)))
        operations = fleet.store.operations(node, OPERATIONS_SHOWN)
        journal = fleet.store.journal(node, JOURNAL_READ_MAX)
    document = seen.desired.inventory.nodes.get(node)
    declared = (
        TypeAdapter(Node).dump_python(document, mode="json", by_alias=True, exclude_defaults=True)
        if document is not None
        else None
    )
    if output is Format.JSON:
        print_json(
            {
                "node": declared,
                "explanation": TypeAdapter(Explanation).dump_python(account, mode="json"),
                "beside": more,
                "operations": _dump(operations),
                "journal": TypeAdapter(tuple[JournalEntry, ...]).dump_python(journal, mode="json"),
            }
        )
        return
    _print_account(account, more)
    if declared is not None:
        say("declared  " + json.dumps(declared["spec"], sort_keys=True))
    for entry in journal:
        say(_journal_line(entry))


def explain_node(
    node: NodeArgument,
    repo: RepoOption = None,
    output: FormatOption = Format.TEXT,
    config: ConfigOption = None,
) -> None:
    """Why a node is as it is, and why nothing happens.

    Example: mw explain r640-07
    """
    with open_fleet(
        settings_from(config, repository=repo), drive=False, wake=lambda: None
    ) as fleet:
        seen = look(fleet)
        account, more = _explained(node, seen), _beside(node, seen, fleet)
    if output is Format.JSON:
        print_json(TypeAdapter(Explanation).dump_python(account, mode="json"))
    else:
        _print_account(account, more)


def _explained(node: str, seen: Look) -> Explanation:
    try:
        return explain(node, seen.desired, seen.observed, seen.memory, seen.plan)
    except KeyError as error:
        raise MetalwrightError(f"neither git nor the store knows a node {node!r}") from error


def _beside(node: str, seen: Look, fleet: Fleet) -> tuple[str, ...]:
    """Its rollout, the release of its assignment, and for a node in quarantine the commit that
    takes it out of the fleet.
    """
    lines = [
        f"rollout   {rollout_words(rollout, seen.desired)}"
        for rollout in seen.plan.rollouts
        if rollout.state not in ROLLOUT_OVER and any(node in wave for wave in rollout.waves)
    ]
    observation = seen.observed.nodes.get(node)
    reading = observation.reading if observation is not None else None
    if reading is not None and (told := _identity(reading.identity)):
        lines.append(f"identity  {told}")
    if reading is not None and reading.health is not None:
        lines.append(f"health    {reading.health.value}")
    if reading is not None and reading.media:
        lines.append(f"disc      {reading.media}")
    lines += [
        f"release   {release_words(release)}"
        for release in releases_of(seen, fleet)
        if node in seen.desired.inventory.assigned[release.assignment]
    ]
    remembered, inventory = seen.memory.nodes.get(node), seen.desired.inventory
    if remembered is not None and remembered.quarantine is not None and node in inventory.nodes:
        lines += _suggested(node, seen, fleet)
    return tuple(lines)


def _identity(identity: Identity) -> str:
    """What the machine tells of itself, in the words in which git would declare it."""
    told = {
        "serial": identity.serial,
        "systemUuid": identity.system_uuid,
        "macs": ", ".join(identity.macs),
    }
    return "; ".join(f"{name}: {value}" for name, value in told.items() if value)


def _suggested(node: str, seen: Look, fleet: Fleet) -> tuple[str, ...]:
    """The commit that takes a failed node out of the fleet, and swaps it where it can."""
    inventory = seen.desired.inventory
    other = replacements(seen.desired, seen.observed, seen.memory).get(node, "")
    wanted = seen.desired.nodes.get(node) or seen.desired.not_managed.get(node)
    holder = wanted.holder.name if wanted is not None else ""
    with_other = f", with {other} in its place" if other else ""
    head = f"suggested commit, unless it is mended soon{with_other}:"
    return (head, *failed_diff(fleet, inventory, node, holder, other))


def _print_account(account: Explanation, more: tuple[str, ...]) -> None:
    say(account.node)
    say(f"wanted    {account.wanted}")
    say(f"observed  {account.observed}")
    say(f"done      {account.done}")
    say(f"verdict   {account.verdict}")
    for reason in account.reasons:
        say(f"          {reason}")
    for line in more:
        say(line)


def _journal_line(entry: JournalEntry) -> str:
    effect = f" {entry.effect.kind.value} {entry.effect.argument}".rstrip() if entry.effect else ""
    stage = f" [{entry.stage.value}]" if entry.stage is not None else ""
    detail = f": {entry.detail}" if entry.detail else ""
    return f"{instant(entry.at)}  {entry.event}{stage}{effect}{detail}"


def _dump(operations: tuple[Operation, ...]) -> Any:
    return TypeAdapter(tuple[Operation, ...]).dump_python(operations, mode="json")
