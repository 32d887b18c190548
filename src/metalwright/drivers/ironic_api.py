"""Requests to one Ironic, through openstacksdk: connected lazily, bounded, never repeated.

openstacksdk has no time-out by default, and repeats refused requests for 15 s while it blocks the
thread; both are set otherwise here. A login that was refused is not presented again until the
credentials change, or `CREDENTIALS_RETRY_S` have passed. Nothing here knows what a request means.
"""

from __future__ import annotations

import json
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from metalwright.drivers.contract import SecretSource
from metalwright.drivers.credentials import Credentials, look_up
from metalwright.drivers.ironic_record import without_tokens
from metalwright.errors import (
    CredentialsError,
    DriverError,
    NotBegunError,
    NotSupportedError,
    PermanentError,
    SettingsError,
    TemporaryError,
)

MICROVERSION: Final = "1.78"
"""Ironic 19 (2021) and newer know it: node faults, `automated_clean`, JSON user data."""

REQUESTS_MAX: Final = 4
"""At once: Ironic serves no more in a second to more."""

CREDENTIALS_RETRY_S: Final = 300.0
_AGAIN: Final = "tried again when they change, at SIGHUP, and every five minutes"
CONNECT_TIMEOUT_S: Final = 5.0
WORDS_MAX: Final = 400

_MOVED_ON: Final = "while it is in state"
"""In the text of a 400: the order does not fit the state that the node has come to meanwhile."""

_NO_SUCH_POWER: Final = "does not support the power state"
"""In the text of a 400: the node's power interface has no soft power-off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where Ironic is: an `endpoint` without Keystone, or a `cloud` of `clouds_file`.

    `credentials` name the secret: with an endpoint for HTTP basic (without them no login), with a
    cloud for Keystone's password (without them the cloud's own).
    """

    endpoint: str = ""
    cloud: str = ""
    clouds_file: Path | None = None
    credentials: str = ""

    @property
    def shown(self) -> str:
        """Its name in errors."""
        return f"Ironic at {self.endpoint}" if self.endpoint else f"Ironic of cloud {self.cloud}"


class IronicApi:
    """One Ironic. Safe to use from many threads; `REQUESTS_MAX` requests run at once."""

    def __init__(self, place: Place, secrets: SecretSource) -> None:
        """Raises SettingsError: neither an endpoint nor a cloud is given, or both are."""
        if bool(place.endpoint) == bool(place.cloud):
            raise SettingsError("drivers.ironic: give either an endpoint or a cloud")
        self._place, self._secrets = place, secrets
        self._lock = threading.RLock()
        self._room = threading.BoundedSemaphore(REQUESTS_MAX)
        self._client: Any = None
        self._version = ""
        self._refused: tuple[str, float] | None = None
        self._closed = False

    def __repr__(self) -> str:
        return f"IronicApi({self._place.shown!r})"

    def get(self, path: str, until: float, params: Mapping[str, str] | None = None) -> Any:
        """The JSON at `path`, before `until` (`time.monotonic`).

        Raises:
            TemporaryError, CredentialsError, PermanentError: there is none.
        """
        return self._request("GET", path, until, params=dict(params or {}))

    def send(self, method: str, path: str, body: object, until: float) -> None:
        """Have Ironic change something.

        Raises:
            NotBegunError: it is locked, or Ironic has as much to do as it may.
            TemporaryError: it may or may not have been taken.
            CredentialsError, PermanentError: it was refused.
        """
        self._request(method, path, until, json=body)

    @property
    def refusal(self) -> str:
        """What an operator should know of a refused login, "" where there is none."""
        if self._refused is None:
            return ""
        which = f" with credentials {self._place.credentials}" if self._place.credentials else ""
        return f"{self._place.shown} refused the login{which}: {_AGAIN}"

    def rearm(self) -> None:
        """Present a login that was refused once more."""
        with self._lock:
            self._refused = None

    def close(self) -> None:
        """Send nothing any more. Twice is once."""
        with self._lock:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            client[0].session.close()

    def _request(self, method: str, path: str, until: float, **what: Any) -> Any:
        if not self._room.acquire(timeout=max(0.0, until - time.monotonic())):
            raise NotBegunError(f"{self._place.shown}: others are asked first")
        try:
            client, version = self._connected(until)
            if until <= time.monotonic():
                raise NotBegunError(f"{self._place.shown}: no time was left to ask it")
            answer = self._answer(client, method, path, until, what)
        finally:
            self._room.release()
        return self._understood(answer, method, version)

    def _answer(
        self, client: Any, method: str, path: str, until: float, what: dict[str, Any]
    ) -> Any:
        def ask() -> Any:
            from metalwright.drivers.ironic_transport import ending

            with ending(until):
                return client[1].request(
                    path,
                    method,
                    microversion=MICROVERSION,
                    raise_exc=False,
                    redirect=False,
                    connect_retries=0,
                    status_code_retries=0,
                    timeout=max(0.001, until - time.monotonic()),
                    **what,
                )

        return self._translated(ask)

    def _connected(self, until: float) -> tuple[Any, str]:
        """The client for the credentials of now, and their version."""
        with self._lock:
            if self._closed:
                raise TemporaryError(f"{self._place.shown}: the driver is closed")
            found = self._credentials()
            version = found.version if found is not None else ""
            if self._refused is not None:
                refused, again_at = self._refused
                if refused == version and time.monotonic() < again_at:
                    raise CredentialsError(f"{self._place.shown}: it refused the login")
                self._refused = None
            if self._client is None or version != self._version:
                left_s = max(0.1, min(CONNECT_TIMEOUT_S, until - time.monotonic()))
                self._client, self._version = None, version
                with warnings.catch_warnings():
                    # openstacksdk 4.22 warns of what it itself does, and what it no longer will
                    warnings.simplefilter("ignore", DeprecationWarning)
                    warnings.simplefilter("ignore", PendingDeprecationWarning)
                    self._client = self._translated(lambda: _connect(self._place, found, left_s))
            return self._client, version

    def _credentials(self) -> Credentials | None:
        if not self._place.credentials:
            return None
        return look_up(self._secrets, self._place.credentials)

    def _translated(self, ask: Callable[[], Any]) -> Any:
        """What `ask` gives; whatever its libraries raise, as an error of ours."""
        try:
            from keystoneauth1 import exceptions as keystone
            from openstack import exceptions as openstack
        except ImportError as error:
            raise PermanentError(
                "openstacksdk is missing: pip install 'metalwright[ironic]'"
            ) from error
        name = self._place.shown
        try:
            return ask()
        except (keystone.Unauthorized, keystone.AuthorizationFailure) as error:
            self._refuse(self._version)
            raise CredentialsError(f"{name}: it refused the login") from _kind(error)
        except keystone.ConnectTimeout as error:
            raise TemporaryError(f"{name}: no answer in time") from TimeoutError(_kind(error))
        except keystone.ConnectFailure as error:
            raise TemporaryError(f"{name}: it cannot be reached") from _kind(error)
        except (keystone.ClientException, openstack.SDKException) as error:
            text = type(error).__name__
            raise TemporaryError(f"{name}: it cannot be asked ({text})") from _kind(error)
        except (OSError, ValueError, TypeError, KeyError) as error:
            text = type(error).__name__
            raise TemporaryError(f"{name}: it gave no usable answer ({text})") from _kind(error)

    def _understood(self, answer: Any, method: str, version: str) -> Any:
        """The JSON of a good answer; else the error that its status means."""
        name, status = self._place.shown, int(answer.status_code)
        if status == 401:
            self._refuse(version)
            raise CredentialsError(f"{name}: it refused the login")
        if status >= 300:
            raise _error(name, status, _words(answer))
        if method != "GET":
            return None
        try:
            return answer.json()
        except ValueError:
            raise PermanentError(f"{name}: its answer is no JSON") from None

    def _refuse(self, version: str) -> None:
        with self._lock:
            self._refused = (version, time.monotonic() + CREDENTIALS_RETRY_S)


