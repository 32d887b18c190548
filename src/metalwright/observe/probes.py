"""Checks that are made from outside: ping, the banner of an SSH server, the status of a web server.

Each ends within its time-out, whatever the other side sends and however slowly; only the look-up of
a name is as long as the resolver's own limits. Nobody logs in, nothing is changed, and no more is
read than the line that decides.
"""

from __future__ import annotations

import socket
import ssl
import time
from typing import Final

from metalwright.model.checks import Check, Http, Ping, Scheme, Ssh
from metalwright.observe.echo import echoes

LINE_MAX: Final = 8_192
"""Bytes that are read in search of a line; RFC 4253 lets lines come before the banner."""

SHOWN_MAX: Final = 80
"""Characters of what a server said that are told."""


def probe(check: Check, address: str) -> str:
    """Why the machine at this address does not pass; empty when it does.

    Raises:
        ValueError: the check is none that is made from outside.
    """
    ends = time.monotonic() + check.timeout
    try:
        match check.probe:
            case Ping(count=count):
                return _ping(address, count, ends)
            case Ssh(port=port):
                return _ssh(address, port, ends)
            case Http() as http:
                return _http(address, http, ends)
    except TimeoutError:
        return f"no answer from {address} within {check.timeout} s"
    except ConnectionRefusedError:
        return "connection refused"
    except socket.gaierror as error:
        return f"{address}: {error.strerror}"
    except OSError as error:
        return f"{address}: {error.strerror or error}"
    raise ValueError(f"{check.name} is not made from outside")


def _ping(address: str, count: int, ends: float) -> str:
    family, host = _resolved(address)
    for number in range(1, count + 1):
        if not echoes(family, host, number, ends):
            lost = f" to echo request {number} of {count}" if count > 1 else ""
            return f"no answer from {address}{lost}"
    return ""


def _resolved(address: str) -> tuple[socket.AddressFamily, str]:
    """The first address of a name. Raises OSError."""
    found = socket.getaddrinfo(address, None, type=socket.SOCK_DGRAM)
    family, _type, _protocol, _name, at = found[0]
    return family, str(at[0])


def _ssh(address: str, port: int, ends: float) -> str:
    with _connected(address, port, ends) as channel:
        found = _line(channel, b"SSH-", ends)
    return "" if found.startswith("SSH-") else f"no SSH server: it says {_shown(found)}"


def _http(address: str, http: Http, ends: float) -> str:
    secure = http.scheme is Scheme.HTTPS
    port = http.port or (443 if secure else 80)
    host = f"[{address}]" if ":" in address else address
    request = (
        f"GET {http.path} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        "User-Agent: metalwright\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    with (
        _connected(address, port, ends) as plain,
        _wrapped(plain, address) if secure else plain as channel,
    ):
        channel.sendall(request.encode())
        found = _line(channel, b"HTTP/", ends)
    words = found.split(maxsplit=2)
    if len(words) < 2 or not words[0].startswith("HTTP/"):
        return f"no web server: it says {_shown(found)}"
    return "" if words[1] == str(http.status) else f"status {words[1][:SHOWN_MAX]}"


def _wrapped(plain: socket.socket, address: str) -> ssl.SSLSocket:
    """TLS without a look at the certificate: a machine that was just made has none that anybody
    knows, and nothing is told to it.
    """
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=address)


def _connected(address: str, port: int, ends: float) -> socket.socket:
    return socket.create_connection((address, port), timeout=_left_s(ends))


def _line(channel: socket.socket, begins: bytes, ends: float) -> str:
    """The first line that begins so, else all that was read: up to `LINE_MAX` bytes."""
    read = b""
    while len(read) < LINE_MAX:
        channel.settimeout(_left_s(ends))
        more = channel.recv(LINE_MAX - len(read))
        read += more
        *lines, _rest = read.split(b"\n")
        for line in lines:
            if line.startswith(begins):
                return line.decode("ascii", "replace").strip()
        if not more:
            break
    return read.decode("ascii", "replace").strip()


def _left_s(ends: float) -> float:
    left_s = ends - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _shown(text: str) -> str:
    seen = "".join(each if each.isprintable() else " " for each in text[:SHOWN_MAX]).strip()
    return repr(seen) if seen else "nothing"
