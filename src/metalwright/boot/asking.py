"""What a request may look like: who it claims to come from, and a body of limited size and time."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from starlette.requests import ClientDisconnect, Request

from metalwright.model.boot import Claimed

SERIAL_MAX: Final = 64
ASKED_MAX: Final = 1_000

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class BadRequestError(ValueError):
    """A request that is not understood; `status` is that of the answer, the text is ours alone."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def claimed(query: Mapping[str, str]) -> Claimed:
    """Who the query says that it comes from; what is empty was not said.

    Raises:
        BadRequestError: a MAC or UUID that is none, or a serial number that nobody has.
    """
    mac = query.get("mac", "").lower().replace("-", ":")
    system_uuid = query.get("uuid", "").lower()
    serial = query.get("serial", "").strip()
    if mac and not _MAC.fullmatch(mac):
        raise BadRequestError(400, "mac is no MAC address")
    if system_uuid and not _UUID.fullmatch(system_uuid):
        raise BadRequestError(400, "uuid is no UUID")
    if len(serial) > SERIAL_MAX or not serial.isprintable():
        raise BadRequestError(400, "serial is no serial number")
    return Claimed(mac=mac or None, system_uuid=system_uuid or None, serial=serial or None)


def asked(query: Mapping[str, str]) -> int:
    """How often the machine was told to wait already; what is no number counts as often."""
    given = query.get("n", "0")
    return min(int(given), ASKED_MAX) if given.isascii() and given.isdigit() else ASKED_MAX


async def body_of(request: Request, bytes_max: int, timeout_s: float) -> bytes:
    """The body, within a size and a time.

    Raises:
        BadRequestError: it is larger, slower, or was broken off.
    """
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length) > bytes_max:
        raise BadRequestError(413, f"the body has more than {bytes_max} bytes")
    parts, size = [], 0
    try:
        async with asyncio.timeout(timeout_s):
            async for part in request.stream():
                size += len(part)
                if size > bytes_max:
                    raise BadRequestError(413, f"the body has more than {bytes_max} bytes")
                parts.append(part)
    except TimeoutError as error:
        raise BadRequestError(408, "the body took too long") from error
    except ClientDisconnect as error:
        raise BadRequestError(400, "the body was broken off") from error
    return b"".join(parts)
