"""`mw apply`: run cycles in the foreground until nothing more can be done."""

from __future__ import annotations

from datetime import datetime, timedelta

import typer

from metalwright.cli.common import ERROR, ConfigOption, RepoOption, console, settings_from
from metalwright.cli.progress import Progress
from metalwright.daemon import CycleResult, Service
from metalwright.daemon.fleet import observed_nodes
from metalwright.model.rollout import RolloutState
from metalwright.plan import exit_code
from metalwright.settings import LogSettings, Settings

SETTLED_CYCLES = 2
FIRST_ANSWERS_MAX_S = 60.0


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("apply")(apply)


def apply(repo: RepoOption = None, config: ConfigOption = None) -> None:
    """Carry out the plan in the foreground.

    Ends when the fleet is as git wants, or waits for somebody. Refused while a daemon drives the
    same fleet. Exit code: as of `mw plan` at the end; 0 means that everything is as desired.

    Example: mw apply --repo /srv/inventory.git
    """
    last = run_until_settled(settings_from(config, repository=repo), "metalwright apply")
    raise typer.Exit(exit_code(last.plan) if last is not None and last.plan is not None else ERROR)


def run_until_settled(settings: Settings, title: str) -> CycleResult | None:
    """Run cycles until nothing is under way; the last one, `None` when there was none."""
    quiet = settings.model_copy(update={"log": LogSettings(level="error")})
    with Progress(console(), title) as progress:
        ending = Ending()

        def on_cycle(result: CycleResult) -> None:
            progress.show(result)
            if ending.reached(result):
                service.stop()

        service = Service(quiet, on_cycle=on_cycle)
        service.install_signals()
        service.run()
    return ending.last


class Ending:
    """Tells when nothing more can be done: all asked, nothing to start, nothing under way."""

    def __init__(self) -> None:
        self.last: CycleResult | None = None
        self._settled = 0
        self._began: datetime | None = None

    def reached(self, result: CycleResult) -> bool:
        """Whether this was the last cycle that is worth running."""
        self.last = result
        self._began = self._began or result.at
        if result.plan is None:
            return True
        waited_long = result.at - self._began > timedelta(seconds=FIRST_ANSWERS_MAX_S)
        resting = result.settled and not _soaking(result)
        self._settled = self._settled + 1 if resting else 0
        asked = _all_asked(result, self._began)
        return self._settled >= SETTLED_CYCLES and (asked or waited_long)


def _soaking(result: CycleResult) -> bool:
    """Whether a rollout goes on by itself: its wave is watched, and is about to be seen healthy."""
    if result.plan is None or result.desired is None:
        return False
    for rollout in result.plan.rollouts:
        pool = result.desired.inventory.pools.get(rollout.pool)
        strategy = pool.spec.rollout if pool is not None else None
        since = rollout.soaking_since
        if rollout.state is RolloutState.RUNNING and since is not None and strategy is not None:
            longest_s = strategy.soak + (strategy.confirm or 0) + FIRST_ANSWERS_MAX_S
            if result.at < since + timedelta(seconds=longest_s):
                return True
    return False


def _all_asked(result: CycleResult, since: datetime) -> bool:
    """Whether every node that is to be asked has been, since this instant."""
    if result.desired is None or result.observed is None:
        return False
    seen = result.observed.nodes
    names = (node.metadata.name for node in observed_nodes(result.desired.inventory))
    return all(name in seen and seen[name].at >= since for name in names)
