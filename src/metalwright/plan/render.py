"""A plan as text for people: the verdict, the danger first, each kind of change said once.

The text has no time in it but the plan's own instant, so the same plan is the same text. It is
plain ASCII; colour is added only when asked for, by the table below.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from metalwright.model.fields import format_instant
from metalwright.model.inventory import Commit
from metalwright.model.noderange import fold
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
from metalwright.plan.verdict import verdict

WIDTH_MIN = 40
RANGE_LINES_MAX = 8
"""Lines of node names of one group; the JSON has all."""

COMMAND_RANGE_MAX = 60
"""Characters of a node range that is put into a command; a longer one stays `NODE`."""

_ANSI: Final = {
    "danger": "\x1b[1;31m",
    "disruptive": "\x1b[33m",
    "gentle": "\x1b[32m",
    "head": "\x1b[1m",
    "quiet": "\x1b[2m",
}
_ANSI_END: Final = "\x1b[0m"
_OBSERVED: Final = {
    "live": "hardware asked",
    "file": "observations from a file",
    "none": "hardware not asked",
}


def render_text(plan: Plan, *, width: int = 100, color: bool = False, detail: bool = False) -> str:
    """The plan as text, lines of at most `width` characters where words allow it.

    `detail` shows every node by itself with its stages, instead of equal ones as one.
    """
    page = _Page(max(width, WIDTH_MIN), color)
    _verdict(page, plan)
    for group in _titled(page, "Changes", action_groups(plan.actions, apart=detail)):
        _action(page, group, detail=detail)
    for progress in _titled(page, "In progress", progress_groups(plan.in_progress, apart=detail)):
        _progress(page, progress)
    _left_alone(page, plan, detail=detail)
    _limits(page, plan.limits)
    _next(page, plan)
    return page.text()


class _Page:
    """Lines of text, wrapped and styled."""

    def __init__(self, width: int, color: bool) -> None:
        self.width, self.color, self._lines = width, color, list[str]()

    def line(self, text: str, *, style: str = "", indent: int = 0, glue: str = " ") -> None:
        """Add a text, broken after `glue` where it is too long, its other lines indented more."""
        for line in _wrapped(_printable(text), self.width, indent, glue):
            styled = self.color and style
            self._lines.append(f"{_ANSI[style]}{line}{_ANSI_END}" if styled else line)

    def gap(self) -> None:
        """Add an empty line."""
        self._lines.append("")

    def text(self) -> str:
        """All of it, without a line feed at the end."""
        return "\n".join(self._lines)


def _printable(text: str) -> str:
    """Without control characters: a commit's subject or a BMC's answer drives no terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _wrapped(text: str, width: int, indent: int, glue: str) -> list[str]:
    lines, line = [], " " * indent
    empty = True
    for word in _words(text, glue):
        if not empty and len(line) + len(word.rstrip()) > width:
            lines.append(line.rstrip())
            line, empty = " " * (indent + 2), True
        line, empty = line + word, False
    return [*lines, line.rstrip()]


def _words(text: str, glue: str) -> list[str]:
    """The words, each with the glue behind it."""
    words = text.split(glue)
    return [word + glue for word in words[:-1]] + words[-1:]


def _titled(page: _Page, title: str, groups: list[Group[Line]]) -> Iterable[Group[Line]]:
    if groups:
        page.gap()
        page.line(title, style="head")
    return groups


def _verdict(page: _Page, plan: Plan) -> None:
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
    parts_ = [f"at {format_instant(plan.at)}", _OBSERVED[plan.observed]]
    parts_ += [f"{count} {what}" for count, what in beside if count]
    if plan.change_digest:
        parts_.append(f"changes {plan.change_digest[:ACKNOWLEDGED_DIGITS]}")
    page.line(", ".join(parts_), style="quiet")
    if plan.abandoned_revision is not None:
        page.line(rewritten(plan.abandoned_revision), style="danger")


def _action(page: _Page, group: Group[Action], *, detail: bool) -> None:
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
    starts = f"{group.starting} start now" if group.starting else "all wait for a slot"
    page.line(f"{holder}, priority {action.priority}, {starts}", indent=6)
    if detail:
        page.line("stages: " + ", ".join(stage.value for stage in action.stages), indent=6)
    _reasons(page, action.reasons)


