"""Makes FRU inventories, from the specification and not from the code that reads them."""

from __future__ import annotations


def text_field(value: str | bytes) -> bytes:
    """One type/length field: text as 8-bit ASCII, or bytes as they are, type and length included.

    One character would look like the end of the fields (0xC1), so it gets a blank.
    """
    if isinstance(value, bytes):
        return value
    raw = value.encode("ascii")
    if len(raw) == 1:
        raw += b" "
    return bytes((0xC0 | len(raw),)) + raw


def area(head: bytes, fields: list[str | bytes]) -> bytes:
    """One area: version, length, `head`, fields, end, padding and checksum."""
    body = head + b"".join(text_field(each) for each in fields) + b"\xc1"
    blocks = (2 + len(body) + 1 + 7) // 8
    whole = bytes((1, blocks)) + body
    whole += bytes(blocks * 8 - 1 - len(whole))
    return whole + bytes((-sum(whole) & 0xFF,))


def fru_of(
    *,
    chassis: str | bytes | None = None,
    board: str | bytes | None = None,
    product: str | bytes | None = None,
    padding: int = 0,
) -> bytes:
    """A whole inventory with the serial numbers that are given, `padding` bytes between areas."""
    areas = [
        area(b"\x17", ["part", chassis]) if chassis is not None else b"",
        area(b"\x19\0\0\0", ["maker", "board", board, "part"]) if board is not None else b"",
        area(b"\x19", ["maker", "product", "model", "version", product, "tag"])
        if product is not None
        else b"",
    ]
    at, offsets, body = 8, [], b""
    for each in areas:
        offsets.append(at // 8 if each else 0)
        body += each + (bytes(padding) if each else b"")
        at = 8 + len(body)
    header = bytes((1, 0, *offsets, 0, 0))
    return header + bytes((-sum(header) & 0xFF,)) + body
