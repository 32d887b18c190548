"""Which fleet lock goes with which store."""

from __future__ import annotations

from pathlib import Path

from metalwright.store.connect import is_postgresql, translated
from metalwright.store.lock import FleetLock
from metalwright.store.lock_database import DatabaseLock


def fleet_lock(store_url: str, state_dir: Path) -> FleetLock | DatabaseLock:
    """The lock for a store: in PostgreSQL itself, else a file in the state directory.

    Raises:
        StoreError: the address of the store cannot be understood.
    """
    with translated():
        in_database = is_postgresql(store_url)
    return DatabaseLock(store_url) if in_database else FleetLock(state_dir / "fleet.lock")
