"""`mw plan`: what would be done and why, before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from metalwright.cli.common import (
    ConfigOption,
    Format,
    FormatOption,
    RepoOption,
    console,
    instant_option,
    report,
    say,
    select,
    settings_from,
)
from metalwright.cli.look import Look, from_file, live, recorded, shifted
from metalwright.cli.standing import release_words, releases_of
from metalwright.daemon.fleet import open_fleet
from metalwright.daemon.reconcile import Reconciler
from metalwright.plan import exit_code, render_text, to_json

_KINDS: Final[Mapping[str, Literal["live", "none"]]] = {"live": "live", "none": "none"}
"""What `--observed` may say beside the name of a file."""


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("plan")(plan)


def plan(
    repo: RepoOption = None,
    rev: Annotated[
        str | None,
        typer.Option("--rev", metavar="REV", help="Revision; the branch's newest commit."),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="INSTANT", help="Such as 2026-11-22T02:00:00Z; now."),
    ] = None,
    observed: Annotated[
        str,
        typer.Option("--observed", metavar="live|FILE|none", help="Where observations come from."),
    ] = "live",
    limit: Annotated[
        str | None, typer.Option("--limit", metavar="SELECTOR", help="Plan for these nodes only.")
    ] = None,
    output: FormatOption = Format.TEXT,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Also write the plan as JSON there."),
    ] = None,
    config: ConfigOption = None,
) -> None:
    """Show what would be done, why, and what is left alone. Changes nothing.

    Exit code: 0 nothing to do, 1 error, 2 changes, 3 changes that need an acknowledgement,
    4 drift only.

    Example: mw plan --rev feature-x --limit 'rack=a01'
             mw plan --at 2026-11-22T02:00:00Z --observed none
    """
    settings = settings_from(config, repository=repo)
    now = instant_option(at)
    with open_fleet(settings, drive=False, wake=lambda: None) as fleet:
        if fleet.repository.is_remote:
            fleet.repository.fetch()
        head = fleet.repository.head()
        fleet.hand_over_secrets(head)  # not those of a revision that nobody has accepted
        inventory = fleet.loader.load(fleet.repository.commit(rev).id if rev else head)
        for warning in fleet.loader.last_warnings:
            report(str(warning))
        reconciler = Reconciler(fleet)
        reconciler.inventory = inventory
        desired = reconciler.resolve(now)
        memory = fleet.store.memory()
        names = select(inventory, [limit]) if limit is not None else None
        context = reconciler.context(memory, inventory, preview=inventory.revision.id != head)
        kind: Literal["live", "file", "none"] = _KINDS.get(observed, "file")
        context = replace(context, limit_nodes=names, observed_kind=kind)
        if kind == "live":
            seen = live(fleet, inventory, memory, names)
            seen = shifted(seen, now - fleet.clock() if at is not None else timedelta(0))
        else:
            seen = from_file(Path(observed)) if kind == "file" else recorded(memory, now)
        made = reconciler.plan(desired, seen, memory, context)
        look = Look(desired=desired, observed=seen, memory=memory, plan=made)
        freed = releases_of(look, fleet) if names is None else ()
    if out is not None:
        out.write_text(to_json(made) + "\n", encoding="utf-8")
    if output is Format.JSON:
        say(to_json(made))
    else:
        say(render_text(made, width=console().width, color=console().is_terminal))
        for release in freed:
            say(f"Release of {release_words(release)}")
    raise typer.Exit(exit_code(made))
