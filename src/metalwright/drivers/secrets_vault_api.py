"""What is asked of HashiCorp Vault, through hvac: one secret of a key/value store of version 2, and
a login with an AppRole where there is no token.

Nothing is taken from the environment: no proxy, no netrc, no `VAULT_TOKEN`. No error carries a
token, nor what Vault wrote in its own. Used by one thread at a time; it keeps no secret.

https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2 and .../auth/approle
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from metalwright.drivers.secrets_files import read_key
from metalwright.drivers.secrets_values import SecretError, SecretsDownError, checked
from metalwright.errors import SettingsError

TOKEN_BYTES_MAX: Final = 4_096

LOGIN_PAUSE_S: Final = 300.0
"""For how long a login that was refused is not tried again, unless its secret id changes: Vault
locks a role out after five (its "user lockout").
"""

LEASE_SHARE: Final = 0.8
"""How much of a login's lease is used before the next login."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class RefusedError(Exception):
    """Vault does not show the secret to us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultAccess:
    """Where Vault is and how to log in: with `token_file`, or with `role_id` and
    `secret_id_file`. Times are seconds.
    """

    address: str
    mount: str = "secret"
    prefix: str = ""
    token_file: Path | None = None
    role_id: str | None = field(default=None, repr=False)
    secret_id_file: Path | None = None
    approle_mount: str = "approle"
    namespace: str | None = None
    ca_file: Path | None = None
    timeout_s: float = 5.0
    cache_s: float = 30.0
    outage_s: float = 900.0


class VaultApi:
    """One Vault. Every question ends within the time-out of each of its requests, three at most."""

    def __init__(self, access: VaultAccess, monotonic: Callable[[], float]) -> None:
        """Raises SettingsError for a way to log in that is not whole, or for a token that would
        go over the network unencrypted. Nothing is asked yet.
        """
        _check(access)
        self._access, self._monotonic = access, monotonic
        self._client: Any = None
        self._token: tuple[str, float | None] | None = None
        self._login_refused: tuple[float, bytes] | None = None

    def read(self, path: str) -> Mapping[str, str] | None:
        """The texts of the secret at `path`, or `None` where there is none.

        A token that a login gave is replaced, once, when it is refused.

        Raises:
            RefusedError: it is not for us.
            SecretsDownError: Vault cannot be reached, or fails, or refuses the login.
            SecretError: the token, or the secret id, cannot be read.
        """
        hvac = _hvac()
        for logged_in in (False, True):
            try:
                return self._secret(path)
            except hvac.exceptions.InvalidPath:
                return None
            except _refusals():
                if self._token is None or logged_in:
                    break
                self._token = None
        raise RefusedError

    def _secret(self, path: str) -> Mapping[str, str]:
        if self._client is None:
            self._client = self._new_client()
        client = self._client
        client.token = self._valid_token(client)
        answer = self._carried(
            lambda: client.secrets.kv.v2.read_secret_version(
                path=path,
                mount_point=self._access.mount,
                raise_on_deleted_version=True,
            ),
            _hvac().exceptions.InvalidPath,
        )
        found = _at(answer, "data", "data")
        if not isinstance(found, dict):
            raise self._strange()
        return {str(key): each for key, each in found.items() if isinstance(each, str)}

    def _valid_token(self, client: Any) -> str:
        access = self._access
        if access.token_file is not None:
            raw = read_key(access.token_file, "the Vault token", TOKEN_BYTES_MAX)
            return checked(raw, "token", str(access.token_file))
        now = self._monotonic()
        if self._token is None or (self._token[1] is not None and now >= self._token[1]):
            self._token = self._login(client, now)
        return self._token[0]

    def _login(self, client: Any, now: float) -> tuple[str, float | None]:
        """A new token, and until when it is used."""
        access, hvac = self._access, _hvac()
        assert access.secret_id_file is not None
        raw = read_key(access.secret_id_file, "the Vault secret id", TOKEN_BYTES_MAX)
        secret_id, digest = checked(raw, "secret id", str(access.secret_id_file)), _digest(raw)
        refused = SecretsDownError(f"{access.address} refuses the login of the AppRole")
        if self._login_refused is not None:
            at, before = self._login_refused
            if before == digest and now - at < LOGIN_PAUSE_S:
                raise refused
        try:
            answer = self._carried(
                lambda: client.auth.approle.login(
                    role_id=access.role_id,
                    secret_id=secret_id,
                    use_token=False,
                    mount_point=access.approle_mount,
                ),
                hvac.exceptions.InvalidRequest,
            )
        except (hvac.exceptions.InvalidRequest, *_refusals()):
            self._login_refused = (now, digest)
            raise refused from None
        token, lease_s = _at(answer, "auth", "client_token"), _at(answer, "auth", "lease_duration")
        if not isinstance(token, str) or not isinstance(lease_s, int | float):
            raise self._strange()
        self._login_refused = None
        return token, now + LEASE_SHARE * lease_s if lease_s else None

    def _carried(self, call: Callable[[], Any], *expected: type[Exception]) -> Any:
        """The JSON answer of one request. Its errors are told by kind: their texts can carry what
        was sent.
        """
        import requests

        where = self._access.address
        try:
            answer = call()
        except (*_refusals(), *expected):
            raise
        except _hvac().exceptions.VaultError as error:
            raise SecretsDownError(f"{where} fails: {type(error).__name__}") from None
        except requests.exceptions.SSLError:
            raise SecretsDownError(f"{where}: its certificate is not trusted (ca_file)") from None
        except requests.exceptions.Timeout:
            raise SecretsDownError(f"{where} did not answer in time") from None
        except (requests.exceptions.RequestException, OSError) as error:
            raise SecretsDownError(f"{where} was not reached: {type(error).__name__}") from None
        if not isinstance(answer, dict):
            raise self._strange()
        return answer

    def _strange(self) -> SecretsDownError:
        return SecretsDownError(f"{self._access.address} does not answer as Vault does")

    def _new_client(self) -> Any:
        hvac = _hvac()
        import requests

        session = requests.Session()
        session.trust_env = False
        session.verify = str(self._access.ca_file) if self._access.ca_file is not None else True
        return hvac.Client(
            url=self._access.address,
            token="",
            timeout=self._access.timeout_s,
            # followed, the token would go wherever an answer says
            allow_redirects=False,
            session=session,
            namespace=self._access.namespace,
        )


def _at(answer: Any, outer: str, inner: str) -> Any:
    """What stands in a JSON answer, or `None` where it has another form."""
    within = answer.get(outer)
    return within.get(inner) if isinstance(within, dict) else None


def _refusals() -> tuple[type[Exception], ...]:
    exceptions = _hvac().exceptions
    return exceptions.Forbidden, exceptions.Unauthorized


def _digest(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def _hvac() -> Any:
    try:
        import hvac.exceptions
    except ImportError:
        raise SecretError("hvac is missing: pip install 'metalwright[vault]'") from None
    return hvac


def _check(access: VaultAccess) -> None:
    parts = urlsplit(access.address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise SettingsError("secrets.vault.address should be https://HOST:PORT")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise SettingsError("secrets.vault.address should be https: the token would be readable")
    role = (access.role_id, access.secret_id_file)
    if (access.token_file is None) == (None in role) or (
        access.token_file is not None and role != (None, None)
    ):
        raise SettingsError(
            "secrets.vault: either token_file, or role_id and secret_id_file, says how to log in"
        )
