"""Taking a fleet over from the process before: its clock, its epoch, and the calls it left behind.

Who drives has the fleet lock, so the process before is over; but only the kernel's lock on one file
says that it is dead. One that lost its connection to PostgreSQL, or whose lock file was replaced,
may still live: it writes nothing more, and a call of its own may still be on its way to a machine.
"""

from __future__ import annotations

import json
from typing import Final

from metalwright.daemon.clock import SteadyClock
from metalwright.daemon.right import CONFIRMED_MAX
from metalwright.store import Store

FACT_LOCK: Final = "lock"
"""The identity of the lock under which the store was driven last."""


def take_over(store: Store, clock: SteadyClock, by: str, lock: str = "") -> bool:
    """Make a store the one that drives, from the last instant that it has, if the wall is before.

    `lock` is the identity of the lock that is held: where the process before held the very same
    one, it is dead. True is the answer then.

    Raises:
        StoreError: it cannot be read or written.
    """
    for line in store.journal(None, 1):
        clock.go_on_from(line.at)
    store.claim(by, clock())
    mine = json.dumps(lock)
    before = store.fact(FACT_LOCK)
    if before is None or before[0] != mine:
        store.put_fact(FACT_LOCK, mine, clock())
    return bool(lock) and before is not None and before[0] == mine


def calls_left_s(effect_timeout_s: float) -> float:
    """For how long a call of a process that may still live can reach a machine, in seconds: one is
    begun on a confirmation of the right to drive, and ends by its time-out.
    """
    return CONFIRMED_MAX.total_seconds() + effect_timeout_s
