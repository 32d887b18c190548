"""The fleet lock: one process at a time drives the fleet.

The kernel holds it (`flock`), so it is gone the moment its holder is, `kill -9` included: there is
no time-out to guess and nothing to clean up. It guards one machine; a store that is shared by
several needs leases.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from metalwright.errors import LockedError, StoreError

_OPENINGS_MAX: Final = 10


class FleetLock:
    """The right to drive the fleet, held from `acquire` to `release`, or as a context manager.

    The file stays: removing it would let two processes hold a lock each, on two files of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock without waiting.

        Raises:
            LockedError: another process holds it; the message has its process id.
            StoreError: the file cannot be opened.
        """
        if self._descriptor is not None:
            raise LockedError(f"this process drives the fleet already ({self.path})")
        for _ in range(_OPENINGS_MAX):
            if self._try():
                return
        raise StoreError(f"the lock file {self.path} is removed again and again")

    def _try(self) -> bool:
        """Whether the lock is held now; false when the file was removed under us."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StoreError(f"the lock file {self.path} cannot be opened: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise LockedError(
                f"process {holder or 'unknown'} drives this fleet (it holds {self.path})"
            ) from error
        if not self._is_current(descriptor):
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return True

    def _is_current(self, descriptor: int) -> bool:
        """Whether the file of this name is still the one that was opened."""
        try:
            return os.path.samestat(self.path.stat(), os.fstat(descriptor))
        except FileNotFoundError:
            return False

    def confirm(self) -> None:
        """Make sure that the lock still keeps others out.

        Raises:
            StoreError: it is not held, or its file was removed, so another process can lock a new
                file of that name and drive the fleet too.
        """
        if self._descriptor is None or not self._is_current(self._descriptor):
            raise StoreError(f"the lock file {self.path} was removed: restart to drive the fleet")

    def release(self) -> None:
        """Give the lock back. Nothing happens where it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
