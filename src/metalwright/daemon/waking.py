"""Drivers that wake machines and can tell nothing of them, beside a service that hears of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from metalwright.drivers.contract import Driver
from metalwright.model.documents import Node
from metalwright.model.observed import Reading
from metalwright.model.operation import Effect, EffectKind
from metalwright.model.waking import WAKING


class WakingDriver:
    """Says of each reading that the machine may be woken: that it is on, it will report itself."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    @property
    def capabilities(self) -> frozenset[EffectKind]:
        """The driver's."""
        return self._driver.capabilities

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What the driver reads. Raises DriverError."""
        return replace(self._driver.observe(node, timeout_s), wakes=True)

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Begin an effect. Raises DriverError."""
        self._driver.apply(node, effect, timeout_s)

    def close(self) -> None:
        """End the driver."""
        self._driver.close()


def waking(drivers: Mapping[str, Driver]) -> dict[str, Driver]:
    """The drivers, those that only wake machines as ones that say so."""
    return {
        name: WakingDriver(driver) if name in WAKING else driver for name, driver in drivers.items()
    }
