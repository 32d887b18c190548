"""Is the hardware what git declares, and which of its disks may be touched? Pure.

Asked on the machine's own report, by the ramdisk, in the minute before it would wipe or install.
The answer is never a guess: a machine with one disk too few, one too many or one of another serial
than git declares is not touched at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Disk, NodeSpec
from metalwright.model.identity import Match, compare_identity
from metalwright.model.report import DiskFact, Facts

SIZE_TOLERANCE = 0.1
"""How far a disk's or the memory's size may be from the declared one: makers count in powers of
ten, firmware keeps a share of the memory for itself."""

LOCAL: Final = "local"
"""The transport of a disk that nobody else can reach."""

MIB_PER_GIB = 1_024

_ARCHITECTURES: Final[Mapping[str, str]] = FrozenDict(
    {"amd64": "x86_64", "x86-64": "x86_64", "x64": "x86_64", "arm64": "aarch64"}
)
"""Other names of what Linux calls a machine (uname -m)."""

_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disks:
    """The disks that may be touched, or the reason why none may; one of the two."""

    found: tuple[DiskFact, ...] = ()
    refused: str = ""


def differences(spec: NodeSpec, facts: Facts) -> tuple[str, ...]:
    """What the machine has otherwise than git declares, in words; what either does not say is no
    difference.
    """
    properties = spec.properties
    said: list[str] = []
    identity = compare_identity(spec, facts.identity)
    if identity.match is Match.OTHER:
        said.append(identity.message)
    words = (
        ("vendor", properties.vendor, facts.vendor, _same_words),
        ("model", properties.model, facts.model, _same_words),
        ("CPU architecture", properties.cpu_arch, facts.cpu_arch, _same_architecture),
    )
    for name, wanted, found, same in words:
        if wanted is not None and found is not None and not same(wanted, found):
            said.append(f"the {name} is {found}, git declares {wanted}")
    if None not in (properties.cpus, facts.cpus) and properties.cpus != facts.cpus:
        said.append(f"the number of CPUs is {facts.cpus}, git declares {properties.cpus}")
    if properties.memory_gib is not None and facts.memory_mib is not None:
        wanted_mib = properties.memory_gib * MIB_PER_GIB
        if not _is_near(facts.memory_mib, wanted_mib):
            said.append(f"it has {facts.memory_mib} MiB of memory, git declares {wanted_mib}")
    macs = {nic.mac.lower() for nic in facts.nics}
    if macs:
        missing = sorted({nic.mac for nic in spec.nics} - macs)
        said += [f"it has no interface with MAC {mac}" for mac in missing]
    refused = _refused(properties.disks, facts.disks)
    if refused:
        said.append(refused)
    return tuple(said)


def disks_to_wipe(spec: NodeSpec, facts: Facts) -> Disks:
    """All disks of the machine, when it is the declared one and has nothing that git declares
    otherwise.

    Where git declares no disks, they are those that are not reached over a network or a plug: a
    machine that sees a disk of others has to say which are its own.
    """
    check = compare_identity(spec, facts.identity)
    if check.match is not Match.SAME:
        return Disks(refused=check.message)
    if not facts.disks:
        return Disks(refused="the machine reports no disk")
    refused = "; ".join(differences(spec, facts)) or _of_others(spec.properties.disks, facts.disks)
    return Disks(refused=refused) if refused else Disks(found=facts.disks)


def disk_to_install(spec: NodeSpec, facts: Facts) -> Disks:
    """The one disk that an image is written to: the first that git declares, or the only one."""
    every = disks_to_wipe(spec, facts)
    if every.refused or len(every.found) == 1:
        return every
    declared = spec.properties.disks
    if not declared:
        count = len(every.found)
        return Disks(refused=f"it has {count} disks and git declares none: which one is meant?")
    first = [fact for fact in every.found if _is(declared[0], fact)]
    if len(first) != 1:
        words = f"the first that git declares ({_words(declared[0])})"
        return Disks(refused=f"{len(first)} disks are like {words}; its serial would tell")
    return Disks(found=tuple(first))


def _refused(declared: tuple[Disk, ...], found: tuple[DiskFact, ...]) -> str:
    """Why the disks found are not those declared, or nothing; without a declaration all are."""
    if not declared:
        return ""
    left = list(found)
    # Those with a serial choose first: one without could take their disk away.
    for disk in sorted(declared, key=lambda disk: disk.serial is None):
        fitting = next((fact for fact in left if _is(disk, fact)), None)
        if fitting is None:
            has = (
                ", ".join(f"{each.name} ({each.serial or 'no serial'})" for each in left) or "none"
            )
            return f"it has no disk {_words(disk)}, as git declares; it has {has}"
        left.remove(fitting)
    if left:
        more = ", ".join(f"{each.name} ({each.serial or 'no serial'})" for each in left)
        return f"it has a disk that git does not declare: {more}"
    return ""


def _of_others(declared: tuple[Disk, ...], found: tuple[DiskFact, ...]) -> str:
    """Why a disk may be somebody else's, or nothing. Where nothing is said of it, it may be."""
    if declared:
        return ""
    for fact in found:
        if fact.transport != LOCAL:
            how = f"is reached by {fact.transport}" if fact.transport else "may be anybody's"
            return (
                f"git declares no disks, and {fact.name} ({fact.serial or 'no serial'}) {how}:"
                " declare the machine's own disks"
            )
    return ""


def _same_words(wanted: str, found: str) -> bool:
    """Whether one of them holds the other's words, in a row: `Dell` is `Dell Inc.`, and `R640` is
    `PowerEdge R640`, but no `R6400`.
    """
    first, second = (f" {' '.join(_WORD.findall(each.casefold()))} " for each in (wanted, found))
    return first in second or second in first


def _same_architecture(wanted: str, found: str) -> bool:
    first, second = (each.strip().casefold() for each in (wanted, found))
    return _ARCHITECTURES.get(first, first) == _ARCHITECTURES.get(second, second)


def _is_near(found_mib: int, wanted_mib: int) -> bool:
    """Firmware and kernel keep a share of the memory; whoever declared what a tool showed may have
    left out a part of a GiB.
    """
    more = max(wanted_mib * SIZE_TOLERANCE, MIB_PER_GIB - 1)
    return wanted_mib * (1 - SIZE_TOLERANCE) <= found_mib <= wanted_mib + more


def _is(disk: Disk, fact: DiskFact) -> bool:
    if disk.serial is not None and (fact.serial or "").strip() != disk.serial.strip():
        return False
    if disk.size_gb is not None:
        wanted = disk.size_gb * 1_000_000_000
        near = fact.bytes is not None and abs(fact.bytes - wanted) <= wanted * SIZE_TOLERANCE
        if not near:
            return False
    return disk.rotational is None or disk.rotational == fact.rotational


def _words(disk: Disk) -> str:
    parts = []
    if disk.serial is not None:
        parts.append(f"with serial {disk.serial}")
    if disk.size_gb is not None:
        parts.append(f"of {disk.size_gb} GB")
    if disk.rotational is not None:
        parts.append("that turns" if disk.rotational else "that does not turn")
    return " ".join(parts) or "at all"
