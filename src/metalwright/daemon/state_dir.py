"""The state directory, and whether this user may work in it.

One user owns what is there. A single command of root's would leave a lock, a mark or a database
that the daemon cannot open any more, and another user is told by SQLite that a database is
"readonly". Both are said here, before anything is opened, with the name of the user to be.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from metalwright.errors import SettingsError
from metalwright.settings import Settings


def make_state_dir(settings: Settings, *, drive: bool) -> None:
    """Make it, unless it is there; and make sure that what it has may be written.

    Raises:
        SettingsError: it cannot be made, or is another user's.
    """
    directory = settings.state_dir
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
        needed = [directory] if drive or settings.store_url is None else []
        if settings.store_url is None:
            needed += directory.glob("metalwright.sqlite*")
        if drive:
            needed += [*directory.glob("fleet.lock"), *directory.glob("store-*.mark")]
        why = another_users(directory, needed, os.geteuid(), partial(os.access, mode=os.W_OK))
    except OSError as error:
        raise SettingsError(
            f"state_dir {directory} cannot be made: {error.strerror}; name another directory in "
            "the settings, or in METALWRIGHT_STATE_DIR"
        ) from error
    if why:
        raise SettingsError(why)


def another_users(
    directory: Path, needed: Iterable[Path], uid: int, writable: Callable[[Path], bool]
) -> str:
    """Why the user of this id should not work in a state directory; empty when he may. `needed` are
    the paths that he has to write. Raises OSError.
    """
    owner = directory.stat().st_uid
    if uid == 0 and owner != 0:
        return (
            f"state_dir {directory} belongs to {_name(owner)}, who could not open what root writes"
            f" there: run this as that user, `sudo -u {_name(owner)} mw ...`"
        )
    for path in sorted(needed):
        if writable(path):
            continue
        whose = _name(path.stat().st_uid)
        mine = path.stat().st_uid != owner and path != directory
        how = (
            f"give it to {_name(owner)}, whose directory it is in: `chown {_name(owner)} {path}`"
            if mine
            else f"run this as that user, `sudo -u {whose} mw ...`"
        )
        return f"{path} belongs to {whose} and cannot be written by {_name(uid)}: {how}"
    return ""


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"
