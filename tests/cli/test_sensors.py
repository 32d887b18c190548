"""`mw show --sensors` lists what a driver reads, and says why where there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from metalwright.cli.sensors import sensor_lines
from metalwright.daemon.fleet import Fleet
from metalwright.drivers.ipmi_answers import Sensor
from metalwright.errors import TemporaryError
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import NodeSpec
from metalwright.model.observed import Health

NODE = Node(metadata=Metadata(name="n"), spec=NodeSpec(driver="ipmi"))


class Reader:
    def __init__(self, *sensors: Sensor) -> None:
        self.found: Sequence[Sensor] | Exception = sensors

    def sensors(self, node: Node, timeout_s: float) -> Sequence[Sensor]:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Drivers:
    """The part of a fleet that is asked."""

    def __init__(self, driver: object) -> None:
        self.drivers = {"ipmi": driver}


def lines(driver: object, node: Node | None = NODE) -> list[str]:
    return list(sensor_lines(cast(Fleet, cast(Any, Drivers(driver))), node))


def test_each_sensor_is_a_line() -> None:
    hot = Sensor(
        name="CPU", kind="Temperature", value=91.5, units="°C", health=Health.WARNING, states=()
    )
    fan = Sensor(
        name="Fan 1", kind="Fan", value=None, units="", health=Health.CRITICAL, states=("failed",)
    )
    assert lines(Reader(hot, fan)) == [
        "sensors   2",
        "          CPU (Temperature): 91.5 °C [Warning]",
        "          Fan 1 (Fan): failed [Critical]",
    ]


def test_why_there_are_none_is_told() -> None:
    broken = Reader()
    broken.found = TemporaryError("BMC x: it did not answer")
    assert lines(broken) == ["sensors   BMC x: it did not answer"]
    assert lines(object()) == lines(Reader(), None) == ["sensors   its driver reads none"]
