"""`mw queue`: who is next, what each one waits for, when it starts, and by when at the latest.

It is a forecast for people, made of the very values that the daemon works with; nothing is decided
from it, and looking at it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated

import typer
from pydantic import TypeAdapter

from metalwright.cli.common import (
    ConfigOption,
    Format,
    FormatOption,
    RepoOption,
    print_json,
    say,
    settings_from,
)
from metalwright.cli.look import Look, look
from metalwright.daemon.fleet import open_fleet
from metalwright.errors import MetalwrightError
from metalwright.execute.expected import Durations
from metalwright.execute.forecast import queue as forecast
from metalwright.execute.place import Kept, Place, WaitsFor, kept_back
from metalwright.model.fields import format_duration
from metalwright.model.limits import Lane, limit_of
from metalwright.model.natural import natural
from metalwright.model.noderange import fold
from metalwright.model.operation import Operation, OperationState
from metalwright.model.plan import BlockedReason, LimitUse

NAMES_SHOWN_MAX = 4
"""Names that cannot be folded into a short range are cut off after so many."""

RANGE_CHARACTERS_MAX = 40
COARSE_S = 3_600
"""From an hour on, a time is told in minutes."""

NodeOption = Annotated[str | None, typer.Argument(metavar="NODE", help="Only this node.")]
_WAITING = ("#", "node", "pool", "verb", "priority", "waited", "waits for", "starts", "done")
_RUNNING = ("node", "pool", "verb", "stage", "attempt", "for", "left")


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("queue")(queue)


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """One node that holds slots, and what is left of its operation as far as one can tell.

    It is not powered on before `token_at`, if that is given; `left_s` has that wait in it.
    """

    node: str
    pool: str
    verb: str
    stage: str
    attempt: int
    since: datetime | None
    left_s: int
    guessed: bool
    token_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queued:
    """All that the command tells; its JSON."""

    at: datetime
    places: tuple[Place, ...]
    running: tuple[Running, ...]
    limits: tuple[LimitUse, ...]
    kept: tuple[Kept, ...] = ()


def queue(
    node: NodeOption = None,
    repo: RepoOption = None,
    output: FormatOption = Format.TEXT,
    config: ConfigOption = None,
) -> None:
    """Who waits for what, who is next, and for how long at most.

    `priority` is the operation's own, and what waiting has made of it. `starts` and `done` are
    learnt from what stages took lately; `at most` is a bound that holds however others fare. Below:
    what is kept from the queue and what to do about that, what runs, and the slots.

    Example: mw queue
             mw queue r640-07
    """
    settings = settings_from(config, repository=repo)
    with open_fleet(settings, drive=False, wake=lambda: None) as fleet:
        seen = look(fleet)
    queued = _queued(seen)
    if node is not None:
        queued = _only(node, queued, seen)
    if output is Format.JSON:
        print_json(TypeAdapter(Queued).dump_json(queued, indent=2).decode())
        return
    for line in _lines(queued):
        say(line)


def _queued(seen: Look) -> Queued:
    inventory, memory = seen.desired.inventory, seen.memory
    places = forecast(seen.plan, inventory, memory, seen.observed)
    durations = Durations(inventory, memory.stage_times)
    tokens = {one.node: one.until for one in places if one.waits_for is WaitsFor.START_TOKEN}
    running = [
        _running(one.operation, durations, seen.plan.at, tokens.get(one.operation.node))
        for one in memory.nodes.values()
        if one.operation is not None and one.operation.state is OperationState.RUNNING
    ]
    running.sort(key=lambda each: natural(each.node))
    return Queued(
        at=seen.plan.at,
        places=places,
        running=tuple(running),
        limits=tuple(_limits(seen)),
        kept=kept_back(seen.plan),
    )


def _running(
    operation: Operation, durations: Durations, now: datetime, token_at: datetime | None
) -> Running:
    rest = durations.rest(operation, now)
    wait_s = (token_at - now).total_seconds() if token_at is not None else 0.0
    return Running(
        node=operation.node,
        pool=operation.pool,
        verb=operation.verb.value,
        stage=operation.stage.value if operation.stage is not None else "",
        attempt=operation.attempt,
        since=operation.entered_at,
        left_s=int(wait_s + rest.seconds),
        guessed=rest.guessed,
        token_at=token_at,
    )


def _limits(seen: Look) -> Iterator[LimitUse]:
    """The limits that the plan meets, those with slots held, and the lane of the retries."""
    inventory = seen.desired.inventory
    met = {use.scope for use in seen.plan.limits} | {*seen.memory.slots, Lane.RETRY.value}
    reserved = inventory.rules.limits.reserved
    if not reserved.releases:
        met -= {Lane.NOT_RELEASE}
    if not reserved.operators:
        met -= {Lane.NOT_OPERATOR}
    if not (reserved.releases or reserved.operators):
        met -= {Lane.ORDINARY}
    for scope in ("fleet", *sorted(met - {"fleet"})):
        try:
            limit = limit_of(inventory, scope)
        except KeyError:  # slots held in a scope that git does not limit any more
            continue
        yield LimitUse(scope=scope, limit=limit, held=seen.memory.slots.get(scope, 0))


def _only(node: str, queued: Queued, seen: Look) -> Queued:
    if node not in seen.desired.inventory.nodes and node not in seen.memory.nodes:
        raise MetalwrightError(f"neither git nor the store knows a node {node!r}")
    return Queued(
        at=queued.at,
        places=tuple(each for each in queued.places if each.node == node),
        running=tuple(each for each in queued.running if each.node == node),
        limits=queued.limits,
        kept=tuple(replace(each, nodes=(node,)) for each in queued.kept if node in each.nodes),
    )


def _lines(queued: Queued) -> Iterator[str]:
    if not (queued.places or queued.running or queued.kept):
        yield "nothing waits and nothing runs; `mw explain NODE` tells how a node stands"
    if queued.places:
        yield f"{len(queued.places)} waiting"
        rows = [_waiting_row(each, queued.at) for each in queued.places]
        yield from _table((*_WAITING, "at most"), rows)
    if queued.kept:
        yield f"{sum(len(each.nodes) for each in queued.kept)} kept from the queue"
        yield from _table((), [_kept_row(each, queued.at) for each in queued.kept])
    if queued.running:
        yield f"{len(queued.running)} running"
        yield from _table(_RUNNING, [_running_row(each, queued.at) for each in queued.running])
    if any(place.guessed for place in queued.places) or any(
        running.guessed for running in queued.running
    ):
        yield "  ? not every stage was measured yet: a guess"
    yield "slots held"
    yield from _table((), [(use.scope, f"{use.held} of {use.limit}") for use in queued.limits])


def _waiting_row(place: Place, now: datetime) -> tuple[str, ...]:
    mark = "?" if place.guessed else ""
    raised = place.effective_priority != place.priority
    priority = str(place.priority) + (f" -> {place.effective_priority}" if raised else "")
    return (
        str(place.position or "-"),
        place.node,
        place.pool,
        f"{place.verb or '-'}{' (retry)' if place.retry else ''}",
        priority,
        _span(now - place.since) if place.since is not None and place.since <= now else "-",
        _waits_for(place, now),
        _when(place.starts_at, now, mark),
        _when(place.ends_at, now, mark),
        _when(place.by, now, ""),
    )


def _waits_for(place: Place, now: datetime) -> str:
    until = f" for {_span(place.until - now)}" if place.until is not None else ""
    match place.waits_for:
        case WaitsFor.SLOT:
            held = _names(place.holders)
            return f"a slot of {place.scope}{f', held by {held}' if held else ''}"
        case WaitsFor.START_TOKEN:
            return f"a start token of {place.scope.partition('/')[2]}{until}"
        case WaitsFor.BACK_OFF:
            return f"its back-off{until}{f'; {place.why}' if place.why else ''}"
    return str(place.waits_for)


def _kept_row(kept: Kept, now: datetime) -> tuple[str, ...]:
    """One line for all that are kept back by the same, with what to do about it."""
    names, count = _names(kept.nodes), len(kept.nodes)
    until = f" ({_when(kept.until, now, '')})" if kept.until is not None else ""
    nothing = kept.reason is BlockedReason.ROLLOUT_WAITS
    why = kept.why.replace(" NODE`", f" {names if count == 1 else 'NODE'}`")
    todo = "; nothing to do, it passes by itself" if nothing else ""
    return kept.reason, f"{count} node{'s' if count > 1 else ''}", names, f"{why}{until}{todo}"


def _names(nodes: Sequence[str]) -> str:
    """A range, as long as it is short; else its first names, and how many more there are."""
    folded, more = fold(nodes), len(nodes) - NAMES_SHOWN_MAX
    if more <= 0 or len(folded) <= RANGE_CHARACTERS_MAX:
        return folded
    return f"{fold(nodes[:NAMES_SHOWN_MAX])} and {more} more"


def _running_row(each: Running, now: datetime) -> tuple[str, ...]:
    since = _span(now - each.since) if each.since is not None else "-"
    left = f"{_span(timedelta(seconds=each.left_s))}{'?' if each.guessed else ''}"
    if each.token_at is not None:
        left += f", its start token {_when(each.token_at, now, '')}"
    return each.node, each.pool, each.verb, each.stage, str(each.attempt), since, left


def _when(instant: datetime | None, now: datetime, mark: str) -> str:
    if instant is None:
        return "-"
    return f"in {_span(instant - now)}{mark}" if instant > now else "now"


def _span(span: timedelta) -> str:
    seconds = max(0, int(span.total_seconds()))
    return format_duration(seconds - seconds % 60 if seconds >= COARSE_S else seconds)


def _table(heading: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Columns, one line per row, however long; nothing is cut off."""
    table = [*([heading] if heading else []), *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells).rstrip()}"
