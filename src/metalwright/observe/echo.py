"""ICMP echo: does an address answer? One request and its reply, over IPv4 or IPv6.

Linux lets unprivileged processes do this by a datagram socket (`net.ipv4.ping_group_range`, since
3.0; the kernel then keeps the identifier and the checksum). Where that is closed, a raw socket is
tried, which takes CAP_NET_RAW. The one library for it that is in use, icmplib, had its last release
in 2023; what is needed of it is below.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import Final

_REQUEST: Final = {socket.AF_INET: 8, socket.AF_INET6: 128}
_REPLY: Final = {socket.AF_INET: 0, socket.AF_INET6: 129}
_PROTOCOL: Final = {
    socket.AF_INET: socket.IPPROTO_ICMP,
    socket.AF_INET6: socket.IPPROTO_ICMPV6,
}
_HEADER: Final = struct.Struct("!BBHHH")
_DATAGRAM_MAX: Final = 2_048
_NONCE_BYTES: Final = 16

NOT_ALLOWED: Final = (
    "this process may not send ICMP echo requests; widen net.ipv4.ping_group_range or give it"
    " CAP_NET_RAW"
)


def echoes(family: socket.AddressFamily, address: str, number: int, ends: float) -> bool:
    """Whether the address answers the echo request of this number before `ends` (monotonic).

    A reply counts by the 128 random bits that it carries back, not by its identifier: raw sockets
    see the replies of everybody. RFC 792; RFC 4443, section 4.

    Raises:
        PermissionError: neither kind of socket is allowed.
        OSError: the network refuses it, such as an address without a route.
    """
    nonce = os.urandom(_NONCE_BYTES)
    with _opened(family) as channel:
        request = _packet(_REQUEST[family], number, nonce)
        channel.connect((address, 0))
        channel.send(request)
        while (left_s := ends - time.monotonic()) > 0:
            channel.settimeout(left_s)
            try:
                heard = channel.recv(_DATAGRAM_MAX)
            except TimeoutError:
                return False
            if channel.type == socket.SOCK_RAW and family == socket.AF_INET:
                heard = heard[(heard[0] & 15) * 4 :] if heard else b""
            if heard[:1] == bytes((_REPLY[family],)) and heard[_HEADER.size :] == nonce:
                return True
    return False


def _opened(family: socket.AddressFamily) -> socket.socket:
    protocol = _PROTOCOL[family]
    try:
        return socket.socket(family, socket.SOCK_DGRAM, protocol)
    except PermissionError:
        pass
    try:
        return socket.socket(family, socket.SOCK_RAW, protocol)
    except PermissionError as error:
        raise PermissionError(NOT_ALLOWED) from error


def _packet(kind: int, number: int, payload: bytes) -> bytes:
    """An echo request with its checksum; for IPv6 the kernel puts in its own."""
    identifier = os.getpid() & 0xFFFF
    bare = _HEADER.pack(kind, 0, 0, identifier, number & 0xFFFF) + payload
    return _HEADER.pack(kind, 0, _checksum(bare), identifier, number & 0xFFFF) + payload


def _checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(word for (word,) in struct.iter_unpack("!H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
