"""What a booted machine says about itself, and the evidence of a wipe.

A report is an observation: it says what is, never what should be. It comes from the machine's own
system (the agent in a ramdisk, or in the system that it runs), over the network, with the token of
its boot; what is declared in git stays beside it, to be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from metalwright.model.inspected import DiskFact as DiskFact
from metalwright.model.inspected import Facts as Facts
from metalwright.model.inspected import NicFact as NicFact
from metalwright.model.inspected import Smart as Smart


class Phase(StrEnum):
    """How far the boot is, in the machine's own words.

    `ready`, `wiping`, `wiped`, `installing` and `installed` are the ramdisk's, `running` is the
    system's that the template wants. `failed` is either's: its message says why.
    """

    READY = "ready"
    WIPING = "wiping"
    WIPED = "wiped"
    INSTALLING = "installing"
    INSTALLED = "installed"
    RUNNING = "running"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskWipe:
    """The evidence of one disk's wipe: what was done to it, and what a read-back found.

    `method` is what the ramdisk really did (such as `blkdiscard` or `zero`), `bytes` how many it
    covered. `verified` says that the places read back afterwards held nothing.
    """

    name: str
    serial: str | None
    bytes: int
    method: str
    verified: bool
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What a command that ran on the machine itself came to."""

    name: str
    exit_status: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One report: of which boot, how far it is, and what the machine knows of itself.

    `boot_id` names one start of one kernel. `operation_id` and `attempt` are those that the token
    was issued for, empty and 0 for a boot that no operation asked for. `template_digest` is that of
    the template which the token was issued for. `at` is when the daemon received it.
    """

    node: str
    at: datetime
    boot_id: str
    phase: Phase
    operation_id: str = ""
    attempt: int = 0
    template_digest: str = ""
    message: str = ""
    facts: Facts | None = None
    wipes: tuple[DiskWipe, ...] = ()
    checks: tuple[CheckResult, ...] = ()
