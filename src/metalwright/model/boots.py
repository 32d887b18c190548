"""Boots that were served, and what the store keeps of what the machines reported. Pure values.

A boot is one token: it binds what a machine may fetch and say to the operation that asked for the
boot, and to one attempt of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from metalwright.model.boot import Served
from metalwright.model.frozen import FrozenDict
from metalwright.model.report import DiskFact, DiskWipe, Facts, Phase, Report
from metalwright.model.template import WipePolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedBoot:
    """One boot: the SHA-256 of its token, and what it was issued for.

    `operation_id` and `attempt` are empty and 0 for a boot that no operation asked for. `claimed`
    is who the request said that it came from. `boot_id` is that of the first report: one start of
    one kernel has the token. `disks` are those that this boot was told to wipe or to install.
    """

    token_sha256: str
    node: str
    mode: Served
    issued_at: datetime
    operation_id: str = ""
    attempt: int = 0
    template_digest: str = ""
    claimed: str = ""
    ended_at: datetime | None = None
    used_at: datetime | None = None
    boot_id: str = ""
    disks: tuple[DiskFact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A node's latest report, and the operation (empty: none) that its disks were wiped by, whole
    and verified, with nothing served since that could have written to them.

    `live` is false when a later boot was served.
    """

    report: Report
    last_wipe: str = ""
    live: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class WipeEvidence:
    """What was done to one disk, for which operation and attempt, and when that was reported."""

    node: str
    operation_id: str
    attempt: int
    at: datetime
    wipe: DiskWipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A line for the journal about a node (empty: none that is known)."""

    node: str
    event: str
    detail: str
    operation_id: str = ""


_ORDER: Final = FrozenDict(
    {
        Phase.READY: 0,
        Phase.WIPING: 1,
        Phase.WIPED: 2,
        Phase.INSTALLING: 3,
        Phase.INSTALLED: 4,
        Phase.RUNNING: 5,
        Phase.FAILED: 6,
    }
)


def furthest(before: Phase | None, now: Phase) -> Phase:
    """The later of two phases of one attempt; a failure is the end of it."""
    return now if before is None or _ORDER[now] > _ORDER[before] else before


def unwiped(
    asked: Iterable[DiskFact], wipes: Iterable[DiskWipe], level: WipePolicy, after: Facts | None
) -> str:
    """Why the disks do not count as wiped, or nothing when each has evidence that was verified.

    Unknown is dirty: a disk without evidence, with that of another serial, or with too few bytes
    for its level, and a disk that was not there before, or is no longer.
    """
    wanted = list(asked)
    if not wanted:
        return "no disk was to be wiped"
    found = {(wipe.name, wipe.serial): wipe for wipe in wipes}
    for disk in wanted:
        name = f"{disk.name} ({disk.serial or 'no serial'})"
        wipe = found.get((disk.name, disk.serial))
        if wipe is None:
            return f"there is no evidence for the disk {name}"
        if not wipe.verified:
            why = f": {wipe.message}" if wipe.message else ""
            return f"the disk {name} was not clean when it was read back{why}"
        short = disk.bytes is not None and wipe.bytes < disk.bytes
        if short and level is not WipePolicy.METADATA:
            return f"of the disk {name} only {wipe.bytes} bytes of {disk.bytes} were wiped"
    if after is not None:
        before = {(disk.name, disk.serial) for disk in wanted}
        left = {(disk.name, disk.serial) for disk in after.disks}
        if left - before:
            return f"there are other disks than before: {_names(left - before)}"
        if before - left:
            return f"disks have gone since it began: {_names(before - left)}"
    return ""


def _names(disks: Iterable[tuple[str, str | None]]) -> str:
    return ", ".join(sorted(name for name, _ in disks))
