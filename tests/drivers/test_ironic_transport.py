"""Requests to Ironic end in time and at a size, whatever the other side sends."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from metalwright.drivers.credentials import Credentials, Secrets
from metalwright.drivers.ironic import IronicDriver
from metalwright.drivers.ironic_api import IronicApi, Place
from metalwright.drivers.ironic_transport import ANSWER_BYTES_MAX
from metalwright.errors import CredentialsError, TemporaryError
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import NodeSpec

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
PATIENCE_S = 60.0
"""The first call imports openstacksdk."""

TRICKLE_S = 0.05
CALL_S = 1.0

Answer = Callable[[socket.socket], None]


class Server:
    """Hears requests on one connection after the other, and answers each as it was told to."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.answer: Answer = whole(b"{}")
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                while connection.recv(65_536):
                    self.answer(connection)
            except OSError:
                return


def whole(body: bytes, *headers: bytes) -> Answer:
    lines = b"".join(header + b"\r\n" for header in headers)
    return lambda to: to.sendall(HEAD + lines + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def trickling(start: bytes, piece: bytes) -> Answer:
    """Begins, and goes on for ever, a little at a time."""

    def answer(to: socket.socket) -> None:
        to.sendall(start)
        while True:
            to.sendall(piece)
            time.sleep(TRICKLE_S)

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def api(server: Server) -> Iterator[IronicApi]:
    api = IronicApi(Place(endpoint=server.endpoint), Secrets(None, {}))
    assert api.get("/nodes", time.monotonic() + PATIENCE_S) == {}
    yield api
    api.close()


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (HEAD + b"Content-Length: 1000000\r\n\r\n", b" "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        (HEAD + b"X-Slow: ", b"x"),
        (b"", b"H"),
    ],
    ids=["body", "chunks", "header", "status"],
)
def test_an_answer_that_trickles_is_given_up_in_time(
    server: Server, api: IronicApi, start: bytes, piece: bytes
) -> None:
    server.answer = trickling(start, piece)
    began = time.monotonic()
    with pytest.raises(TemporaryError) as caught:
        api.get("/nodes", began + CALL_S)
    assert time.monotonic() - began < 5 * CALL_S
    assert "no answer in time" in str(caught.value)
    assert isinstance(caught.value.__cause__, TimeoutError)
    server.answer = whole(b'{"nodes": []}')
    assert api.get("/nodes", time.monotonic() + PATIENCE_S) == {"nodes": []}, "there is room"


def test_an_answer_that_grows_too_large_is_given_up(server: Server, api: IronicApi) -> None:
    server.answer = whole(gzip.compress(b" " * (ANSWER_BYTES_MAX + 1)), b"Content-Encoding: gzip")
    with pytest.raises(TemporaryError):
        api.get("/nodes", time.monotonic() + PATIENCE_S)


def test_the_connection_is_used_again(server: Server, api: IronicApi) -> None:
    for _ in range(3):
        assert api.get("/nodes", time.monotonic() + PATIENCE_S) == {}
    assert server.connections == 1


def test_a_login_that_ironic_refuses_is_presented_once_and_is_an_alert(server: Server) -> None:
    class Source:
        def get(self, ref: str) -> Credentials:
            return Credentials(username="canary-u", password="canary-p", version="v1")

    refusal = b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n"
    asked = []

    def refuse(to: socket.socket) -> None:
        asked.append(1)
        to.sendall(refusal)

    server.answer = refuse
    place = Place(endpoint=server.endpoint, credentials="ironic/main")
    driver = IronicDriver(place, Source(), lambda: datetime.now(UTC), list_max_age_s=0)
    node = Node(metadata=Metadata(name="n1"), spec=NodeSpec(driver="ironic"))
    for _ in range(3):
        with pytest.raises(CredentialsError):
            driver.observe(node, PATIENCE_S)
    assert len(asked) == 1
    (alert,) = driver.alerts()
    assert "ironic/main" in alert
    assert "canary" not in alert
    driver.rearm()
    assert driver.alerts() == ()
    driver.close()
