"""Wakes the loop when a reference of a local repository moves.

Only a hint: a wake-up carries no data, the loop polls as well, and missing one costs a pause. It
watches directories, never files, because git replaces a reference by renaming a lock file over it.
It reads no reference and decides nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from watchfiles import watch

from metalwright.errors import RepositoryError
from metalwright.inventory.git_commands import open_repository
from metalwright.inventory.location import parse_location

DEBOUNCE_MS: Final = 200
STEP_MS: Final = 50
LOOK_AGAIN_MS: Final = 2_000
RETURN_POLL_S: Final = 1.0
DIRECTORIES_MAX: Final = 2_000


def watch_repository(location: str, wake: Callable[[], None], stop: threading.Event) -> None:
    """Calls `wake` after each change of a reference, until `stop` is set. Blocks.

    While the repository is not there (moved away, unmounted), it looks for it every second and
    wakes when it is back. `wake` may be called without a change; it should return at once.

    Raises:
        RepositoryError: the location is a URL, or the kernel refuses to watch.
    """
    directory = parse_location(location).directory
    if directory is None:
        raise RepositoryError("only a directory of this machine can be watched; a URL is polled")
    seen = False
    while not stop.is_set():
        places = _places(directory)
        if not places:
            if seen:
                wake()
            seen = False
            stop.wait(RETURN_POLL_S)
            continue
        # What moved between two watches was seen by neither.
        wake()
        seen = True
        _watch(directory, places, wake, stop)


def _watch(
    directory: Path, places: tuple[Path, ...], wake: Callable[[], None], stop: threading.Event
) -> None:
    """Watches these directories until another set of them is the right one."""
    changes = watch(
        *places,
        watch_filter=None,
        debounce=DEBOUNCE_MS,
        step=STEP_MS,
        stop_event=stop,
        rust_timeout=LOOK_AGAIN_MS,
        yield_on_timeout=True,
        raise_interrupt=False,
        recursive=False,
    )
    try:
        for change in changes:
            if any(not path.endswith(".lock") for _kind, path in change):
                wake()
            if _places(directory) != places:
                return
    except FileNotFoundError:
        return  # a directory vanished between the look and the watch
    except OSError as error:
        raise RepositoryError(f"{directory} cannot be watched: {error}") from error


def _places(directory: Path) -> tuple[Path, ...]:
    """The directories in which references of the repository are; none while it is not there."""
    try:
        git_dir, common_dir = open_repository(directory)
    except RepositoryError:
        return ()
    found = {git_dir, common_dir}
    for top in (common_dir / "refs", git_dir / "refs", common_dir / "reftable"):
        for folder, _folders, _files in os.walk(top):
            found.add(Path(folder))
            if len(found) >= DIRECTORIES_MAX:
                return tuple(sorted(found))
    return tuple(sorted(found))
