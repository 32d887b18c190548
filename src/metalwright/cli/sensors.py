"""The sensors of one machine, for `mw show --sensors`: asked for now, of its BMC, because somebody
wants to see them. Nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeGuard

from metalwright.daemon.fleet import Fleet
from metalwright.errors import DriverError
from metalwright.model.documents import Node

SENSORS_TIMEOUT_S = 60.0
"""A BMC with some hundred sensors takes half a minute to list them."""


class Sensor(Protocol):
    """One sensor as a driver reads it."""

    name: str
    kind: str
    value: float | None
    units: str
    health: Any
    states: Sequence[str]


class SensorReader(Protocol):
    """A driver that can list the sensors of a machine."""

    def sensors(self, node: Node, timeout_s: float) -> Sequence[Sensor]:
        """Every sensor. Raises DriverError."""


def _reads(driver: object) -> TypeGuard[SensorReader]:
    """Whether it can, itself or what it stands for."""
    return callable(getattr(driver, "sensors", None))


def sensor_lines(fleet: Fleet, node: Node | None) -> Iterator[str]:
    """A line for each sensor, or one that says why there is none."""
    driver: object = fleet.drivers.get(node.spec.driver) if node is not None else None
    if node is None or not _reads(driver):
        yield "sensors   its driver reads none"
        return
    try:
        found = driver.sensors(node, SENSORS_TIMEOUT_S)
    except DriverError as error:
        yield f"sensors   {error}"
        return
    yield f"sensors   {len(found)}"
    for each in found:
        value = f"{each.value:g} {each.units}".rstrip() if each.value is not None else ""
        words = ", ".join(filter(None, (value, *each.states)))
        yield f"          {each.name} ({each.kind}): {words or '-'} [{each.health}]"
