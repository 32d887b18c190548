"""What drivers stop for is told once, shown by `mw status`, and ended by an operator's SIGHUP."""

from __future__ import annotations

from metalwright.cli.standing import driver_line
from metalwright.daemon.alerts import ALERTS_MAX, alerts_of


class Stopped:
    def __init__(self, count: int) -> None:
        self.count = count

    def alerts(self) -> tuple[str, ...]:
        return tuple(f"alert {number}" for number in range(self.count))

    def rearm(self) -> None:
        self.count = 0


def test_drivers_without_alerts_are_left_alone_and_the_others_are_bounded() -> None:
    assert alerts_of([object(), Stopped(1), Stopped(0)]) == ("alert 0",)
    told = alerts_of([Stopped(ALERTS_MAX), Stopped(2)])
    assert len(told) == ALERTS_MAX + 1
    assert told[-1] == "and 2 more alerts"


def test_a_driver_that_stands_for_another_has_its_alerts() -> None:
    class Wrapped:
        def __init__(self, driver: object) -> None:
            self._driver = driver

        def __getattr__(self, name: str) -> object:
            return getattr(self._driver, name)

    assert alerts_of([Wrapped(object()), Wrapped(Stopped(1))]) == ("alert 0",)


def test_the_status_has_a_line_for_each() -> None:
    said = {"sentence": "all as desired", "at": "2026-11-21T08:00:00+00:00", "alerts": ["x", "y"]}
    assert driver_line(7, said).splitlines()[1:] == ["alert     x", "alert     y"]
    assert "alert" not in driver_line(7, {key: said[key] for key in ("sentence", "at")})
    assert "alert" not in driver_line(None, None)