def _progress(page: _Page, group: Group[InProgress]) -> None:
    line = group.line
    stage = line.stage.value if line.stage is not None else "waits for a slot"
    attempt = f", attempt {line.attempt}" if line.attempt > 1 else ""
    fate = "" if line.fate is Fate.CONTINUE else f", to {line.fate.value}"
    style = "" if line.fate is Fate.CONTINUE else "disruptive"
    text = f"> {line.verb.value}, {stage}{attempt}{fate}: {_nodes(len(group.nodes))}"
    page.line(text, style=style, indent=2)
    _names(page, group.nodes)
    for text in filter(None, (line.why, line.last_error and f"last error: {line.last_error}")):
        page.line(text, indent=6)
    page.line(f'for {_commit(line.commit)} "{line.commit.subject}"', style="quiet", indent=6)


def _left_alone(page: _Page, plan: Plan, *, detail: bool) -> None:
    """By reason; what stops several kinds of change at once is said once, before them."""
    groups = blocked_groups(plan.blocked, apart=detail)
    names: dict[tuple[BlockedReason, str], list[str]] = {}
    for line in plan.blocked:
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


def _blocked_style(line: Blocked) -> str:
    return "disruptive" if line.reason in NEEDS_ACKNOWLEDGEMENT else "head"


def _blocked(page: _Page, group: Group[Blocked]) -> None:
    line = group.line
    if line.verb is not None:
        data = ", would destroy data" if line.destroys_data else ""
        page.line(f"- {line.verb.value}{data}: {_nodes(len(group.nodes))}", indent=4)
    _names(page, group.nodes)
    _reasons(page, line.reasons)


def _reasons(page: _Page, reasons: tuple[Reason, ...]) -> None:
    """Each difference, then the places in git, each once."""
    for reason in reasons:
        page.line(f"{reason.field}: {reason.observed} -> {reason.desired}", indent=6)
    places = [_place(reason) for reason in reasons if reason.source is not None]
    for place in dict.fromkeys(places):
        page.line(place, style="quiet", indent=6)


def _place(reason: Reason) -> str:
    field = f" {reason.source.field}" if reason.source and reason.source.field else ""
    former = f" (before: {reason.former_source})" if reason.former_source is not None else ""
    commit = reason.commit
    by = f', {_commit(commit)} "{commit.subject}"' if commit is not None else ""
    return f"{reason.source}{field}{former}{by}"


def _limits(page: _Page, limits: tuple[LimitUse, ...]) -> None:
    if not limits:
        return
    page.gap()
    uses = [
        f"{use.scope} {use.held}/{use.limit}{' FULL' if use.held >= use.limit else ''}"
        for use in limits
    ]
    page.line(f"Slots held: {', '.join(uses)}", style="quiet")


def _next(page: _Page, plan: Plan) -> None:
    """What can be typed next, of what this plan makes worth typing."""
    hints = []
    if plan.actions and plan.observed == "live":
        hints.append("the daemon carries this out, or `mw apply` here")
    if plan.actions or plan.blocked:
        first = plan.actions[0].node if plan.actions else plan.blocked[0].node
        hints.append(f"`mw explain {first}` tells all about one node")
    if hints:
        page.line(f"Next: {'; '.join(hints)}", style="quiet")


def _names(page: _Page, nodes: tuple[str, ...]) -> None:
    """The names as ranges; a list of very many that do not fold is cut, and says so."""
    text, width = fold(nodes), page.width
    lines = _wrapped(text, width, 6, ",")
    if len(lines) <= RANGE_LINES_MAX:
        page.line(text, indent=6, glue=",")
        return
    for line in lines[:RANGE_LINES_MAX]:
        page.line(line)
    page.line("... all of them with --format json", indent=8)


def _with_nodes(message: str, nodes: Iterable[str]) -> str:
    """The message with its command made one that can be pasted, where that is not too long."""
    names = fold(nodes)
    return message.replace(" NODE`", f" {names}`") if len(names) <= COMMAND_RANGE_MAX else message


def _commit(commit: Commit) -> str:
    return f"{commit.id[:12]} {commit.author.partition(' <')[0]}"


def _nodes(count: int) -> str:
    return f"{count} node" if count == 1 else f"{count} nodes"
