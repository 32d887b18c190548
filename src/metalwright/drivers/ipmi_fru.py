"""The serial numbers in a FRU inventory: of the chassis, the board and the product.

Intel, "Platform Management FRU Information Storage Definition", v1.0 rev. 1.3. Vendors fill it as
they like: checksums are wrong, areas are missing, serials are blank or zeros. What cannot be read
is nothing, never an error. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

HEADER_BYTES: Final = 8
CHASSIS, BOARD, PRODUCT = 2, 3, 4
"""Where the common header has the offset of each area, in units of eight bytes."""

_FIELDS_BEGIN: Final = {CHASSIS: 3, BOARD: 6, PRODUCT: 3}
"""Behind version, length, and the chassis type or the language (and the board's date)."""

_SERIAL_FIELD: Final = {CHASSIS: 1, BOARD: 2, PRODUCT: 4}
"""Which type/length field is the serial number, counted from 0."""

_END_OF_FIELDS: Final = 0xC1
_BCD_PLUS: Final = "0123456789 -.???"
_BLANK: Final = frozenset({"", "0", "none", "n/a", "na", "unknown", "empty", "notspecified"})
_BLANK_TEXTS: Final = frozenset({"tobefilledbyo.e.m.", "defaultstring", "systemserialnumber"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FruSerials:
    """What a FRU inventory says; `None` where it says nothing of use."""

    product: str | None = None
    chassis: str | None = None
    board: str | None = None

    def told(self, declared: str | None) -> str | None:
        """The serial number of the machine: the declared one where any of them is that, else the
        product's, the chassis' or the board's, in this order.
        """
        found = [each for each in (self.product, self.chassis, self.board) if each is not None]
        wanted = declared.strip().casefold() if declared else ""
        if wanted in {each.casefold() for each in found}:
            return declared
        return found[0] if found else None


def area_offsets(header: bytes) -> dict[int, int]:
    """The offset in bytes of each of the three areas that the common header names."""
    if len(header) < HEADER_BYTES or header[0] & 0x0F != 1:
        return {}
    return {area: header[area] * 8 for area in (CHASSIS, BOARD, PRODUCT) if header[area]}


def serials_of(fru: bytes) -> FruSerials:
    """The serial numbers in the bytes of a FRU inventory; zeros where bytes were not read."""
    found = {
        area: _serial(fru[offset : offset + fru[offset + 1] * 8], area)
        for area, offset in area_offsets(fru).items()
        if offset + 2 <= len(fru)
    }
    return FruSerials(
        product=found.get(PRODUCT), chassis=found.get(CHASSIS), board=found.get(BOARD)
    )


def _serial(area: bytes, kind: int) -> str | None:
    for number, (code, raw) in enumerate(_fields(area, _FIELDS_BEGIN[kind])):
        if number == _SERIAL_FIELD[kind]:
            return _useful(_text(code, raw))
    return None


def _fields(area: bytes, begin: int) -> Iterator[tuple[int, bytes]]:
    at = begin
    while at < len(area) and area[at] != _END_OF_FIELDS:
        length = area[at] & 0x3F
        yield area[at] >> 6, area[at + 1 : at + 1 + length]
        at += 1 + length


def _text(code: int, raw: bytes) -> str:
    """The text of a field, by its type code (section 13)."""
    if code == 0:
        return raw.hex()
    if code == 1:
        return "".join(_BCD_PLUS[each >> 4] + _BCD_PLUS[each & 15] for each in raw)
    if code == 2:
        number = int.from_bytes(raw, "little")
        return "".join(chr(0x20 + (number >> 6 * n & 0x3F)) for n in range(len(raw) * 8 // 6))
    return raw.decode("latin-1")


def _useful(text: str) -> str | None:
    """The serial number, unless it is one of those that mean that nobody set it."""
    shown = "".join(each for each in text if each.isprintable()).strip()
    bare = shown.casefold().replace(" ", "")
    if bare in _BLANK or bare in _BLANK_TEXTS or not bare.strip("0x.-_"):
        return None
    return shown
