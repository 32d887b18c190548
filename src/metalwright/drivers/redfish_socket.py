"""A TCP or TLS connection of which every wait ends at one deadline.

The time-out of a socket begins anew with every byte; a name server's is none of ours. Here both
count against the deadline of the whole call. Nothing here knows what is sent.
"""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CONNECT_TIMEOUT_S: Final = 5.0
RESOLVERS_MAX: Final = 16
"""Threads that may wait for a name server at once; it answers late or never, whatever we do."""

_resolvers = threading.BoundedSemaphore(RESOLVERS_MAX)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is; `context` has the authorities to trust, or is `None` for plain HTTP."""

    address: str
    port: int
    context: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


def tls_context(ca_file: Path | None, *, verify: bool) -> ssl.SSLContext:
    """What HTTPS is spoken with: the authorities of `ca_file`, or the system's without one.

    Raises:
        OSError: `ca_file` cannot be read, or has no certificate.
    """
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class TimedSocket:
    """A socket of which every wait ends at one deadline, however often a byte comes.

    As with a socket of the standard library, what was made to read from it goes on after `close`:
    http.client closes at once what ends with its answer, whose body may not have come yet.
    """

    def __init__(self, inner: socket.socket, deadline: float) -> None:
        self._inner, self._deadline = inner, deadline
        self._readers, self._closed = 0, False

    def _wait_no_longer(self) -> None:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the time is up")
        self._inner.settimeout(left_s)

    def sendall(self, data: Any) -> None:
        """Send all, or raise TimeoutError."""
        self._wait_no_longer()
        self._inner.sendall(data)

    def recv_into(self, buffer: Any) -> int:
        """Read what there is, or raise TimeoutError."""
        self._wait_no_longer()
        return self._inner.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What http.client reads the answer from."""
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Close the socket, as soon as nothing reads from it."""
        self._closed = True
        if self._readers == 0:
            self._inner.close()

    def reader_closed(self) -> None:
        """Something that `makefile` made was closed."""
        self._readers -= 1
        if self._closed:
            self.close()


class _Reader(io.RawIOBase):
    def __init__(self, timed: TimedSocket) -> None:
        self._timed = timed

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._timed.reader_closed()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._timed.recv_into(buffer)


def dialled(endpoint: Endpoint, deadline: float) -> socket.socket:
    """A connection, with TLS on it where the endpoint has that, to the first address that answers.

    Raises:
        OSError: there is none, not in time (TimeoutError), or not one to be trusted (SSLError).
    """
    plain = _connected(endpoint, deadline)
    if endpoint.context is None:
        return plain
    try:
        plain.settimeout(max(deadline - time.monotonic(), 0.001))
        return endpoint.context.wrap_socket(plain, server_hostname=endpoint.address)
    except BaseException:
        plain.close()
        raise


def _connected(endpoint: Endpoint, deadline: float) -> socket.socket:
    last: OSError = TimeoutError("the time is up")
    for family, kind, protocol, _name, address in _addresses(endpoint, deadline):
        left_s = min(deadline - time.monotonic(), CONNECT_TIMEOUT_S)
        if left_s <= 0:
            break
        found = socket.socket(family, kind, protocol)
        try:
            found.settimeout(left_s)
            found.connect(address)
            found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            found.close()
            last = error
        else:
            return found
    raise last


def _addresses(endpoint: Endpoint, deadline: float) -> list[Any]:
    """What the address resolves to. A name is looked up in a thread that can be left behind."""
    where = endpoint.address, endpoint.port
    try:
        return socket.getaddrinfo(*where, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # a name
    found: list[Any] = []
    if not _resolvers.acquire(timeout=max(deadline - time.monotonic(), 0)):
        raise TimeoutError("too many names are being looked up")

    def look_up() -> None:
        try:
            found.extend(socket.getaddrinfo(*where, type=socket.SOCK_STREAM))
        except OSError as error:
            found.append(error)
        finally:
            _resolvers.release()

    thread = threading.Thread(target=look_up, name="redfish-resolver", daemon=True)
    thread.start()
    thread.join(max(deadline - time.monotonic(), 0))
    if thread.is_alive():
        raise TimeoutError("its name is not resolved in time")
    if len(found) == 1 and isinstance(found[0], OSError):
        raise found[0]
    return found
