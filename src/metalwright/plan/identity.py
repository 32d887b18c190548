"""Whether the machine that answered is the one that git means.

A swapped board, a BMC address typed twice or a cable in another slot makes us wipe somebody else's
machine; so what git and the machine both know of it must agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from metalwright.model.hardware import NodeSpec
from metalwright.model.observed import Identity


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """How many values could be compared, and the contradictions, each as a phrase."""

    compared: int
    contradictions: tuple[str, ...] = ()


def compare(spec: NodeSpec, found: Identity) -> Likeness:
    """Compare serial, system UUID and boot MACs where both git and the machine have them."""
    compared, contradictions = 0, []
    if spec.serial is not None and found.serial is not None:
        compared += 1
        if spec.serial.strip().casefold() != found.serial.strip().casefold():
            contradictions.append(f"serial is {found.serial!r}, git says {spec.serial!r}")
    if spec.system_uuid is not None and found.system_uuid is not None:
        compared += 1
        if not _same_uuid(spec.system_uuid, found.system_uuid):
            contradictions.append(
                f"system UUID is {found.system_uuid}, git says {spec.system_uuid}"
            )
    boot = [nic.mac.lower() for nic in spec.nics if nic.boot]
    if boot and found.macs:
        compared += 1
        there = {mac.lower() for mac in found.macs}
        missing = [mac for mac in boot if mac not in there]
        if missing:
            contradictions.append(f"it has no boot MAC {', '.join(missing)}")
    return Likeness(compared=compared, contradictions=tuple(contradictions))


def _same_uuid(declared: str, found: str) -> bool:
    """Equal in either byte order.

    SMBIOS 2.6 made the first three fields little-endian; IPMI's Get System GUID of many BMCs still
    has them as they lie in memory, so the same machine says it in two ways.
    """
    if declared.lower() == found.lower():
        return True
    try:
        return UUID(bytes_le=UUID(found).bytes) == UUID(declared)
    except ValueError:
        return False
