"""Rollouts, consents and holds of a plan as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from metalwright.model.noderange import fold
from metalwright.model.plan import Plan
from metalwright.model.rollout import Rollout, RolloutState
from metalwright.plan.course import pause_text
from metalwright.plan.page import Page

NAMES_MAX: Final = 300
"""Characters of a node range that is printed here."""


def standings(page: Page, plan: Plan) -> None:
    """How far each rollout is, and what is remembered from this plan on."""
    if plan.rollouts:
        page.gap()
        page.line("Rollouts", style="head")
    for rollout in plan.rollouts:
        _rollout(page, rollout)
    if plan.consents or plan.holds_in_git or plan.unused_acknowledgements:
        page.gap()
    if plan.consents:
        page.line(f"Acknowledged: {_count(len(plan.consents), 'change')}, remembered one by one")
    for digits in plan.unused_acknowledgements:
        page.line(f"Nothing waits now for acknowledge: [{digits}]; take it out of the Policy")
    if plan.holds_in_git:
        page.line(f"Held in git by now, the hold put on here goes: {_names(plan.holds_in_git)}")


def _rollout(page: Page, rollout: Rollout) -> None:
    nodes = sum(len(wave) for wave in rollout.waves)
    kind = "back to " if rollout.reverts else ""
    what = f"{kind}{rollout.template} for {rollout.holder} in pool {rollout.pool}"
    style = "danger" if rollout.state is RolloutState.PAUSED else "disruptive"
    page.line(
        f"{what}: {wave_text(rollout)}, {rollout.state.value}: {_count(nodes, 'node')}",
        style=style,
        indent=2,
    )
    if rollout.state is RolloutState.RUNNING:
        page.line(f"this wave: {_names(rollout.waves[rollout.wave])}", indent=6, glue=",")
    said = pause_text(rollout) if rollout.state is RolloutState.PAUSED else rollout.why
    if said:
        page.line(said, indent=6)
    if rollout.failed:
        page.line(f"failed: {_names(rollout.failed)}", indent=6, glue=",")
    if rollout.forgiven:
        page.line(f"accepted by a commit: {_names(rollout.forgiven)}", indent=6, glue=",")


def wave_text(rollout: Rollout) -> str:
    """Which wave has its turn."""
    return f"wave {rollout.wave + 1} of {len(rollout.waves)}"


def _names(nodes: Sequence[str]) -> str:
    """The names as ranges; how many they are, where they do not fold."""
    text = fold(nodes)
    return text if len(text) <= NAMES_MAX else f"{_count(len(nodes), 'node')} (--format json)"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
