"""A network between a driver and its BMCs that can be told to misbehave, one line per BMC.

Each line forwards datagrams from a front address to a BMC, and falls silent, slow, or mad on
command. It also counts what passes: logins (RAKP message 1) and commands inside a session. One
thread serves all lines. What is encrypted stays unread.
"""

from __future__ import annotations

import heapq
import itertools
import random
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

CLIENTS_MAX = 64
"""Upstream sockets of one line; the oldest goes first, as its client has long gone."""

DATAGRAM_BYTES_MAX = 4_096

_OPEN_SESSION, _RAKP1, _SESSION = 0x10, 0x12, 0x00

Address = tuple[str, int]


@dataclass
class Line:
    """One BMC's way to the world. Faults are plain attributes; `heal` puts them all back.

    `delay_s` is each way. `commands_max`: after so many commands inside sessions the line is dead;
    `deliver_last` says whether the last of them still reaches the BMC, its answer being lost.
    """

    front: Address
    back: Address
    listening: socket.socket
    upstream: dict[Address, socket.socket] = field(default_factory=dict)
    base_delay_s: float = 0.001
    delay_s: float = 0.001
    silent: bool = False
    garbage: bool = False
    commands_max: int | None = None
    deliver_last: bool = False
    commands: int = 0
    logins: int = 0
    opened: int = 0

    def heal(self) -> None:
        """Forward everything again, without delay."""
        self.silent = self.garbage = self.deliver_last = False
        self.commands_max = None
        self.delay_s = self.base_delay_s

    def count(self, packet: bytes) -> None:
        """Count a request by its payload type (IPMI 2.0, table 13-16)."""
        if len(packet) < 16 or packet[4] != 0x06:
            return
        kind = packet[5] & 0x3F
        self.logins += kind == _RAKP1
        self.opened += kind == _OPEN_SESSION
        self.commands += kind == _SESSION and packet[5] & 0xC0 == 0xC0

    def passes(self, *, answer: bool) -> bool:
        """Whether the packet that was just counted, or an answer, goes through."""
        if self.silent:
            return False
        if self.commands_max is None or self.commands < self.commands_max:
            return True
        return self.deliver_last and not answer and self.commands == self.commands_max


class Relay:
    """All lines of a farm and the thread that serves them."""

    def __init__(self, routes: Sequence[tuple[Address, Address]], seed: int = 1) -> None:
        """Raises OSError when a front address is taken."""
        self._selector = selectors.DefaultSelector()
        self._random = random.Random(seed)
        self._due: list[tuple[float, int, socket.socket, bytes, Address | None]] = []
        self._order = itertools.count()
        self._mad = itertools.count()
        self._stopping = threading.Event()
        self.lines: list[Line] = []
        try:
            for front, back in routes:
                self.lines.append(Line(front, back, self._open(front)))
        except OSError:
            self._close_sockets()
            raise
        for line in self.lines:
            self._selector.register(line.listening, selectors.EVENT_READ, (line, None))
        self._thread = threading.Thread(target=self._serve, name="udp-relay", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread and close every socket."""
        self._stopping.set()
        self._thread.join(timeout=5)
        self._close_sockets()

    @staticmethod
    def _open(address: Address) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.setblocking(False)
        try:
            opened.bind(address)
        except OSError:
            opened.close()
            raise
        return opened

    def _close_sockets(self) -> None:
        for line in self.lines:
            line.listening.close()
            for upstream in line.upstream.values():
                upstream.close()
        self._selector.close()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            wait_s = 0.05
            if self._due:
                wait_s = min(wait_s, max(0.0, self._due[0][0] - time.monotonic()))
            for key, _events in self._selector.select(wait_s):
                line, client = key.data
                self._receive(line, client, key.fileobj)
            now = time.monotonic()
            while self._due and self._due[0][0] <= now:
                _at, _order, out, packet, to = heapq.heappop(self._due)
                self._transmit(out, packet, to)

    @staticmethod
    def _transmit(out: socket.socket, packet: bytes, to: Address | None) -> None:
        try:
            if to is None:
                out.send(packet)
            else:
                out.sendto(packet, to)
        except OSError:
            pass  # a dead BMC refuses, a closed client is gone: the network does not care

    def _receive(self, line: Line, client: Address | None, source: socket.socket) -> None:
        try:
            packet, sender = source.recvfrom(DATAGRAM_BYTES_MAX)
        except OSError:
            return  # "connection refused" of an earlier packet to a dead BMC
        if client is None:
            line.count(packet)
            if line.garbage:
                self._later(line, line.listening, self._nonsense(packet), sender)
            elif line.passes(answer=False):
                self._later(line, self._upstream(line, sender), packet, None)
        elif line.passes(answer=True):
            self._later(line, line.listening, packet, client)

    def _later(self, line: Line, out: socket.socket, packet: bytes, to: Address | None) -> None:
        at = time.monotonic() + line.delay_s
        heapq.heappush(self._due, (at, next(self._order), out, packet, to))

    def _upstream(self, line: Line, client: Address) -> socket.socket:
        known = line.upstream.get(client)
        if known is not None:
            return known
        if len(line.upstream) >= CLIENTS_MAX:
            oldest = line.upstream.pop(next(iter(line.upstream)))
            self._selector.unregister(oldest)
            oldest.close()
        upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        upstream.setblocking(False)
        upstream.connect(line.back)
        line.upstream[client] = upstream
        self._selector.register(upstream, selectors.EVENT_READ, (line, client))
        return upstream

    def _nonsense(self, request: bytes) -> bytes:
        """What no BMC should answer: noise, echoes, headers without a body, bodies cut short."""
        rmcp = b"\x06\x00\xff\x07"
        noise = self._random.randbytes(self._random.randrange(1, 80))
        choices = (
            noise,
            rmcp,
            rmcp + b"\x06",
            rmcp + b"\x00" + bytes(9) + b"\x03\x81\x1c\x63",
            request,
            rmcp + b"\x00" + noise,
            rmcp + b"\x06\x11" + noise,
            rmcp + b"\x00" + bytes(8) + b"\x08\x81\x1c\x63\x20\x00\x38\x00\xa8",
        )
        return choices[next(self._mad) % len(choices)]
