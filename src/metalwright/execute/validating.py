"""When a machine has passed its checks, and what to say of those that it has not. Pure.

Verdicts are observations: one that is older than the stage says nothing about this boot, and no
verdict is no pass. Nothing here asks anybody.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from metalwright.execute.situation import Situation, Wait, fails_at, timed_out
from metalwright.execute.stages import booted, installed, is_done
from metalwright.model.checks import NO_RESULT, Verdict
from metalwright.model.observed import Power, Reading
from metalwright.model.operation import Operation, Stage

SHOWN_MAX: Final = 5
"""Checks whose words an error has; the rest is counted."""


def is_over(operation: Operation, reading: Reading, situation: Situation) -> bool:
    """Whether the present stage is seen to be done: by the reading, and where there are checks, by
    each of them.
    """
    if operation.stage is not Stage.VALIDATING:
        return is_done(operation, reading)
    return _runs(operation, reading) and not any(_missing(operation, situation))


def validating(operation: Operation, _reading: Reading, situation: Situation) -> Wait:
    """The next step of a machine that has not passed all of its checks: they are made again."""
    why = _unpassed(operation, situation) or "is to be seen running"
    return Wait(why=why, until=fails_at(operation, situation))


def too_late(operation: Operation, reading: Reading | None, situation: Situation) -> str:
    """The error of a stage that was not done by its deadline."""
    said = _unpassed(operation, situation) if operation.stage is Stage.VALIDATING else ""
    if said and reading is not None and _runs(operation, reading):
        return f"{operation.stage}: {said}"
    late = timed_out(operation, reading, situation)
    return f"{late}; {said}" if said else late


def _runs(operation: Operation, reading: Reading) -> bool:
    """Whether the machine is up as it was at the end of the stage before."""
    runs = installed if Stage.INSTALLING in operation.stages else booted
    return reading.power is Power.ON and runs(operation, reading)


def _unpassed(operation: Operation, situation: Situation) -> str:
    """The checks that have not passed, each with its reason, in the order of the declaration."""
    said = list(_missing(operation, situation))
    more = f"; {len(said) - SHOWN_MAX} more" if len(said) > SHOWN_MAX else ""
    return "; ".join(said[:SHOWN_MAX]) + more


def _missing(operation: Operation, situation: Situation) -> Iterator[str]:
    for check in situation.checks:
        verdict = situation.verdicts.get(check.name)
        if verdict is None or not _counts(verdict, operation):
            yield f"{check.name}: {NO_RESULT}"
        elif not verdict.passed:
            yield f"{check.name}: {verdict.message}"


def _counts(verdict: Verdict, operation: Operation) -> bool:
    """Whether it was made since the stage was entered."""
    return operation.entered_at is not None and verdict.at >= operation.entered_at
