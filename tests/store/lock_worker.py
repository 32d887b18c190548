"""A process that takes the fleet lock and keeps it until it is killed."""

import sys
import time
from pathlib import Path

from metalwright.store import FleetLock

with FleetLock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
