"""One conversation with a Redfish service over HTTP or HTTPS, which ends when its time is up.

sushy's own connector re-sends a POST whose answer did not come in time, reads proxies and passwords
from the environment and the home directory, and has no bound on a service that answers a byte a
second. This one takes its place: one connection at a time, every wait counted against one deadline,
and nothing that changes anything is ever sent twice. It only ever speaks to the address that it was
given, wherever links and redirects point. It knows nothing of what it carries.
"""

from __future__ import annotations

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Any, Final
from urllib.parse import urlsplit

from metalwright.drivers.redfish_socket import Endpoint, TimedSocket, dialled

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
REDIRECTS_MAX: Final = 3

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


class ExchangeError(Exception):
    """There is no answer that means anything; says why, after the words "the BMC: "."""


class SilenceError(ExchangeError):
    """No answer in time."""


class UntrustedError(ExchangeError):
    """The service could not show a certificate that we trust."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, with the names that sushy knows it by."""

    status_code: int
    headers: Message
    content: bytes

    def json(self) -> dict[str, Any]:
        """The body. Raises ValueError when it is not a JSON object."""
        found = json.loads(self.content)
        if not isinstance(found, dict):
            raise ValueError(f"a {type(found).__name__} instead of an object")
        return found


class Exchange:
    """Requests to one service until `deadline` (`time.monotonic`); sushy's idea of a connector.

    `credentials` are the headers that go with each request. Answers of 400 and above are raised as
    sushy's exceptions, what is no answer as an `ExchangeError`. Used by one thread.
    """

    def __init__(self, endpoint: Endpoint, deadline: float) -> None:
        self._endpoint, self._deadline = endpoint, deadline
        self._connection: http.client.HTTPConnection | None = None
        self.credentials: Mapping[str, str] = {}

    @property
    def left_s(self) -> float:
        """Seconds until the deadline."""
        return self._deadline - time.monotonic()

    def get(self, path: str = "", **_ignored: Any) -> Response:
        """GET, following redirects within the service.

        Raises:
            ExchangeError, sushy.exceptions.HTTPError: as every request.
        """
        for _ in range(REDIRECTS_MAX + 1):
            response = self._request("GET", path, None, {})
            if response.status_code not in _REDIRECTS:
                return response
            if self._endpoint.context is None and "https:" in response.headers.get("Location", ""):
                raise ExchangeError("it wants to be spoken to by https (spec.bmc.protocol)")
            path = response.headers.get("Location", "")
        raise ExchangeError("it redirects in a circle")

    def post(self, path: str = "", data: Any = None, **_ignored: Any) -> Response:
        """POST, once."""
        return self._request("POST", path, data, {})

    def delete(self, path: str = "", **_ignored: Any) -> Response:
        """DELETE, once."""
        return self._request("DELETE", path, None, {})

    def patch(
        self,
        path: str = "",
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        etag: str | None = None,
        **_ignored: Any,
    ) -> Response:
        """PATCH. One that is refused as being of an older state (412) is sent once more, with the
        ETag of now.

        An ETag that is refused although it is still that of now has been compared wrongly: weak
        ones are made strong (HTTP compares strongly for If-Match, some BMCs only send weak ones),
        and strong ones are left out.
        """
        from sushy.exceptions import HTTPError

        given = etag or (headers or {}).get("If-Match") or ""
        try:
            return self._request("PATCH", path, data, {"If-Match": given} if given else {})
        except HTTPError as error:
            if error.status_code != http.client.PRECONDITION_FAILED:
                raise
        found = self.get(path).headers.get("ETag", "")
        if found == given:
            found = given.removeprefix("W/") if given.startswith("W/") else ""
        return self._request("PATCH", path, data, {"If-Match": found} if found else {})

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self, method: str, path: str, data: Any, headers: Mapping[str, str]) -> Response:
        from sushy.exceptions import raise_for_response

        body = None if data is None else json.dumps(data).encode()
        sent = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "OData-Version": "4.0",
            **({"Content-Type": "application/json"} if body is not None else {}),
            **self.credentials,
            **headers,
        }
        # Links may be whole URLs, of an address that only the BMC knows: what counts is the path.
        target = urlsplit(path)
        place = (target.path or "/") + (f"?{target.query}" if target.query else "")
        response = self._exchange(method, place, body, sent)
        raise_for_response(method, place, response)
        return response

    def _exchange(
        self, method: str, place: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Response:
        if method != "GET":
            self.close()  # only on a connection of its own is it sure that a request is not heard
        while True:
            reused = self._connection is not None
            try:
                return self._once(method, place, body, headers)
            except (ConnectionResetError, BrokenPipeError, http.client.RemoteDisconnected) as error:
                self.close()
                if not reused:
                    raise ExchangeError("it hung up") from error
            except TimeoutError as error:
                self.close()
                raise SilenceError("it did not answer in time") from error
            except ssl.SSLCertVerificationError as error:
                self.close()
                raise UntrustedError(
                    f"its certificate is not to be trusted: {error.verify_message}"
                ) from error
            except ssl.SSLError as error:
                self.close()
                raise ExchangeError(f"TLS failed ({error.reason})") from error
            except OSError as error:
                self.close()
                raise ExchangeError(f"the network failed ({error.strerror})") from error
            except (http.client.HTTPException, ValueError) as error:
                self.close()
                name = type(error).__name__  # the text of such an error can carry anything
                raise ExchangeError(f"its answer cannot be understood ({name})") from None

    def _once(
        self, method: str, place: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Response:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect()
        connection.request(method, place, body, dict(headers))
        answer = connection.getresponse()
        try:
            content = answer.read(BODY_BYTES_MAX + 1)
            whole = answer.isclosed()
        finally:
            answer.close()  # a connection that ends with its answer is the answer's to close
        if len(content) > BODY_BYTES_MAX:
            raise ValueError(f"more than {BODY_BYTES_MAX} bytes")
        if answer.will_close or not whole:
            self.close()
        return Response(answer.status, answer.headers, content)

    def _connect(self) -> http.client.HTTPConnection:
        endpoint = self._endpoint
        connection = http.client.HTTPConnection(endpoint.address, endpoint.port)
        connection.default_port = 80 if endpoint.context is None else 443
        connection.auto_open = 0
        connection.sock = TimedSocket(dialled(endpoint, self._deadline), self._deadline)
        return connection
