"""The boot service at work: a web server in a thread of its own, its images and its renderer.

It is given a socket that is bound already, so that an address that is taken is told at the start.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Final, Self

import uvicorn
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from metalwright.boot.app import Front, make_app
from metalwright.boot.desk import Desk
from metalwright.boot.hearing import Hearing
from metalwright.boot.images import ImageCache
from metalwright.boot.limits import RETRY_AFTER_S, BootLimits
from metalwright.boot.ports import Records
from metalwright.boot.render import Renderer
from metalwright.errors import SettingsError
from metalwright.model.inventory import Inventory

START_TIMEOUT_S: Final = 15.0
STOP_TIMEOUT_S: Final = 10.0
BACKLOG_MAX: Final = 512
HEADER_BYTES_MAX: Final = 16_384


class BootServer:
    """Serves from `start` to `close`. `told` is called with a node's name when a boot of it was
    issued or its report was kept, `trouble` with what went wrong; both from any thread.
    """

    def __init__(
        self,
        url: str,
        records: Records,
        images: ImageCache,
        secret: Callable[[str], str],
        clock: Callable[[], datetime],
        limits: BootLimits,
    ) -> None:
        self._renderer, self._images = Renderer(secret), images
        self.desk = Desk(url, records, images, self._renderer, clock, limits)
        self._limits = limits
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(
        self,
        listening: socket.socket,
        told: Callable[[str], None],
        trouble: Callable[[str], None],
    ) -> None:
        """Serve on a bound socket.

        Raises:
            SettingsError: it does not come up.
        """
        self.desk.told = told
        if self.desk.disc is not None:
            self.desk.fetcher.begin(self.desk.disc.artifact)
        front = Front(self.desk, Hearing(self.desk), trouble)
        config = uvicorn.Config(
            _limited(make_app(front), self._is_full),
            http=_protocol(self._limits.request_timeout_s),
            ws="none",
            lifespan="off",
            loop="asyncio",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG_MAX,
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            timeout_graceful_shutdown=int(STOP_TIMEOUT_S / 2),
            # A connection serves one request: nobody keeps one by beginning a second slowly.
            headers=[("Connection", "close")],
        )
        self._server = uvicorn.Server(config)
        run = self._server.run
        self._thread = threading.Thread(
            target=run, kwargs={"sockets": [listening]}, name="boot", daemon=True
        )
        self._thread.start()
        waited = threading.Event()
        for _ in range(int(START_TIMEOUT_S / 0.05)):
            if self._server.started or not self._thread.is_alive():
                break
            waited.wait(0.05)
        if not self._server.started:
            raise SettingsError("the boot service did not start")

    def follow(self, inventory: Inventory) -> None:
        """From now on this revision is in force; once in every cycle."""
        self.desk.follow(inventory)
        self.desk.notes.tick()

    def close(self) -> None:
        """End the server, its threads, its downloads and the process that renders."""
        self._images.stop()  # nobody waits for a file any more
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(STOP_TIMEOUT_S)
            self._server = None
        self.desk.fetcher.close()
        self._renderer.close()

    def _is_full(self) -> bool:
        """Whether there are more connections than may be served."""
        server = self._server
        connections = len(server.server_state.connections) if server is not None else 0
        return connections > self._limits.connections_max

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def bind(listen: str) -> socket.socket:
    """A socket at `ADDRESS:PORT`.

    Raises:
        SettingsError: it cannot be bound.
    """
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        bound = socket.socket(family, kind, protocol)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
        except BaseException:
            bound.close()
            raise
    except (OSError, OverflowError) as error:
        raise SettingsError(f"boot.listen: {listen} cannot be listened on: {error}") from error
    return bound


def _limited(app: ASGIApp, is_full: Callable[[], bool]) -> ASGIApp:
    """`app`, or while it is full the answer that says when to ask again."""
    full = PlainTextResponse(
        "too many connections\n",
        HTTPStatus.SERVICE_UNAVAILABLE,
        {"Retry-After": f"{RETRY_AFTER_S}", "Cache-Control": "no-store"},
    )

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        await (full if is_full() else app)(scope, receive, send)

    return limited


def _protocol(timeout_s: float) -> type[asyncio.Protocol]:
    """HTTP/1.1 that closes a connection whose request has not come within `timeout_s`."""

    class Impatient(H11Protocol):
        patience: asyncio.TimerHandle

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.patience = self.loop.call_later(timeout_s, self._give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            # A timer would keep all of a connection that is gone in memory for so long.
            self.patience.cancel()
            super().connection_lost(exc)

        def _give_up(self) -> None:
            begun: object | None = self.cycle
            if begun is None:
                self.transport.close()

    return Impatient
