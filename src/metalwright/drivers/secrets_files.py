"""Reading a file that holds a secret: only one that nobody else can read, in directories that
nobody else can change.

Made for secrets, and for the keys and tokens that open a provider of them. Nothing is ever written,
and no error carries what a file holds.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from metalwright.drivers.secrets_values import SecretError


def read_private(path: Path, bytes_max: int, root: Path | None = None) -> bytes:
    """The bytes of a private file, one more than `bytes_max` at most.

    Its directories are checked up to `root`; without one, only its own is.

    Raises:
        SecretError: it cannot be read, or others can read or change it.
        FileNotFoundError: there is none.
    """
    for folder in path.parents:
        _check_directory(folder)
        if folder == (root or path.parent):
            break
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SecretError(f"{path} cannot be read: {error.strerror}") from error
    try:
        _check_file(os.fstat(descriptor), path)
        return os.read(descriptor, bytes_max + 1)
    finally:
        os.close(descriptor)


def read_key(path: Path, what: str, bytes_max: int) -> bytes:
    """The bytes of a file that the settings name: a key, or a token. Links to it are followed.

    Raises:
        SecretError: there is none, it is too long, or others can read or change it.
    """
    try:
        raw = read_private(path.resolve(strict=True), bytes_max)
    except FileNotFoundError:
        raise SecretError(f"{what}: there is no file {path}") from None
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or "a circle of links"
        raise SecretError(f"{what}: {path} cannot be read: {reason}") from error
    except SecretError as error:
        raise SecretError(f"{what}: {error}") from error
    if len(raw) > bytes_max:
        raise SecretError(f"{what}: {path} has more than {bytes_max} bytes")
    return raw


def _check_file(found: os.stat_result, path: Path) -> None:
    """Refuse a file that anybody but us and root could have read.

    Kubernetes gives a pod that is not root its secrets as root's files of mode 0440, in the pod's
    own group (`fsGroup`); only that group read is let through.
    """
    if not stat.S_ISREG(found.st_mode):
        raise SecretError(f"{path} is not a file")
    _check_owner(found, path)
    forbidden = 0o077
    if os.geteuid() != 0 and found.st_uid == 0 and found.st_gid in (os.getegid(), *os.getgroups()):
        forbidden = 0o037
    if found.st_mode & forbidden:
        raise SecretError(
            f"{path} has mode {_mode(found)}; others must not read or write it (chmod 0400)"
        )


def _check_directory(path: Path) -> None:
    """Refuse a directory in which somebody else could list or swap our secrets.

    Kubernetes mounts secrets in root's directories of modes 0755 and 1777: of root's, only those
    that others can write without the sticky bit are refused.
    """
    found = path.stat()
    _check_owner(found, path)
    forbidden = 0o066
    if found.st_uid == 0:
        forbidden = 0 if found.st_mode & stat.S_ISVTX else 0o022
    if found.st_mode & forbidden:
        raise SecretError(
            f"the directory {path} has mode {_mode(found)}; others must not read or write it"
            " (chmod 0700)"
        )


def _check_owner(found: os.stat_result, path: Path) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise SecretError(
            f"{path} belongs to user {found.st_uid}; it should be ours ({os.geteuid()}) or root's"
        )


def _mode(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode):04o}"
