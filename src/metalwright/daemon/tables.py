"""The settings of each driver, with what only the installation knows."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metalwright.settings import Settings


def driver_tables(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    """The settings of each driver by its name, with what only the installation knows."""
    tables: dict[str, Mapping[str, Any]] = settings.drivers.model_dump()
    fake = {**tables["fake"], "state": fake_state(settings), "wait": time.sleep}
    return {**tables, "fake": fake}


def fake_state(settings: Settings) -> Path:
    """Where the simulated fleet lives."""
    return settings.state_dir / "fake-fleet.sqlite"
