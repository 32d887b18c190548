"""What comes over a connection is read to its end, whoever hangs up and when."""

from __future__ import annotations

import gc
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from metalwright.drivers.redfish_http import Exchange
from metalwright.drivers.redfish_socket import Endpoint, TimedSocket

Serve = Callable[[list[bytes]], Endpoint]
PAUSE_S = 0.2
BODY = b'{"PowerState": "On"}'


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A service that answers one request with these parts, one after the other, and hangs up."""
    with ExitStack() as opened:

        def begin(parts: list[bytes]) -> Endpoint:
            listener = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=answer, args=(listener, parts))
            opened.callback(thread.join, 10)
            thread.start()
            return Endpoint("127.0.0.1", listener.getsockname()[1], None)

        yield begin


def answer(listener: socket.socket, parts: list[bytes]) -> None:
    listener.settimeout(10)
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        for part in parts:
            connection.sendall(part)
            time.sleep(PAUSE_S)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n",
    ],
    ids=["closing", "closing, of no length", "of old", "kept"],
)
def test_a_body_that_comes_after_its_head_is_read(serve: Serve, head: bytes) -> None:
    exchange = Exchange(serve([head, BODY[:7], BODY[7:]]), time.monotonic() + 10)
    assert exchange.get("/redfish/v1/").json() == {"PowerState": "On"}
    exchange.close()
    gc.collect()  # a socket that was left open would be told of here, as an error


def test_a_socket_is_closed_when_nothing_reads_from_it() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        timed = TimedSocket(ours, time.monotonic() + 10)
        first, second = timed.makefile("rb"), timed.makefile("rb")
        timed.close()
        timed.close()
        first.close()
        first.close()
        assert ours.fileno() >= 0
        second.close()
        assert ours.fileno() == -1
