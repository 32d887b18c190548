"""Is the hardware what git declares, and which of its disks may be touched? Pure.

Asked on the machine's own report, by the ramdisk, in the minute before it would wipe or install.
The answer is never a guess: a machine with one disk too few, one too many or one of another serial
than git declares is not touched at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from metalwright.model.hardware import Disk, NodeSpec
from metalwright.model.identity import Match, compare_identity
from metalwright.model.report import DiskFact, Facts

SIZE_TOLERANCE = 0.1
"""How far a disk's or the memory's size may be from the declared one: makers count in powers of
ten, firmware keeps a share of the memory for itself."""


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
    words: tuple[tuple[str, object, object], ...] = (
        ("vendor", properties.vendor, facts.vendor),
        ("model", properties.model, facts.model),
        ("CPU architecture", properties.cpu_arch, facts.cpu_arch),
        ("number of CPUs", properties.cpus, facts.cpus),
    )
    for name, wanted, found in words:
        if wanted is not None and found is not None and str(wanted) != str(found):
            said.append(f"the {name} is {found}, git declares {wanted}")
    if properties.memory_gib is not None and facts.memory_mib is not None:
        wanted_mib = properties.memory_gib * 1_024
        if not wanted_mib * (1 - SIZE_TOLERANCE) <= facts.memory_mib <= wanted_mib:
            said.append(f"it has {facts.memory_mib} MiB of memory, git declares {wanted_mib}")
    macs = {nic.mac.lower() for nic in facts.nics}
    if macs:
        missing = sorted({nic.mac for nic in spec.nics} - macs)
        said += [f"it has no interface with MAC {mac}" for mac in missing]
    if properties.disks:
        refused = _refused(properties.disks, facts.disks)
        if refused:
            said.append(refused)
    return tuple(said)


def disks_to_wipe(spec: NodeSpec, facts: Facts) -> Disks:
    """All disks of the machine, when it is the declared one and has the declared disks.

    Where git declares no disks, the machine's identity has to do.
    """
    check = compare_identity(spec, facts.identity)
    if check.match is not Match.SAME:
        return Disks(refused=check.message)
    if not facts.disks:
        return Disks(refused="the machine reports no disk")
    refused = _refused(spec.properties.disks, facts.disks)
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
