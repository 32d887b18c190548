"""What drivers have to tell an operator, and the operator's answer that something was mended.

A driver that has nothing of the kind is left alone. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol, TypeGuard

from metalwright.model.observed import ErrorKind
from metalwright.observe import Sweeper

ALERTS_MAX: Final = 20
"""That are told at once."""


class Alerting(Protocol):
    """A driver that stops by itself where going on would do harm."""

    def alerts(self) -> tuple[str, ...]:
        """Where it has stopped, or will, and why; without any secret."""

    def rearm(self) -> None:
        """Go on: what was wrong was mended."""


def is_alerting(driver: object) -> TypeGuard[Alerting]:
    """Whether it has something of the kind, itself or what it stands for."""
    return all(callable(getattr(driver, name, None)) for name in ("alerts", "rearm"))


def alerts_of(drivers: Iterable[object]) -> tuple[str, ...]:
    """Every driver's alerts, in order, so many at most."""
    told = [alert for each in drivers if is_alerting(each) for alert in each.alerts()]
    more = len(told) - ALERTS_MAX
    return (*told[:ALERTS_MAX], f"and {more} more alerts") if more > 0 else tuple(told)


def rearm(drivers: Iterable[object], sweeper: Sweeper) -> None:
    """Let every driver go on, and have the nodes asked at once whose credentials were refused."""
    for each in drivers:
        if is_alerting(each):
            each.rearm()
    for name, observation in sweeper.snapshot().nodes.items():
        if observation.error is not None and observation.error.kind is ErrorKind.CREDENTIALS:
            sweeper.forget(name)
