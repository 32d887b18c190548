"""Checks from outside, against real sockets on loopback: what answers well, badly, late, or not."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from metalwright.model.checks import Check, Http, PhoneHome, Ping, Scheme, Ssh
from metalwright.observe.echo import NOT_ALLOWED, echoes
from metalwright.observe.probes import LINE_MAX, SHOWN_MAX, probe

HOME = "127.0.0.1"


def may_ping() -> bool:
    try:
        echoes(socket.AF_INET, HOME, 1, time.monotonic() + 1)
    except PermissionError:
        return False
    return True


@contextmanager
def serving(talk: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server on a port of its own that does this with each connection."""
    with socket.create_server((HOME, 0)) as server:
        server.settimeout(20)
        ended = threading.Event()

        def accept() -> None:
            while not ended.is_set():
                try:
                    channel, _ = server.accept()
                except OSError:
                    return
                with channel:
                    channel.settimeout(20)
                    try:
                        talk(channel)
                    except OSError:
                        continue  # the other side has heard enough

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        ended.set()


def says(*texts: bytes, pause_s: float = 0.0) -> Callable[[socket.socket], None]:
    def talk(channel: socket.socket) -> None:
        for text in texts:
            channel.sendall(text)
            time.sleep(pause_s)

    return talk


def ssh(port: int, timeout: int = 5) -> Check:
    return Check(name="ssh", timeout=timeout, ssh=Ssh(port=port))


@pytest.fixture
def closed() -> int:
    """A port that nobody listens at."""
    with socket.create_server((HOME, 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize(
    ("banner", "said"),
    [
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), ""),
        ((b"SS", b"H-2.0-x", b"\r\n"), ""),
        ((b"Only for the lab.\r\n", b"Be kind.\r\nSSH-1.99-old\r\n"), ""),
        ((b"220 mail.lab ESMTP\r\n",), "no SSH server: it says '220 mail.lab ESMTP'"),
        ((b"SSH-2.0-cut off",), ""),
        ((), "no SSH server: it says nothing"),
        ((b"x" * (LINE_MAX + 10),), f"no SSH server: it says {'x' * SHOWN_MAX!r}"),
        ((b"\x00\x1b[31m\xff\r\n",), "no SSH server: it says '[31m\ufffd'"),
    ],
)
def test_an_ssh_server_is_known_by_its_banner(banner: tuple[bytes, ...], said: str) -> None:
    with serving(says(*banner)) as port:
        assert probe(ssh(port), HOME) == said


def test_nobody_listens(closed: int) -> None:
    assert probe(ssh(closed), HOME) == "connection refused"
    web = Check(name="web", http=Http(port=closed))
    assert probe(web, HOME) == "connection refused"


def test_a_server_that_says_nothing_does_not_hold_us_longer_than_the_time_out() -> None:
    with serving(lambda channel: time.sleep(3)) as port:
        began = time.monotonic()
        assert probe(ssh(port, timeout=1), HOME) == f"no answer from {HOME} within 1 s"
        assert time.monotonic() - began < 2


def test_nor_does_one_that_drips() -> None:
    drops = [b"x"] * 40
    with serving(says(*drops, pause_s=0.1)) as port:
        began = time.monotonic()
        assert probe(ssh(port, timeout=1), HOME) == f"no answer from {HOME} within 1 s"
        assert time.monotonic() - began < 2


def test_a_name_that_nobody_knows_is_told() -> None:
    said = probe(ssh(22), "no-such-machine.invalid")
    assert said.startswith("no-such-machine.invalid: ")


class Web(BaseHTTPRequestHandler):
    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers["Host"]))
        self.send_response(302 if self.path == "/moved" else 200 if self.path == "/ok" else 503)
        self.send_header("Location", "/ok")
        self.end_headers()

    def log_message(self, *_arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def web(certificate: Path | None = None) -> Iterator[tuple[int, list[tuple[str, str | None]]]]:
    asked: list[tuple[str, str | None]] = []
    handler = type("Handler", (Web,), {"asked": asked})
    with ThreadingHTTPServer((HOME, 0), handler) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], asked
        server.shutdown()


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/ok", 200, ""),
        ("/ok", 204, "status 200"),
        ("/bad", 200, "status 503"),
        ("/bad", 503, ""),
        ("/moved", 200, "status 302"),
        ("/moved", 302, ""),
    ],
)
def test_a_web_server_is_asked_for_its_status(path: str, status: int, said: str) -> None:
    with web() as (port, asked):
        check = Check(name="web", http=Http(port=port, path=path, status=status))
        assert probe(check, HOME) == said
        assert asked == [(path, f"{HOME}:{port}")]


def test_a_web_server_with_a_certificate_that_nobody_knows(tmp_path: Path) -> None:
    certificate = tmp_path / "server.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=somebody-else"
    files = ["-keyout", str(certificate), "-out", str(tmp_path / "c.pem")]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True, timeout=60)
    certificate.write_bytes(certificate.read_bytes() + (tmp_path / "c.pem").read_bytes())
    with web(certificate) as (port, _asked):
        secure = Http(port=port, path="/ok", scheme=Scheme.HTTPS)
        assert probe(Check(name="web", http=secure), HOME) == ""
        plain = probe(Check(name="web", http=Http(port=port), timeout=2), HOME)
        assert plain  # TLS does not speak HTTP in the clear


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"hello\r\n", "no web server: it says 'hello'"),
        (b"HTTP/1.1\r\n", "no web server: it says 'HTTP/1.1'"),
        (b"", "no web server: it says nothing"),
    ],
)
def test_what_is_no_web_server(text: bytes, said: str) -> None:
    def talk(channel: socket.socket) -> None:
        channel.recv(4_096)
        channel.sendall(text)

    with serving(talk) as port:
        assert probe(Check(name="web", http=Http(port=port)), HOME) == said


def test_tls_is_not_spoken_by_everybody() -> None:
    with serving(says(b"no TLS here\r\n")) as port:
        check = Check(name="web", http=Http(port=port, scheme=Scheme.HTTPS), timeout=3)
        assert probe(check, HOME).startswith(f"{HOME}: ")


@pytest.mark.skipif(not may_ping(), reason=NOT_ALLOWED)
def test_a_machine_that_answers_pings() -> None:
    assert probe(Check(name="ping", ping=Ping(count=3)), HOME) == ""
    assert probe(Check(name="ping", ping=Ping()), "localhost") == ""


@pytest.mark.skipif(not may_ping(), reason=NOT_ALLOWED)
def test_a_machine_that_answers_no_ping() -> None:
    silent = Check(name="ping", timeout=1, ping=Ping(count=2))
    began = time.monotonic()
    with nobody() as address:
        said = probe(silent, address)
    assert said == f"no answer from {address} to echo request 1 of 2"
    assert 0.9 < time.monotonic() - began < 3


@contextmanager
def nobody() -> Iterator[str]:
    """An address that leads to loopback, where nobody has it: what is sent there is dropped."""
    address = "192.0.2.77"
    route = ["ip", "route", "add", f"{address}/32", "dev", "lo"]
    done = subprocess.run(route, capture_output=True, timeout=20, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(route)}: {done.stderr.decode().strip()}")
    try:
        yield address
    finally:
        route[2] = "del"
        subprocess.run(route, capture_output=True, timeout=20, check=True)


def test_what_is_not_made_from_outside_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="is not made from outside"):
        probe(Check(name="home", phone_home=PhoneHome()), HOME)
