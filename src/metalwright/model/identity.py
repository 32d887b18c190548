"""Is this the machine that git declares? Asked before anything that destroys data.

A swapped cable, a replaced board or a copied address makes a BMC answer for another machine. The
comparison never guesses: what was not read, or not declared, is unknown, and unknown is no match.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import StrEnum

from metalwright.model.hardware import NodeSpec
from metalwright.model.observed import Identity


class Match(StrEnum):
    """What a comparison of identities came to."""

    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityCheck:
    """The result, and in words what differs or what is missing."""

    match: Match
    message: str = ""


def compare_identity(declared: NodeSpec, read: Identity) -> IdentityCheck:
    """Compare every part that is both declared and read: one that differs decides, one that agrees
    suffices.

    Of the interfaces only those that git boots from count: the others come and go.
    """
    agreed = False
    boots = {nic.mac.lower() for nic in declared.nics if nic.boot}
    pairs = (
        ("serial", declared.serial, read.serial, _same_serial),
        ("system UUID", declared.system_uuid, read.system_uuid, _same_uuid),
    )
    for name, wanted, found, same in pairs:
        if not wanted or not found:
            continue
        if not same(wanted, found):
            message = f"the {name} is {found}, git declares {wanted}"
            return IdentityCheck(match=Match.OTHER, message=message)
        agreed = True
    if boots and read.macs:
        missing = boots - {mac.lower() for mac in read.macs}
        if missing:
            message = f"it has no boot MAC {', '.join(sorted(missing))}"
            return IdentityCheck(match=Match.OTHER, message=message)
        agreed = True
    if agreed:
        return IdentityCheck(match=Match.SAME)
    if not declared.serial and not declared.system_uuid and not boots:
        message = "git declares no serial, system UUID or boot MAC"
    else:
        message = "the machine told nothing of what git declares of its identity"
    return IdentityCheck(match=Match.UNKNOWN, message=message)


def _same_serial(wanted: str, found: str) -> bool:
    return wanted.strip().casefold() == found.strip().casefold()


def _same_uuid(wanted: str, found: str) -> bool:
    """Equal, or equal with the first three fields in the other byte order.

    SMBIOS before 2.6 and IPMI's Get System GUID do not agree on it, and BMCs of one vendor do not
    either.
    """
    try:
        first, second = uuid.UUID(wanted), uuid.UUID(found)
    except ValueError:
        return wanted.strip().casefold() == found.strip().casefold()
    return second.bytes in (first.bytes, first.bytes_le)
