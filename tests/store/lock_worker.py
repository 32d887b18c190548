"""A process that takes the fleet lock and keeps it until it is killed."""

import sys
import time
from pathlib import Path

from metalwright.store import DatabaseLock, FleetLock

where = sys.argv[1]
with DatabaseLock(where) if "://" in where else FleetLock(Path(where)):
    print("locked", flush=True)
    time.sleep(600)
