"""What we did, durably: the journal, the slot ledger, the last observations.

It never says what should be (git does) nor what is (the hardware does).
"""

from metalwright.store.lock import FleetLock
from metalwright.store.lock_database import DatabaseLock
from metalwright.store.locks import fleet_lock
from metalwright.store.marks import Marks
from metalwright.store.store import Store

__all__ = ["DatabaseLock", "FleetLock", "Marks", "Store", "fleet_lock"]
