"""Secrets in HashiCorp Vault (or OpenBao), and for how long its answers count.

Answers are kept for seconds, so that a sweep over thousands of BMCs asks once for each
secret; while Vault cannot be reached, what it said last stays good for a bounded time. What it
refuses is never answered from memory. `secrets_vault_api` does the asking.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from metalwright.drivers.secrets_values import SecretError, SecretsDownError, checked
from metalwright.drivers.secrets_vault_api import RefusedError, VaultAccess, VaultApi
from metalwright.errors import SettingsError

REFERENCES_MAX: Final = 10_000
"""Secrets that are kept at once."""

TROUBLE_KEPT_S: Final = 5.0
"""For how long "it cannot be reached", "it refuses" and "there is none" are not asked again."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What Vault said of one secret, and when (`monotonic`); `parts` is `None` for "none"."""

    at: float
    parts: Mapping[str, str] | None = field(repr=False)
    refusal: str = ""


class VaultSecrets:
    """The provider `vault`. It asks one thing at a time, and waits for nobody for long."""

    name = "vault"

    def __init__(
        self, access: VaultAccess, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Raises SettingsError for a way to log in that is not whole, or for a token that would
        go over the network unencrypted. Nothing is asked yet.
        """
        self._access, self._monotonic = access, monotonic
        self._api = VaultApi(access, monotonic)
        self._asking = threading.Lock()  # one request at a time
        self._lock = threading.Lock()  # guards what follows
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._down: tuple[float, str] | None = None
        self._refreshing: set[str] = set()
        self._refresher: ThreadPoolExecutor | None = None

    def __repr__(self) -> str:
        return f"VaultSecrets({self._access.address!r})"

    def find(self, ref: str, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """What Vault has, or had a short while ago; see `Provider.find`."""
        kept = self._fresh(ref)
        if kept is None:
            # longer than a login and a question take: else somebody hangs before us
            if not self._asking.acquire(timeout=3 * self._access.timeout_s):
                raise SecretsDownError(f"{self._access.address} is too slow")
            try:
                kept = self._fresh(ref) or self._ask(ref)
            finally:
                self._asking.release()
        return _parts(kept, parts)

    def peek(self, ref: str, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """What Vault said last, however long ago; in the background it is asked again when that is
        too old.
        """
        with self._lock:
            kept = self._kept.get(ref)
            due = ref not in self._refreshing and not self._is_fresh(kept)
            if due and len(self._refreshing) < REFERENCES_MAX:
                self._refreshing.add(ref)
                if self._refresher is None:
                    self._refresher = ThreadPoolExecutor(1, thread_name_prefix="vault")
                self._refresher.submit(self._refresh, ref)
        return None if kept is None else _parts(kept, parts)

    def place(self, ref: str, parts: tuple[str, ...]) -> str:
        """The path in Vault."""
        del parts
        return f"{self._access.mount}/{self._path(ref)} in Vault at {self._access.address}"

    def _refresh(self, ref: str) -> None:
        try:
            self.find(ref, ())
        except SettingsError:
            return  # whoever needs the secret is told
        finally:
            with self._lock:
                self._refreshing.discard(ref)

    def _fresh(self, ref: str) -> _Kept | None:
        with self._lock:
            kept = self._kept.get(ref)
            return kept if self._is_fresh(kept) else None

    def _is_fresh(self, kept: _Kept | None) -> bool:
        if kept is None:
            return False
        limit = TROUBLE_KEPT_S if kept.parts is None else self._access.cache_s
        return self._monotonic() - kept.at < min(limit, self._access.cache_s)

    def _ask(self, ref: str) -> _Kept:
        """A new answer, or during an outage the last one."""
        now = self._monotonic()
        with self._lock:
            down, last = self._down, self._kept.get(ref)
        why = down[1] if down is not None and now - down[0] < TROUBLE_KEPT_S else ""
        if not why:
            try:
                return self._keep(ref, self._read(ref))
            except SecretsDownError as error:
                why = str(error)
                with self._lock:
                    self._down = (self._monotonic(), why)
        if last is None or last.parts is None or now - last.at > self._access.outage_s:
            raise SecretsDownError(why)
        return last

    def _keep(self, ref: str, kept: _Kept) -> _Kept:
        with self._lock:
            self._down = None
            self._kept[ref] = kept
            self._kept.move_to_end(ref)
            while len(self._kept) > REFERENCES_MAX:
                self._kept.popitem(last=False)
        return kept

    def _read(self, ref: str) -> _Kept:
        path = self._path(ref)
        try:
            return _Kept(self._monotonic(), self._api.read(path))
        except RefusedError:
            why = f"Vault refuses to show {path}: its token, or the policy of it"
            return _Kept(self._monotonic(), None, why)

    def _path(self, ref: str) -> str:
        return f"{self._access.prefix.strip('/')}/{ref}".lstrip("/")


def _parts(kept: _Kept, parts: tuple[str, ...]) -> tuple[str, ...] | None:
    if kept.refusal:
        raise SecretError(kept.refusal)
    if kept.parts is None:
        return None
    for part in parts:
        if part not in kept.parts:
            raise SecretError(f"Vault's secret has no {part}, or one that is no text")
    return tuple(checked(kept.parts[part].encode(), part, f"its {part}") for part in parts)
