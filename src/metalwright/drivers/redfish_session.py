"""One Redfish service and the session that is kept with it: one connection, one login at a time.

A session is kept from call to call, for as long as the secret has the version that it was opened
with. A login that is refused is not tried again, in this call or a later one (`redfish_refusals`).
Nothing here knows what is done with the session.
"""

from __future__ import annotations

import base64
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from metalwright.drivers.credentials import Credentials
from metalwright.drivers.redfish_errors import refuses_login, said_by
from metalwright.drivers.redfish_http import Exchange, ExchangeError
from metalwright.drivers.redfish_refusals import Login, Refusals
from metalwright.drivers.redfish_socket import Endpoint
from metalwright.errors import CredentialsError, PermanentError, TemporaryError

ROOT: Final = "/redfish/v1/"
WAIT_SHARE: Final = 0.5
"""How much of a call's time it may wait for another call to the same service."""

SYSTEMS_SHOWN_MAX: Final = 10

_NO_SESSIONS: Final = frozenset({404, 405, 501})

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Session:
    """What goes with each request, and where the service has its systems.

    `uri` is the session's place in the service, if it has one; a `basic` session is none there:
    each request carries the password.
    """

    version: str
    headers: Mapping[str, str] = field(repr=False)
    systems: str
    uri: str = ""
    basic: bool = False


class Service:
    """One Redfish service, as `endpoint` says. Safe to use from many threads."""

    def __init__(self, endpoint: Endpoint, refusals: Refusals) -> None:
        self._endpoint, self._refusals = endpoint, refusals
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._systems: dict[str | None, str] = {}
        self.seen: dict[str, Any] = {}
        """What was read of each system and seldom changes; by its path, forgotten at a login."""

    def call(self, login: Login, timeout_s: float, act: Callable[[Exchange, Service], T]) -> T:
        """What `act` returns, given requests that are logged in; within `timeout_s`.

        `act` is carried out anew when the session that was kept turns out to be none any more: its
        first request was refused then, and so nothing was done.

        Raises:
            TemporaryError: the service has another call.
            CredentialsError: it refuses the login, or has refused it before.
            ExchangeError, sushy.exceptions.SushyError: what `act` or the login came to.
        """
        deadline = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=timeout_s * WAIT_SHARE):
            raise TemporaryError("it is still busy with another call of ours")
        exchange = Exchange(self._endpoint, deadline)
        try:
            return self._call(login, exchange, act)
        finally:
            exchange.close()
            self._lock.release()

    def system(self, exchange: Exchange, wanted: str | None) -> str:
        """The path of the system with the id `wanted`, or of the only one.

        Raises:
            PermanentError: there is none, or more than one.
            ExchangeError, sushy.exceptions.SushyError: the service did not tell.
        """
        if wanted not in self._systems:
            assert self._session is not None
            found = exchange.get(self._session.systems).json()
            paths = [str(each["@odata.id"]) for each in found["Members"]]
            self._systems[wanted] = _chosen(paths, wanted)
        return self._systems[wanted]

    def end(self, timeout_s: float) -> None:
        """Log out, if there is a session and nobody uses it; errors are of no interest any more."""
        if not self._lock.acquire(timeout=timeout_s):
            return
        try:
            session, self._session = self._session, None
            if session is not None and session.uri:
                self._log_out(session, time.monotonic() + timeout_s)
        finally:
            self._lock.release()

    def _call(self, login: Login, exchange: Exchange, act: Callable[[Exchange, Service], T]) -> T:
        session = kept = self._session
        if session is None or session.version != login.credentials.version:
            session = self._log_in(login, exchange)
            if kept is not None and kept.uri:  # the secret was rotated
                self._log_out(kept, time.monotonic() + max(exchange.left_s / 4, 0.001))
            kept = None
        exchange.credentials = session.headers
        try:
            found = act(exchange, self)
        except Exception as error:
            if getattr(error, "status_code", None) == 404:
                self._forget_systems()
            if getattr(error, "status_code", None) != 401:
                raise
            self._session = None
            if kept is None or kept.basic:
                self._refusals.refused(login)
                raise
        else:
            self._refusals.accepted(login)
            return found
        # the kept session has ended, by its age or a restart of the BMC
        exchange.credentials = self._log_in(login, exchange).headers
        return act(exchange, self)

    def _log_in(self, login: Login, exchange: Exchange) -> Session:
        """Open a session; where the service has no sessions, each request carries the password."""
        self._refusals.stop_if_refused(login)
        credentials = login.credentials
        self._session = None
        self._forget_systems()
        exchange.credentials = {}
        root = self._root(exchange)
        systems = _link(root, "Systems") or f"{ROOT}Systems"
        sessions = _link(root.get("Links"), "Sessions")
        opened = self._opened(login, exchange, sessions) if sessions else None
        if opened is None:
            headers = {"Authorization": _basic(credentials)}
            found = Session(credentials.version, headers, systems, basic=True)
        else:
            self._refusals.accepted(login)
            token, uri = opened
            found = Session(credentials.version, {"X-Auth-Token": token}, systems, uri)
        self._session = found
        return found

    def _root(self, exchange: Exchange) -> Mapping[str, Any]:
        """The service root, which anybody may read (DSP0266); some show it to users only."""
        from sushy.exceptions import AccessError

        try:
            return exchange.get(ROOT).json()
        except AccessError:
            return {}

    def _opened(self, login: Login, exchange: Exchange, sessions: str) -> tuple[str, str] | None:
        """Token and place of a new session; `None` where the service has none to give."""
        from sushy.exceptions import HTTPError

        told = {"UserName": login.credentials.username, "Password": login.credentials.password}
        try:
            response = exchange.post(sessions, data=told)
        except HTTPError as error:
            if refuses_login(error):
                self._refusals.refused(login)
                raise CredentialsError(
                    f"it refused the user name or the password (HTTP {error.status_code})"
                ) from None
            if error.status_code in _NO_SESSIONS and not said_by(error).count("Login"):
                return None
            raise
        token = response.headers.get("X-Auth-Token")
        if not token:
            return None
        uri = response.headers.get("Location") or ""
        if not uri:
            with contextlib.suppress(ValueError):
                uri = str(response.json().get("@odata.id", ""))
        return token, uri

    def _forget_systems(self) -> None:
        self._systems.clear()
        self.seen.clear()

    def _log_out(self, session: Session, deadline: float) -> None:
        exchange = Exchange(self._endpoint, deadline)
        exchange.credentials = session.headers
        from sushy.exceptions import SushyError

        with contextlib.suppress(ExchangeError, SushyError):
            exchange.delete(session.uri)
        exchange.close()


def _chosen(paths: list[str], wanted: str | None) -> str:
    ids = {path.rstrip("/").rpartition("/")[2]: path for path in paths}
    if wanted is not None and wanted in ids:
        return ids[wanted]
    if wanted is None and len(paths) == 1:
        return paths[0]
    if not paths:
        raise TemporaryError("it tells of no system (it may be starting)")
    shown = ", ".join(sorted(ids)[:SYSTEMS_SHOWN_MAX])
    if wanted is None:
        raise PermanentError(f"it has {len(paths)} systems, {shown}: spec.bmc.system says which")
    raise PermanentError(f"it has no system {wanted} (spec.bmc.system), only {shown}")


def _link(found: Any, name: str) -> str:
    """The address of a part, where there is one."""
    part = found.get(name) if isinstance(found, dict) else None
    address = part.get("@odata.id") if isinstance(part, dict) else None
    return address if isinstance(address, str) else ""


def _basic(credentials: Credentials) -> str:
    told = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(told).decode()}"
