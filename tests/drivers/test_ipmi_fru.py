"""Serial numbers are read from whatever FRU inventory a vendor made, in few commands, bounded."""

from __future__ import annotations

import random

import pytest
from tests.drivers.fru import fru_of

from metalwright.drivers.ipmi_fru import FruSerials, serials_of
from metalwright.drivers.ipmi_reads import FRU_BYTES_MAX, FRU_CHUNK, read_fru
from metalwright.drivers.ipmi_worker import BusyError

WHOLE = FruSerials(product="PRD-1", chassis="CHS-2", board="BRD-3")


class FruBmc:
    """A BMC with a FRU inventory, as `ask` sees it."""

    session = None

    def __init__(self, fru: bytes, *, words: bool = False, gives_at_most: int = 255) -> None:
        self.fru, self.words, self.gives_at_most = fru, words, gives_at_most
        self.reads = 0
        self.broken_from = len(fru)

    def if_known(self, netfn: int, command: int, *data: int) -> bytes:
        return self.unless_busy(netfn, command, *data)

    def unless_busy(self, netfn: int, command: int, *data: int) -> bytes:
        assert netfn == 0x0A
        unit = 2 if self.words else 1
        if command == 0x10:
            return (len(self.fru) // unit).to_bytes(2, "little") + bytes((self.words,))
        self.reads += 1
        begin, count = (data[1] | data[2] << 8) * unit, min(data[3] * unit, self.gives_at_most)
        if begin >= self.broken_from:
            return b""
        found = self.fru[begin : begin + count]
        return bytes((len(found) // unit,)) + found


def test_every_area_is_read_and_nothing_between_them() -> None:
    fru = fru_of(chassis="CHS-2", board="BRD-3", product="PRD-1", padding=64)
    bmc = FruBmc(fru)
    assert serials_of(read_fru(bmc)) == serials_of(fru) == WHOLE
    assert bmc.reads < len(fru) / FRU_CHUNK + 6
    assert serials_of(read_fru(FruBmc(fru, words=True))) == WHOLE
    assert serials_of(read_fru(FruBmc(fru, gives_at_most=8))) == WHOLE


def test_half_of_a_serial_number_is_none() -> None:
    fru = fru_of(chassis="CHS-2", board="BRD-3", product="PRD-1", padding=64)

    class Busy(FruBmc):
        busy_at = 0

        def unless_busy(self, netfn: int, command: int, *data: int) -> bytes:
            if command == 0x11 and self.reads == self.busy_at:
                raise BusyError("FRU busy")
            return super().unless_busy(netfn, command, *data)

    whole = FruBmc(fru)
    read_fru(whole)
    for number in range(whole.reads):
        bmc = Busy(fru)
        bmc.busy_at = number
        with pytest.raises(BusyError):
            read_fru(bmc)


def test_what_a_vendor_left_out_is_nothing() -> None:
    assert serials_of(fru_of(board="B")) == FruSerials(board="B")
    assert serials_of(fru_of()) == FruSerials()
    for blank in ("", " ", "0000000", "To Be Filled By O.E.M.", "N/A", "None", "Default string"):
        assert serials_of(fru_of(product=blank, board="B")) == FruSerials(board="B")


def test_every_encoding_is_understood() -> None:
    assert serials_of(fru_of(product=bytes((0x43, 0x12, 0x34, 0xAB)))).product == "1234 -"
    six_bit = bytes((0x83, 0x29, 0xDC, 0xA6))  # section 13.3: "IPMI"
    assert serials_of(fru_of(product=six_bit)).product == "IPMI"
    assert serials_of(fru_of(product=b"\x02\xbe\xef")).product == "beef"


@pytest.mark.parametrize(
    ("declared", "told"),
    [("CHS-2", "CHS-2"), ("brd-3 ", "brd-3 "), ("other", "PRD-1"), (None, "PRD-1")],
)
def test_the_declared_serial_may_be_any_of_them(declared: str | None, told: str) -> None:
    assert WHOLE.told(declared) == told
    assert FruSerials().told(declared) is None


def test_no_bytes_break_it_and_no_bmc_makes_it_read_for_ever() -> None:
    dice = random.Random(7)
    good = fru_of(chassis="CHS-2", board="BRD-3", product="PRD-1")
    for _ in range(2_000):
        broken = bytearray(good)
        for _ in range(dice.randrange(1, 8)):
            broken[dice.randrange(len(broken))] = dice.randrange(256)
        raw = bytes(broken[: dice.randrange(len(broken) + 1)])
        serials_of(raw)
        bmc = FruBmc(raw)
        bmc.broken_from = dice.randrange(len(raw) + 1)
        serials_of(read_fru(bmc))
        assert bmc.reads <= 3 * 255 * 8 / FRU_CHUNK + 8
    endless = FruBmc(b"\x01\0\x01\x01\x01\0\0\xfc" + b"\x01\xff" + b"\xc0" * 65_000)
    assert len(read_fru(endless)) == FRU_BYTES_MAX
    assert endless.reads <= 3 * 255 * 8 / FRU_CHUNK + 8


def test_a_second_implementation_reads_the_same() -> None:
    """pyghmi decodes the same bytes (its FRU parser; we only take its transport)."""
    from pyghmi.ipmi.fru import FRU

    fru = fru_of(chassis="CHS-2", board="BRD-3", product="PRD-1")
    parsed = FRU.__new__(FRU)
    parsed.rawfru, parsed.sdr = bytearray(fru), None
    parsed.parsedata()
    assert {"PRD-1", "CHS-2", "BRD-3"} <= set(map(str, parsed.info.values()))
