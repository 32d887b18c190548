"""What the parts of a fleet are told of the settings."""

from __future__ import annotations

import pytest

from metalwright.daemon.fleet import sweep_settings
from metalwright.settings import ObserveSettings


@pytest.mark.parametrize(("busy_interval_s", "gap_s"), [(0.1, 0.1), (1.0, 1.0), (30.0, 1.0)])
def test_a_busy_node_is_asked_as_often_as_the_settings_say(
    busy_interval_s: float, gap_s: float
) -> None:
    settings = sweep_settings(ObserveSettings(busy_interval_s=busy_interval_s))
    assert settings.busy_interval_s == busy_interval_s
    assert settings.tick_gap_s == gap_s, "nodes that come due are gathered no longer than that"
