"""Who the machine behind a BMC is: its system UUID in three byte orders, and its serial number,
which is expensive to read and kept.

A FRU inventory takes some hundred commands on a slow BMC. It is read when nothing is known of a
BMC, when the BMC shows another system GUID than before, before a change when it was not read
lately, and then every few hours; never in each sweep. Nothing here speaks to a BMC.
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from metalwright.drivers.ipmi_fru import FruSerials

FRU_KEPT_S: Final = 6 * 3_600.0
"""How long a serial number counts while the system GUID stays the same."""

FRU_KEPT_WITHOUT_GUID_S: Final = 1_800.0
"""The same for a BMC that shows no system GUID: nothing cheap tells that it is another machine."""

FRU_SURE_S: Final = 600.0
"""Before a change the serial number must have been read within this time."""

FRU_SURE_WITHOUT_GUID_S: Final = 30.0
"""The same for a BMC that shows no system GUID: it must have been read for this change."""

BMCS_MAX: Final = 20_000


def system_uuid_of(guid: bytes, declared: str | None) -> str | None:
    """The system UUID as SMBIOS tools print it, from the 16 bytes of Get System GUID.

    IPMI 2.0 (20.8) sends a GUID least significant byte first; many BMCs send the SMBIOS structure
    as it is (DSP0134: three little-endian fields first), others the order of RFC 4122. The bytes do
    not say which. Where one of the three readings is the one that git declares, the machine is that
    one; else the SMBIOS reading stands. All zeros or all ones mean that nobody set it.
    """
    if not is_set(guid):
        return None
    smbios = str(uuid.UUID(bytes_le=guid))
    readings = (smbios, str(uuid.UUID(bytes=guid)), str(uuid.UUID(bytes=guid[::-1])))
    return declared if declared in readings else smbios


def guids_of(declared: str) -> tuple[bytes, ...]:
    """The 16 bytes that a BMC may send for a declared system UUID."""
    value = uuid.UUID(declared)
    return value.bytes_le, value.bytes, value.bytes[::-1]


def is_set(guid: bytes) -> bool:
    """Whether anybody gave the machine this GUID."""
    return len(guid) == 16 and guid not in (bytes(16), b"\xff" * 16)


@dataclass(frozen=True, slots=True)
class _Read:
    at: float
    guid: bytes
    serials: FruSerials


class Serials:
    """The serial numbers that were read, by BMC. Safe to call from many threads."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._read: OrderedDict[str, _Read] = OrderedDict()

    def kept(self, bmc: str, guid: bytes) -> FruSerials:
        """What was read last, however long ago, where it is about the machine with this GUID."""
        with self._lock:
            read = self._read.get(bmc)
            return read.serials if read is not None and read.guid == guid else FruSerials()

    def valid_for(self, bmc: str, *, sure: bool = False) -> bytes | None:
        """The GUID with which what is kept counts now; `None` when it has to be read whatever the
        GUID is. `sure`: for a change.
        """
        with self._lock:
            read = self._read.get(bmc)
            if read is None:
                return None
            if is_set(read.guid):
                kept_s = FRU_SURE_S if sure else FRU_KEPT_S
            else:
                kept_s = FRU_SURE_WITHOUT_GUID_S if sure else FRU_KEPT_WITHOUT_GUID_S
            return read.guid if self._monotonic() - read.at < kept_s else None

    def keep(self, bmc: str, guid: bytes, serials: FruSerials) -> None:
        """Remember what was read just now."""
        with self._lock:
            self._read[bmc] = _Read(self._monotonic(), guid, serials)
            self._read.move_to_end(bmc)
            while len(self._read) > BMCS_MAX:
                self._read.popitem(last=False)
