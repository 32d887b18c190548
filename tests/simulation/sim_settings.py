"""The settings of a simulated installation."""

from __future__ import annotations

from pathlib import Path

from sim_scenario import Scenario

from metalwright.settings import ExecuteSettings, ObserveSettings, Settings


def settings_of(scenario: Scenario, home: Path, store: str) -> Settings:
    """The settings of the installation; without an address its store is on SQLite."""
    return Settings(
        repository=str(home / "inventory.git"),
        state_dir=home,
        store_url=store or f"sqlite:///{home / 'store.sqlite'}",
        observe=ObserveSettings(
            interval_s=scenario.interval_s,
            busy_interval_s=scenario.busy_interval_s,
            backoff_max_s=60.0,
            credentials_retry_s=60.0,
            in_flight_max=max(32, min(512, scenario.nodes)),
        ),
        execute=ExecuteSettings(effects_in_flight_max=scenario.effects_max),
    )
