"""The fleet lock: one process at a time drives the fleet.

The kernel holds it (`flock`), so it is gone the moment its holder is, `kill -9` included: there is
no time-out to guess and nothing to clean up. It guards one machine; a store that is shared by
several is guarded by `DatabaseLock`.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from socket import gethostname
from types import TracebackType
from typing import Final, Self

from metalwright.errors import LockedError, StoreError

_OPENINGS_MAX: Final = 10

_PROBES_MAX: Final = 5
_PROBE_S: Final = 0.02
"""How often, and after how many seconds, a lock that is taken is tried once more: whoever asks
`holder` has it for some microseconds."""


class FleetLock:
    """The right to drive the fleet, held from `acquire` to `release`, or as a context manager.

    The file stays: removing it would let two processes hold a lock each, on two files of one name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, without waiting for another process that drives.

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
        for left in reversed(range(_PROBES_MAX)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if left:
                    time.sleep(_PROBE_S)
                    continue
                holder = _written(descriptor)
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

    def holder(self) -> int | None:
        """The id of the process that drives the fleet, or `None` when nobody does.

        It is 0 for a process that has not written its id yet. Nothing is created, and nothing kept.

        Raises:
            StoreError: the file is there and cannot be opened.
        """
        if self._descriptor is not None:
            return os.getpid()
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"the lock file {self.path} cannot be opened: {error}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            written = _written(descriptor)
            return int(written) if written.isdecimal() else 0
        else:
            return None
        finally:
            os.close(descriptor)

    @property
    def is_held(self) -> bool:
        """Whether this process took it, and did not give it back."""
        return self._descriptor is not None

    @property
    def identity(self) -> str:
        """Which file on which machine is locked: who locked the same one before is dead, or let
        go. Empty while it is not held.
        """
        if self._descriptor is None:
            return ""
        found = os.fstat(self._descriptor)
        return f"{gethostname()} {found.st_dev}:{found.st_ino}"

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


def _written(descriptor: int) -> str:
    """What the holder wrote: its process id."""
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip()