def _connect(place: Place, credentials: Credentials | None, timeout_s: float) -> tuple[Any, Any]:
    """A session of openstacksdk's making, and the way through it to Ironic; nothing is asked yet.

    Not the SDK's `Connection`: that asks for versions before anything else, and its requests warn
    of what the SDK itself does (4.22).
    """
    from keystoneauth1.adapter import Adapter
    from openstack.config import OpenStackConfig

    from metalwright.drivers.ironic_transport import BoundedAdapter

    login: dict[str, str] = {}
    if credentials is not None:
        login = {"username": credentials.username, "password": credentials.password}
    if place.cloud:
        files = [str(place.clouds_file)] if place.clouds_file is not None else None
        config = OpenStackConfig(config_files=files, load_envvars=False)
        region = config.get_one(cloud=place.cloud, api_timeout=timeout_s, auth=login)
    else:
        config = OpenStackConfig(load_yaml_config=False, load_envvars=False)
        region = config.get_one(
            auth_type="http_basic" if login else "none",
            auth={**login, "endpoint": place.endpoint},
            api_timeout=timeout_s,
        )
    session = region.get_session()
    session.app_name = "metalwright"
    for scheme in ("http://", "https://"):
        session.session.mount(scheme, BoundedAdapter())
    if place.endpoint:
        url = f"{place.endpoint.rstrip('/')}/v1"
        return session, Adapter(session, service_type="baremetal", endpoint_override=url)
    return session, Adapter(
        session,
        service_type="baremetal",
        interface=region.get_interface("baremetal"),
        region_name=region.get_region_name("baremetal"),
        min_version="1",
        max_version="1.latest",
    )


def _error(name: str, status: int, words: str) -> DriverError:
    said = f"{name}: {words or f'HTTP {status}'}"
    if status in (409, 503):
        return NotBegunError(said)
    if status >= 500 or (status == 400 and _MOVED_ON in words):
        return TemporaryError(said)
    if status == 400 and _NO_SUCH_POWER in words:
        return NotSupportedError(said)
    return PermanentError(said)


def _words(answer: Any) -> str:
    """Ironic's words: JSON whose `error_message` is itself JSON, or what a proxy said."""
    try:
        found = json.loads(answer.text)["error_message"]
        found = json.loads(found) if isinstance(found, str) else found
        words = str(found["faultstring"])
    except (ValueError, KeyError, TypeError):
        words = f"HTTP {answer.status_code}"
    words = without_tokens(words)
    return words if len(words) <= WORDS_MAX else f"{words[: WORDS_MAX - 1]}…"


def _kind(error: BaseException) -> Exception:
    """The cause of an error without its text, which could carry a URL with a login."""
    return Exception(type(error).__name__)
