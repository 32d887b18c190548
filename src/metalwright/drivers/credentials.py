"""Secrets: from a reference in git, such as `bmc/rack-a`, to a user name and a password, or to one
value.

Providers are asked in the order of the settings, and the first that has the secret decides; a
reference such as `vault:bmc/rack-a` names its only one. A secret is looked up anew every time, so a
rotation needs no restart. No value is ever logged, stored, or named in an error.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from metalwright.drivers.secrets_local import (
    ENVIRONMENT_PREFIX,
    DirectorySecrets,
    EnvironmentSecrets,
)
from metalwright.drivers.secrets_values import (
    LOGIN,
    VALUE,
    VALUE_BYTES_MAX,
    Provider,
    SecretError,
    SecretsDownError,
)
from metalwright.errors import NotBegunError, PermanentError, SettingsError
from metalwright.model.fields import CREDENTIALS_PATTERN

__all__ = [
    "ENVIRONMENT_PREFIX",
    "VALUE_BYTES_MAX",
    "Credentials",
    "SecretValue",
    "Secrets",
    "SecretsDownError",
    "look_up",
]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretValue:
    """One value, hidden from every rendering; `version` as that of `Credentials`."""

    value: str = field(repr=False)
    version: str

    def __str__(self) -> str:
        return repr(self)


class Secrets:
    """Looks references up: in a directory first, then in an environment, unless other providers
    are given. Safe to call from many threads.
    """

    def __init__(
        self,
        directory: Path | None,
        environment: Mapping[str, str],
        providers: Sequence[Provider] | None = None,
    ) -> None:
        if providers is None:
            local: list[Provider] = [EnvironmentSecrets(environment)]
            if directory is not None:
                local.insert(0, DirectorySecrets(directory))
            providers = local
        self._providers = tuple(providers)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(each.name for each in self._providers)})"

    def get(self, ref: str) -> Credentials:
        """The credentials that `ref` names.

        Raises:
            SettingsError: no such secret, half of one, or one that others can read or change.
            SecretsDownError: a provider cannot be asked now (a `SettingsError` as well).
        """
        username, password = self._find(ref, LOGIN, lambda each: each.find)
        return Credentials(
            username=username, password=password, version=_version(username, password)
        )

    def value(self, ref: str) -> SecretValue:
        """The one value that `ref` names. Raises as `get` does."""
        (value,) = self._find(ref, VALUE, lambda each: each.find)
        return SecretValue(value=value, version=_version(value))

    def version(self, ref: str) -> str:
        """The version of the credentials as far as it is known without waiting for a network; empty
        where nothing is known.
        """
        try:
            username, password = self._find(ref, LOGIN, lambda each: each.peek)
        except SettingsError:
            return ""
        return _version(username, password)

    def _find(
        self,
        ref: str,
        parts: tuple[str, ...],
        way: Callable[[Provider], Callable[[str, tuple[str, ...]], tuple[str, ...] | None]],
    ) -> tuple[str, ...]:
        if not re.fullmatch(CREDENTIALS_PATTERN, ref):
            raise SettingsError(f"{ref!r} is not a credentials reference such as bmc/rack-a")
        named, _, path = ref.rpartition(":")
        asked = [each for each in self._providers if named in ("", each.name)]
        if not asked:
            raise SettingsError(
                f"credentials {ref}: the provider {named!r} is not among secrets.providers"
            )
        for provider in asked:
            try:
                found = way(provider)(path, parts)
            except SecretError as error:
                raise SecretError(f"credentials {ref} ({provider.name}): {error}") from error
            except SecretsDownError as error:
                raise SecretsDownError(f"credentials {ref} ({provider.name}): {error}") from error
            if found is not None:
                return found
        places = " nor ".join(each.place(path, parts) for each in asked)
        raise SettingsError(f"credentials {ref}: there is neither {places}")


class _Source(Protocol):
    def get(self, ref: str) -> Credentials:
        """The credentials of now. Raises SettingsError."""


def look_up(source: _Source, ref: str) -> Credentials:
    """The credentials that `ref` names, for a driver that has not sent anything yet.

    Raises:
        NotBegunError: a provider cannot be asked now.
        PermanentError: there is no usable secret of that name.
    """
    try:
        return source.get(ref)
    except SecretsDownError as error:
        raise NotBegunError(str(error)) from error
    except SettingsError as error:
        raise PermanentError(str(error)) from error


def _version(*values: str) -> str:
    told = " ".join([*(str(len(each)) for each in values), *values]).encode(errors="replace")
    return hmac.new(_DIGEST_KEY, told, hashlib.sha256).hexdigest()[:16]
