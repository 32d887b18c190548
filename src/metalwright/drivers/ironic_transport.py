"""How requests to Ironic and Keystone end in time, and at a size: whatever the other side sends.

The time-out of `requests` counts from each piece that arrives, so an answer that trickles would
hold its thread for ever. Here every read of a socket has what the call of its thread has left, for
headers and bodies alike, for Keystone's answers as for Ironic's. An answer is read whole before
anybody sees it. Imported only where openstacksdk is installed. Nothing here knows Ironic.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import requests
from keystoneauth1.session import TCPKeepAliveAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""A page of a thousand nodes, each with 64 KiB of its own data."""

PIECE_BYTES: Final = 64 * 1024

_call = threading.local()


@contextmanager
def ending(until: float) -> Iterator[None]:
    """What this thread asks within ends by then (`time.monotonic`)."""
    before, _call.until = getattr(_call, "until", None), until
    try:
        yield
    finally:
        _call.until = before


def _left_s(otherwise: float | None) -> float | None:
    """What is left of the call of this thread, in seconds. Raises TimeoutError: nothing."""
    until = getattr(_call, "until", None)
    if until is None:
        return otherwise
    left_s = float(until) - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


class _Reader(io.RawIOBase):
    """What arrives at a socket, each piece of it in time."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._raw = sock, sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left_s(self._sock.gettimeout()))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Socket:
    """A connected socket whose file is a `_Reader`, and that sends in time too."""

    def __init__(self, sock: Any) -> None:
        self._sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def sendall(self, *what: Any) -> None:
        self._sock.settimeout(_left_s(self._sock.gettimeout()))
        self._sock.sendall(*what)

    def makefile(self, *_how: Any, **_more: Any) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._sock))


class _Connection(HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Socket(self.sock)


class _TlsConnection(HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.sock: Any = _Socket(self.sock)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS: Final = {"http": _Pool, "https": _TlsPool}


class BoundedAdapter(TCPKeepAliveAdapter):
    """The requests of a session, within `ending`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """As the base, with connections of ours."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """As the base, with connections of ours."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> Any:
        """The answer, read whole.

        Raises:
            requests.Timeout: it did not come whole in time.
            requests.ConnectionError: it did not come, or is larger than `ANSWER_BYTES_MAX`.
        """
        try:
            kwargs["timeout"] = _left_s(kwargs.get("timeout"))
            answer = super().send(request, *args, **{**kwargs, "stream": True})
            answer._content, answer._content_consumed = _whole(answer), True
        except TimeoutError as error:
            raise requests.exceptions.ReadTimeout(request=request) from error
        except requests.ConnectionError as error:
            try:
                _left_s(None)
            except TimeoutError:
                raise requests.exceptions.ReadTimeout(request=request) from error
            raise
        return answer


def _whole(answer: Any) -> bytes:
    pieces, size = [], 0
    try:
        for piece in answer.raw.stream(PIECE_BYTES, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if size > ANSWER_BYTES_MAX:
                raise requests.exceptions.ConnectionError("the answer is too large")
    except HTTPError as error:
        raise requests.exceptions.ConnectionError(str(error)) from error
    finally:
        answer.close()
    return b"".join(pieces)
