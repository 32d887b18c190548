"""The live view of a fleet that converges: bars, limits, what is in flight, what happened last.

In a terminal it redraws in place; elsewhere (a log, CI) it prints the cycle's sentence and its
events as plain lines.
"""

from __future__ import annotations

from collections import Counter, deque
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from metalwright.daemon.reconcile import CycleResult
from metalwright.model.fields import format_duration
from metalwright.model.plan import InProgress, Plan

EVENTS_SHOWN = 8
ROWS_SHOWN = 12
BAR_WIDTH = 44


class Progress:
    """Draws each cycle's result; use as a context manager."""

    def __init__(self, console: Console, title: str) -> None:
        self.console, self.title = console, title
        self.events: deque[str] = deque(maxlen=EVENTS_SHOWN)
        self.said = ""
        self.live = (
            Live(console=console, refresh_per_second=8, transient=False)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self.live is not None:
            self.live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def show(self, result: CycleResult) -> None:
        """Draw one cycle."""
        events = result.report.events if result.report is not None else ()
        self.events.extend(events)
        if self.live is not None:
            self.live.update(self.view(result))
            return
        for event in events:
            self.console.print(f"  {event}", markup=False, highlight=False, soft_wrap=True)
        if result.sentence != self.said:
            self.said = result.sentence
            self.console.print(result.sentence, markup=False, highlight=False, soft_wrap=True)

    def view(self, result: CycleResult) -> Group:
        """The picture of one cycle."""
        plan = result.plan
        if plan is None:
            return Group(Text(self.title, style="bold"), Text(result.sentence, style="red"))
        parts: list[Text | Table | ProgressBar] = [
            Text(self.title, style="bold"),
            Text(f"revision {plan.revision.id[:12]}  {plan.revision.subject}", style="cyan"),
            Text(""),
            _bars(plan),
            Text(""),
        ]
        if plan.in_progress:
            parts += [_in_flight(plan), Text("")]
        parts += [
            Text(f"  {event}", style="dim", overflow="ellipsis", no_wrap=True)
            for event in self.events
        ]
        if result.trouble:
            parts.append(Text(result.trouble.splitlines()[0], style="red"))
        return Group(*parts)


def _bars(plan: Plan) -> Table:
    totals = plan.totals
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "as desired",
        ProgressBar(
            total=max(1, totals.nodes),
            completed=totals.as_desired,
            width=BAR_WIDTH,
            complete_style="green",
            finished_style="green",
        ),
        f"{totals.as_desired}/{totals.nodes}",
    )
    for use in plan.limits:
        table.add_row(
            f"slots {use.scope}",
            ProgressBar(
                total=use.limit,
                completed=use.held,
                width=BAR_WIDTH,
                complete_style="yellow",
                finished_style="yellow",
            ),
            f"{use.held}/{use.limit}",
        )
    if totals.blocked:
        reasons = ", ".join(f"{count} {name}" for name, count in totals.by_blocked.items())
        table.add_row("left alone", reasons, str(totals.blocked))
    return table


def _in_flight(plan: Plan) -> Table:
    running = [each for each in plan.in_progress if each.stage is not None]
    queued = len(plan.in_progress) - len(running)
    stages = Counter(each.stage.value for each in running if each.stage is not None)
    table = Table(box=None, pad_edge=False, header_style="bold", min_width=72)
    for heading in ("node", "verb", "stage", "for", "attempt", "commit"):
        table.add_column(heading, no_wrap=True)
    for each in running[:ROWS_SHOWN]:
        table.add_row(*_flight_row(each, plan))
    more = len(running) - ROWS_SHOWN
    summary = ", ".join(f"{count} in {stage}" for stage, count in sorted(stages.items()))
    rest = f"{more} more; " if more > 0 else ""
    table.caption = f"{rest}{summary or 'none running'}; {queued} queued"
    table.caption_justify = "left"
    return table


def _flight_row(each: InProgress, plan: Plan) -> tuple[str, ...]:
    age_s = max(0, int((plan.at - each.since).total_seconds()))
    stage = each.stage.value if each.stage is not None else "queued"
    commit = f"{each.commit.id[:7]} {each.commit.subject}"[:40]
    return each.node, each.verb.value, stage, format_duration(age_s), str(each.attempt), commit
