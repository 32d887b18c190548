"""The prober of one fleet, and what its verdicts are to people who look from another process.

Validation is the driving daemon's business: it alone makes checks. What they came to lately is kept
beside the sentence of its last cycle, for `mw status` and `mw show`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from datetime import datetime
from typing import Final

from metalwright.drivers.contract import Driver
from metalwright.errors import StoreError
from metalwright.model.checks import NO_RESULT, Verdict
from metalwright.model.report import Report
from metalwright.model.validation import Validation
from metalwright.observe import Checker, Prober
from metalwright.store import Store

TOLD_MAX: Final = 200
"""Machines whose checks are told."""


def prober_of(
    drivers: Mapping[str, Driver],
    store: Store,
    clock: Callable[[], datetime],
    executor: Executor,
    wake: Callable[[], None],
) -> Prober:
    """A prober that asks over the network, reads the reports of the store, and lets those drivers
    answer that stand for machines without a network.
    """
    # Also behind what the daemon puts around a driver, which a check for a protocol looks past.
    checkers: dict[str, Checker] = {
        name: driver  # type: ignore[misc]
        for name, driver in drivers.items()
        if callable(getattr(driver, "check", None))
    }

    def reports(nodes: Iterable[str]) -> Mapping[str, Report]:
        try:
            heard = store.heard(nodes)
        except StoreError:
            return {}  # not passed for now; the next cycle says what is wrong with the store
        return {name: each.report for name, each in heard.items() if each.live}

    return Prober(clock, executor, wake, checkers=checkers, reports=reports)


def words_of(
    validations: Mapping[str, Validation], verdicts: Mapping[str, Mapping[str, Verdict]]
) -> dict[str, str]:
    """What each machine that is validated has not passed yet, by its name."""
    told = {}
    for name, validation in sorted(validations.items())[:TOLD_MAX]:
        known = verdicts.get(name, {})
        said = []
        for check in validation.checks:
            verdict = known.get(check.name)
            if verdict is None:
                said.append(f"{check.name}: {NO_RESULT}")
            elif not verdict.passed:
                said.append(f"{check.name}: {verdict.message}")
        told[name] = "; ".join(said)
    return told
