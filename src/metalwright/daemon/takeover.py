"""Taking a fleet over from the process before: its clock, its epoch, and the calls it left behind;
and the store only where it is not an old copy of the one that was driven.

Who drives has the fleet lock, so the process before is over; but only the kernel's lock on one file
says that it is dead. One that lost its connection to PostgreSQL, or whose lock file was replaced,
may still live: it writes nothing more, and a call of its own may still be on its way to a machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from metalwright.daemon.calls import Calls
from metalwright.daemon.clock import SteadyClock
from metalwright.daemon.right import CONFIRMED_MAX
from metalwright.errors import LockedError, StoreError
from metalwright.model.noderange import fold
from metalwright.store import DatabaseLock, FleetLock, Marks, Store

FACT_LOCK: Final = "lock"
"""The identity of the lock under which the store was driven last."""


def take_over(store: Store, clock: SteadyClock, by: str, lock: str = "") -> bool:
    """Make a store the one that drives, from the last instant that it has, if the wall is before.
    What was written by a clock that was further ahead than that is moved back.

    `lock` is the identity of the lock that is held: where the process before held the very same
    one, it is dead. True is the answer then.

    Raises:
        StoreError: it cannot be read or written.
    """
    for line in store.journal(None, 1):
        clock.go_on_from(line.at)
    store.claim(by, clock())
    store.bring_back(clock())
    mine = json.dumps(lock)
    before = store.fact(FACT_LOCK)
    if before is None or before[0] != mine:
        store.put_fact(FACT_LOCK, mine, clock())
    return bool(lock) and before is not None and before[0] == mine


def take_store(store: Store, marks: Marks, clock: SteadyClock) -> str:
    """Take a claimed store as it is, or an old copy as a lost one: then what the operator has to
    know of it, else nothing.

    A crash in the middle of it changes nothing: the mark is moved when the rest is durable.

    Raises:
        StoreError: it cannot be read or written, or nothing can be said of its age.
    """
    older = marks.older(store.reached())
    told = ""
    if older:
        why = f"the store is an older copy: {older}"
        released = store.release_all(why, clock())
        told = (
            f"{why}. What it takes for applied, or for under way, may be over:"
            f" {released.operations} unfinished operations were ended without touching a machine,"
            f" and {released.nodes} nodes are not adopted any more. Look at what runs there, then"
            " `mw adopt NODE` (it is as git wants it) or `mw adopt --rebuild NODE` (it may go)"
        )
        if released.braked:
            told += f"; held or in quarantine in that copy: {fold(released.braked)}"
    marks.keep(store.reached())
    return told


@contextmanager
def locked(
    lock: FleetLock | DatabaseLock, store_url: str, marks: Marks, calls: Calls
) -> Iterator[None]:
    """Hold the fleet lock until the last of the calls is over: who takes a lock file over is told
    that nothing of the process before is under way. Where another process has it, note how far the
    store has come by now: should this one take over later, it knows an old copy too.

    Raises:
        LockedError: another process drives this fleet.
        StoreError: the lock cannot be asked for.
    """
    try:
        lock.acquire()
    except LockedError:
        with suppress(StoreError), Store.open(store_url) as store:
            marks.follow(store.reached())
        raise
    try:
        yield
    finally:
        calls.when_over(lock.release)


def calls_left_s(effect_timeout_s: float) -> float:
    """For how long a call of a process that may still live can reach a machine, in seconds: one is
    begun on a confirmation of the right to drive, and ends by its time-out.
    """
    return CONFIRMED_MAX.total_seconds() + effect_timeout_s
