"""Secrets on this machine: in a directory, as a mounted Kubernetes secret looks, or in an
environment.

`<directory>/bmc/rack-a/username` and `.../password`, or the variables
`METALWRIGHT_SECRET_BMC_RACK_A_USERNAME` and `..._PASSWORD`; one value is `<directory>/os/token`
(a file, or a directory with a file `value`), or `METALWRIGHT_SECRET_OS_TOKEN_VALUE`. They are read
anew every time, so a rotation needs no restart. Nothing is kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from metalwright.drivers.secrets_files import read_private
from metalwright.drivers.secrets_values import TEXT_BYTES_MAX, VALUE, SecretError, checked

ENVIRONMENT_PREFIX = "METALWRIGHT_SECRET_"
ROTATION_TRIES_MAX = 3


class DirectorySecrets:
    """The provider `directory`."""

    name = "directory"

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, ref: str, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """Both files of one generation, or the one value; see `Provider.find`."""
        found = self._directory / ref
        root = self._directory.resolve()
        if parts == VALUE and found.is_file():
            paths = {VALUE[0]: found}
        elif found.is_dir():
            paths = {part: found / part for part in parts}
        else:
            return None
        for _ in range(ROTATION_TRIES_MAX):
            real = [_resolve(root, path) for path in paths.values()]
            try:
                read = [read_private(each, TEXT_BYTES_MAX, root) for each in real]
            except FileNotFoundError:
                continue  # Kubernetes swapped the ..data link while we read
            # all of one generation: ..data still leads to where it led
            if real == [_resolve(root, path) for path in paths.values()]:
                return tuple(
                    checked(raw, part, str(each))
                    for raw, part, each in zip(read, paths, real, strict=True)
                )
        raise SecretError(f"{root / ref} changes faster than it can be read")

    peek = find

    def place(self, ref: str, parts: tuple[str, ...]) -> str:
        """The directory, or the file."""
        kind = "file" if parts == VALUE else "directory"
        return f"the {kind} {self._directory / ref}"


class EnvironmentSecrets:
    """The provider `environment`."""

    name = "environment"

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def find(self, ref: str, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """The variables' values; see `Provider.find`."""
        names = [_variable(ref, part) for part in parts]
        missing = [name for name in names if name not in self._environment]
        if len(missing) == len(names):
            return None
        if missing:
            raise SecretError(f"the variable {missing[0]} is not set")
        return tuple(
            checked(
                self._environment[name].encode(errors="surrogateescape"), part, f"variable {name}"
            )
            for name, part in zip(names, parts, strict=True)
        )

    peek = find

    def place(self, ref: str, parts: tuple[str, ...]) -> str:
        """The variables."""
        names = " and ".join(_variable(ref, part) for part in parts)
        return f"the variable{'s' if len(parts) > 1 else ''} {names}"


def _variable(ref: str, part: str) -> str:
    return f"{ENVIRONMENT_PREFIX}{re.sub(r'[^A-Z0-9]', '_', ref.upper())}_{part.upper()}"


def _resolve(root: Path, path: Path) -> Path:
    """The real file. Links are followed (Kubernetes makes some), but not out of `root`."""
    try:
        real = path.resolve(strict=True)
    except FileNotFoundError:
        raise SecretError(f"there is no file {path}") from None
    except (OSError, RuntimeError) as error:
        raise SecretError(f"{path} cannot be read: {error}") from error
    if not real.is_relative_to(root):
        raise SecretError(f"{path} leads out of {root}")
    return real
