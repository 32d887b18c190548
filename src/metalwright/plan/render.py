"""A plan as text for people: the verdict, the danger first, each kind of change said once.

The text has no time in it but the plan's own instant, so the same plan is the same text. It is
plain ASCII of our own; colour is added only when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from metalwright.model.fields import format_instant
from metalwright.model.inventory import Commit
from metalwright.model.limits import Lane
from metalwright.model.noderange import fold, folded
from metalwright.model.plan import (
    NEEDS_ACKNOWLEDGEMENT,
    Action,
    Blocked,
    BlockedReason,
    Fate,
    InProgress,
    LimitUse,
    Plan,
    Reason,
)
from metalwright.plan.gates import ACKNOWLEDGED_DIGITS, rewritten
from metalwright.plan.groups import (
    Group,
    Line,
    action_groups,
    blocked_groups,
    progress_groups,
)
from metalwright.plan.page import Page, wrapped
from metalwright.plan.standings import standings
from metalwright.plan.verdict import verdict

RANGE_LINES_MAX = 8
"""Lines of node names of one group; the JSON has all."""

COMMAND_RANGE_MAX = 60
"""Characters of a node range that is put into a command; a longer one stays `NODE`."""

_OBSERVED: Final = {
    "live": "hardware asked",
    "file": "observations from a file",
    "none": "hardware not asked",
}

_LANES: Final = {
    Lane.NOT_RELEASE.value: "all but releases",
    Lane.NOT_OPERATOR.value: "all but operators'",
    Lane.ORDINARY.value: "ordinary",
    Lane.RETRY.value: "retries",
}


def render_text(plan: Plan, *, width: int = 100, color: bool = False, detail: bool = False) -> str:
    """The plan as text, lines of at most `width` characters where words allow it.

    `detail` shows every node by itself with its stages, instead of equal ones as one.
    """
    page = Page(width, color=color)
    _verdict(page, plan)
    for group in _titled(page, "Changes", action_groups(plan.actions, apart=detail)):
        _action(page, group, detail=detail)
    for progress in _titled(page, "In progress", progress_groups(plan.in_progress, apart=detail)):
        _progress(page, progress)
    _left_alone(page, plan, detail=detail)
    standings(page, plan)
    _limits(page, plan.limits)
    _next(page, plan)
    return page.text()


def _titled(page: Page, title: str, groups: list[Group[Line]]) -> Iterable[Group[Line]]:
    if groups:
        page.gap()
        page.line(title, style="head")
    return groups


def _verdict(page: Page, plan: Plan) -> None:
    totals, revision = plan.totals, plan.revision
    counts = []
    if totals.changes:
        parts = [(totals.destroying, "destroy data"), (totals.disruptive, "disruptive")]
        parts.append((totals.starts_now, "start now"))
        inner = ", ".join(f"{count} {what}" for count, what in parts if count)
        counts.append(f"{totals.changes} to change" + (f" ({inner})" if inner else ""))
    if totals.in_progress:
        counts.append(f"{totals.in_progress} in progress")
    if totals.blocked:
        counts.append(f"{totals.blocked} left alone")
    counts.append(f"{totals.as_desired} as desired")
    style = "danger" if totals.destroying else "head"
    page.line(f"{verdict(plan)}: {', '.join(counts)} of {_nodes(totals.nodes)}", style=style)
    page.line(f'revision {_commit(revision)} "{revision.subject}"', style="quiet")
    beside = [(totals.unmanaged, "unmanaged"), (totals.absent, "remembered but not in git")]
    facts = [f"at {format_instant(plan.at.replace(microsecond=0))}", _OBSERVED[plan.observed]]
    facts += [f"{count} {what}" for count, what in beside if count]
    if plan.change_digest:
        facts.append(f"changes {plan.change_digest[:ACKNOWLEDGED_DIGITS]}")
    page.line(", ".join(facts), style="quiet")
    said = BlockedReason.HISTORY_REWRITTEN.value in totals.by_blocked
    if plan.abandoned_revision is not None and not said:
        page.line(rewritten(plan.abandoned_revision), style="danger")


def _action(page: Page, group: Group[Action], *, detail: bool) -> None:
    action = group.line
    mark, style = ("!", "danger") if action.destroys_data else ("~", "disruptive")
    if not action.disruptive:
        mark, style = "+", "gentle"
    data = ", DESTROYS DATA" if action.destroys_data else ""
    page.line(
        f"{mark} {action.verb.value}{data}: {_nodes(len(group.nodes))}", style=style, indent=2
    )
    _names(page, group.nodes)
    holder = f"for {action.holder} ({action.holder.owner}) in pool {action.pool}"
    starts = _starts(group.starting, len(group.nodes))
    page.line(f"{holder}, priority {action.priority}; {starts}", indent=6)
    if detail:
        page.line("stages: " + ", ".join(stage.value for stage in action.stages), indent=6)
    _reasons(page, action.reasons)


def _progress(page: Page, group: Group[InProgress]) -> None:
    line = group.line
    stage = line.stage.value if line.stage is not None else "waits for a slot"
    attempt = f", attempt {line.attempt}" if line.attempt > 1 else ""
    fate = "" if line.fate is Fate.CONTINUE else f", to {line.fate.value}"
    style = "" if line.fate is Fate.CONTINUE else "disruptive"
    data = ", DESTROYS DATA" if line.destroys_data else ""
    text = f"> {line.verb.value}{data}, {stage}{attempt}{fate}: {_nodes(len(group.nodes))}"
    page.line(text, style=style, indent=2)
    _names(page, group.nodes)
    for text in filter(None, (line.why, line.last_error and f"last error: {line.last_error}")):
        page.line(text, indent=6)
    page.line(f'for {_commit(line.commit)} "{line.commit.subject}"', style="quiet", indent=6)


def _left_alone(page: Page, plan: Plan, *, detail: bool) -> None:
    """By reason; what stops several kinds of change at once is said once, before them."""
    blocked = plan.blocked if detail else [_later(line) for line in plan.blocked]
    groups = blocked_groups(blocked, apart=detail)
    names: dict[tuple[BlockedReason, str], list[str]] = {}
    for line in blocked:
        names.setdefault((line.reason, line.message), []).append(line.node)
    reason: BlockedReason | None = None
    message = ""
    for group in _titled(page, "Left alone", groups):
        line = group.line
        if line.reason is not reason:
            reason, message = line.reason, ""
            count = _nodes(plan.totals.by_blocked[reason.value])
            page.line(f"{reason.value}: {count}", style=_blocked_style(line), indent=2)
        if line.message != message:
            message = line.message
            page.line(_with_nodes(message, names[line.reason, message]), indent=4)
        _blocked(page, group)


def _later(line: Blocked) -> Blocked:
    """A line of a later wave without which one it is, so that all of them are said at once."""
    if line.reason is not BlockedReason.ROLLOUT_WAITS or not line.message.startswith("wave "):
        return line
    return replace(line, message=f"in later waves: {line.message.partition(': ')[2]}")


def _blocked_style(line: Blocked) -> str:
    return "disruptive" if line.reason in NEEDS_ACKNOWLEDGEMENT else "head"


def _blocked(page: Page, group: Group[Blocked]) -> None:
    line = group.line
    if line.verb is not None:
        data = ", would destroy data" if line.destroys_data else ""
        page.line(f"- {line.verb.value}{data}: {_nodes(len(group.nodes))}", indent=4)
    _names(page, group.nodes)
    _reasons(page, line.reasons)


def _reasons(page: Page, reasons: tuple[Reason, ...]) -> None:
    """Each difference, then the places in git, then the commits, each once."""
    places: dict[tuple[str, str], dict[str, None]] = {}
    commits: dict[str, None] = {}
    for reason in reasons:
        page.line(f"{reason.field}: {reason.observed} -> {reason.desired}", indent=6)
        if reason.source is not None:
            former = reason.former_source
            place = (str(reason.source), f" (before: {former})" if former is not None else "")
            places.setdefault(place, {})[reason.source.field] = None
        if reason.commit is not None:
            commits[f'{_commit(reason.commit)} "{reason.commit.subject}"'] = None
    for (where, before), fields in places.items():
        said = ", ".join(filter(None, fields))
        page.line(f"{where} {said}".rstrip() + before, style="quiet", indent=6)
    for commit in commits:
        page.line(commit, style="quiet", indent=6)


def _starts(starting: int, count: int) -> str:
    if starting == count:
        return "starts now" if count == 1 else "all start now"
    if starting == 0:
        return "waits for a slot" if count == 1 else "all wait for a slot"
    return f"{starting} start now, {count - starting} wait for a slot"


def _limits(page: Page, limits: tuple[LimitUse, ...]) -> None:
    if not limits:
        return
    page.gap()
    uses = [
        f"{_LANES.get(use.scope, use.scope)} {use.held}/{use.limit}"
        + (" FULL" if use.held >= use.limit else "")
        for use in limits
    ]
    page.line(f"Slots held: {', '.join(uses)}", style="quiet")


def _next(page: Page, plan: Plan) -> None:
    """What can be typed next, of what this plan makes worth typing."""
    hints = []
    if plan.actions and plan.observed == "live":
        hints.append("the daemon carries this out, or `mw apply` here")
    if plan.actions or plan.blocked:
        first = plan.actions[0].node if plan.actions else plan.blocked[0].node
        hints.append(f"`mw explain {first}` tells all about one node")
    if hints:
        page.line(f"Next: {'; '.join(hints)}", style="quiet")


def _names(page: Page, nodes: tuple[str, ...]) -> None:
    """The names as ranges; a list of very many that do not fold is cut, and says so."""
    text, width = fold(nodes), page.width
    lines = wrapped(text, width, 6, ",")
    if len(lines) <= RANGE_LINES_MAX:
        page.line(text, indent=6, glue=",")
        return
    for line in lines[:RANGE_LINES_MAX]:
        page.line(line)
    page.line("... all of them with --format json", indent=8)


def _with_nodes(message: str, nodes: Iterable[str]) -> str:
    """The message with its command made one that can be pasted, where that is not too long."""
    names = " ".join(f"'{each}'" if "[" in each else each for each in folded(nodes))
    return message.replace(" NODE`", f" {names}`") if len(names) <= COMMAND_RANGE_MAX else message


def _commit(commit: Commit) -> str:
    return f"{commit.id[:12]} {commit.author.partition(' <')[0]}"


def _nodes(count: int) -> str:
    return f"{count} node" if count == 1 else f"{count} nodes"
