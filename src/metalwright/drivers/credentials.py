"""Secrets: from a reference in git, such as `bmc/rack-a`, to a user name and a password.

A secret is two small files, `<directory>/bmc/rack-a/username` and `.../password`, as a mounted
Kubernetes secret looks; or, where the directory has none, two variables,
`METALWRIGHT_SECRET_BMC_RACK_A_USERNAME` and `..._PASSWORD`. It is read anew every time, so a
rotation needs no restart. No value is ever logged, kept, or named in an error.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from metalwright.errors import SettingsError
from metalwright.model.fields import CREDENTIALS_PATTERN

ENVIRONMENT_PREFIX = "METALWRIGHT_SECRET_"
VALUE_BYTES_MAX = 4_096
ROTATION_TRIES_MAX = 3

_PARTS = ("username", "password")
_DIGEST_KEY = secrets.token_bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """A user name and a password, hidden from every rendering.

    `version` changes when either does and tells nothing about them: it is keyed with a random
    number of this process, so it means nothing outside it.
    """

    username: str = field(repr=False)
    password: str = field(repr=False)
    version: str

    def __str__(self) -> str:
        return repr(self)


class Secrets:
    """Looks references up, in a directory first, then in an environment."""

    def __init__(self, directory: Path | None, environment: Mapping[str, str]) -> None:
        self._directory = directory
        self._environment = environment

    def __repr__(self) -> str:
        return f"Secrets({str(self._directory)!r})"

    def get(self, ref: str) -> Credentials:
        """The credentials that `ref` names.

        Raises:
            SettingsError: no such secret, half of one, or one that others can read or change.
        """
        if not re.fullmatch(CREDENTIALS_PATTERN, ref):
            raise SettingsError(f"{ref!r} is not a credentials reference such as bmc/rack-a")
        values = self._from_directory(ref) or self._from_environment(ref)
        if values is None:
            places = [f"the variables {' and '.join(_variables(ref))}"]
            if self._directory is not None:
                places.insert(0, f"the directory {self._directory / ref}")
            raise SettingsError(f"credentials {ref}: there is neither {' nor '.join(places)}")
        username, password = values
        told = f"{len(username)} {username}{password}".encode()
        version = hmac.new(_DIGEST_KEY, told, hashlib.sha256).hexdigest()[:16]
        return Credentials(username=username, password=password, version=version)

    def _from_environment(self, ref: str) -> tuple[str, str] | None:
        names = _variables(ref)
        present = [name for name in names if name in self._environment]
        if not present:
            return None
        if len(present) < len(names):
            missing = next(name for name in names if name not in self._environment)
            raise SettingsError(f"credentials {ref}: the variable {missing} is not set")
        username, password = (
            _value(
                self._environment[name].encode(errors="surrogateescape"), ref, f"variable {name}"
            )
            for name in names
        )
        return username, password

    def _from_directory(self, ref: str) -> tuple[str, str] | None:
        if self._directory is None or not (self._directory / ref).is_dir():
            return None
        root = self._directory.resolve()
        for _ in range(ROTATION_TRIES_MAX):
            username, password = (_resolve(root, ref, part) for part in _PARTS)
            try:
                values = _read(root, username, ref), _read(root, password, ref)
            except FileNotFoundError:
                continue  # Kubernetes swapped the ..data link while we read
            # both of one generation: ..data still leads to where it led
            if (username, password) == tuple(_resolve(root, ref, part) for part in _PARTS):
                return values
        raise SettingsError(f"credentials {ref}: {root / ref} changes faster than it can be read")


def _variables(ref: str) -> tuple[str, str]:
    name = ENVIRONMENT_PREFIX + re.sub(r"[^A-Z0-9]", "_", ref.upper())
    return f"{name}_USERNAME", f"{name}_PASSWORD"


def _resolve(root: Path, ref: str, part: str) -> Path:
    """The real file of one part. Links are followed (Kubernetes makes some), but not out of
    `root`.
    """
    path = root / ref / part
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        raise SettingsError(f"credentials {ref}: there is no file {path}") from None
    except (OSError, RuntimeError) as error:
        raise SettingsError(f"credentials {ref}: {path} cannot be read: {error}") from error
    if not real.is_relative_to(root):
        raise SettingsError(f"credentials {ref}: {path} leads out of {root}")
    return real


def _read(root: Path, path: Path, ref: str) -> str:
    """The value in `path`, a file that nobody else can read in directories nobody else can
    change.
    """
    for folder in path.parents:
        _check_directory(folder, ref)
        if folder == root:
            break
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SettingsError(
            f"credentials {ref}: {path} cannot be read: {error.strerror}"
        ) from error
    try:
        _check_file(os.fstat(descriptor), path, ref)
        raw = os.read(descriptor, VALUE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    return _value(raw, ref, str(path))


def _check_file(found: os.stat_result, path: Path, ref: str) -> None:
    """Refuse a file that anybody but us and root could have read.

    Kubernetes gives a pod that is not root its secrets as root's files of mode 0440, in the pod's
    own group (`fsGroup`); only that group read is let through.
    """
    if not stat.S_ISREG(found.st_mode):
        raise SettingsError(f"credentials {ref}: {path} is not a file")
    _check_owner(found, path, ref)
    forbidden = 0o077
    if os.geteuid() != 0 and found.st_uid == 0 and found.st_gid in (os.getegid(), *os.getgroups()):
        forbidden = 0o037
    if found.st_mode & forbidden:
        raise SettingsError(
            f"credentials {ref}: {path} has mode {_mode(found)}; others must not read or write it"
            " (chmod 0400)"
        )


def _check_directory(path: Path, ref: str) -> None:
    """Refuse a directory in which somebody else could list or swap our secrets.

    Kubernetes mounts secrets in root's directories of modes 0755 and 1777: of root's, only those
    that others can write without the sticky bit are refused.
    """
    found = path.stat()
    _check_owner(found, path, ref)
    forbidden = 0o066
    if found.st_uid == 0:
        forbidden = 0 if found.st_mode & stat.S_ISVTX else 0o022
    if found.st_mode & forbidden:
        raise SettingsError(
            f"credentials {ref}: the directory {path} has mode {_mode(found)}; others must not"
            " read or write it (chmod 0700)"
        )


def _check_owner(found: os.stat_result, path: Path, ref: str) -> None:
    if found.st_uid not in (0, os.geteuid()):
        raise SettingsError(
            f"credentials {ref}: {path} belongs to user {found.st_uid}; it should be ours"
            f" ({os.geteuid()}) or root's"
        )


def _mode(found: os.stat_result) -> str:
    return f"{stat.S_IMODE(found.st_mode):04o}"


def _value(raw: bytes, ref: str, place: str) -> str:
    """One line of text without its end, from what stood in `place`."""
    if len(raw) > VALUE_BYTES_MAX:
        raise SettingsError(f"credentials {ref}: {place} has more than {VALUE_BYTES_MAX} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        # no cause: it would carry the bytes
        raise SettingsError(f"credentials {ref}: {place} is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or any(character < " " for character in text):
        raise SettingsError(f"credentials {ref}: {place} should be one line of text")
    return text
