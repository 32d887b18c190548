"""A node as Ironic's API shows it, and what that says about the machine. Pure.

What Metalwright has asked of Ironic is kept in the node itself: `extra.metalwright` names the
operation that a deployment or wipe is for, `extra.metalwright_wipe` the one whose wipe was begun,
and `instance_info.metalwright` the template that is deployed. Ironic empties `instance_info` when
it tears an instance down, so the last is never there without an instance of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from metalwright.drivers.ironic_history import UNPROVEN
from metalwright.errors import DriverError, PermanentError, TemporaryError
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import BootProgress, Identity, Phase, Power, Progress, Reading

MARK: Final = "metalwright"
WIPE_MARK: Final = "metalwright_wipe"
WORDS_MAX: Final = 400
"""Characters of Ironic's own words that are repeated."""

FIELDS: Final = (
    "uuid",
    "name",
    "provision_state",
    "target_provision_state",
    "power_state",
    "target_power_state",
    "reservation",
    "maintenance",
    "maintenance_reason",
    "fault",
    "last_error",
    "provision_updated_at",
    "automated_clean",
    "boot_interface",
    "deploy_interface",
    "instance_info",
    "extra",
)

ACTIVE: Final = "active"
AVAILABLE: Final = "available"
MANAGEABLE: Final = "manageable"
ENROLL: Final = "enroll"
ERROR: Final = "error"
DEPLOY_WAIT: Final = "wait call-back"
DEPLOY_FAILED: Final = "deploy failed"
CLEAN_FAILED: Final = "clean failed"
ADOPT_FAILED: Final = "adopt failed"
INSPECT_FAILED: Final = "inspect failed"

_TOKEN: Final = re.compile(r"/b/[A-Za-z0-9_-]{16,}")
"""In the address of a boot that Ironic could not fetch from, and says so."""

_BOOTS: Final = frozenset({"deploying", DEPLOY_WAIT})
AT_WORK: Final = _BOOTS | {
    "adopting",
    "clean wait",
    "cleaning",
    "deleted",
    "deleting",
    "inspect wait",
    "inspecting",
    "verifying",
}
"""States in which Ironic does something by itself, and takes no other order."""

_FAILURES: Final = frozenset({DEPLOY_FAILED, CLEAN_FAILED, ADOPT_FAILED, ERROR})
_POWER: Final[Mapping[str, Power]] = FrozenDict(
    {"power on": Power.ON, "power off": Power.OFF, "rebooting": Power.ON}
)
_POWERS: Final = frozenset({None, "error", *_POWER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What Metalwright wrote into a node: whose wish it is, and what was wished. Of an instance
    that the boot service serves also the attempt, and whether its system reports by itself; of a
    wipe the clean step.
    """

    operation: str = ""
    wished: str = ""
    step: str = ""
    attempt: int | None = None
    reports: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One node of Ironic's. `mark` is of what was asked last, `deployed` of the instance; a wipe
    that Ironic is not at any more, and of whose end it says nothing, is `unproven`.
    """

    uuid: str
    name: str
    state: str
    power: str | None = None
    power_target: str | None = None
    reservation: str | None = None
    maintenance: bool = False
    maintenance_reason: str = ""
    fault: str = ""
    last_error: str = ""
    updated_at: str = ""
    automated_clean: bool | None = None
    boot_interface: str = ""
    deploy_interface: str = ""
    mark: Mark = Mark()
    deployed: Mark = Mark()
    wipe: Mark = Mark()
    unproven: bool = False

    @property
    def at_work(self) -> bool:
        """Whether Ironic is at something, or holds the node locked."""
        return self.state in AT_WORK or self.reservation is not None

    @property
    def unchecked(self) -> bool:
        """Whether it runs a kernel and a ramdisk that Ironic fetched from where git says, and so
        did not check.
        """
        ours = self.state == ACTIVE and bool(self.deployed.wished)
        return ours and self.deploy_interface == "ramdisk" and self.deployed.attempt is None

    @property
    def wiped(self) -> str | None:
        """The operation whose wipe may have ended: Ironic has taken the node somewhere, and given
        it back, since the wipe was marked. Only its history proves it (`ironic_history`).
        """
        cleaned = self.state == MANAGEABLE and self.updated_at not in ("", self.wipe.wished)
        return self.wipe.operation if cleaned and self.wipe.operation else None


def record_of(found: object) -> Record:
    """A node from its JSON.

    Raises:
        PermanentError: it is not what Ironic's API promises.
    """
    if not isinstance(found, Mapping) or not isinstance(found.get("uuid"), str):
        raise PermanentError("Ironic's answer is not a node")
    state, power = found.get("provision_state"), found.get("power_state")
    if not isinstance(state, str) or power not in _POWERS:
        raise PermanentError(f"Ironic's answer makes no sense: it is {state!r}, power {power!r}")
    extra = _mapping(found.get("extra"))
    return Record(
        uuid=found["uuid"],
        name=_text(found.get("name")),
        state=state,
        power=power,
        power_target=found.get("target_power_state"),
        reservation=found.get("reservation"),
        maintenance=found.get("maintenance") is True,
        maintenance_reason=_text(found.get("maintenance_reason")),
        fault=_text(found.get("fault")),
        last_error=_text(found.get("last_error")),
        updated_at=_text(found.get("provision_updated_at")),
        automated_clean=found.get("automated_clean"),
        boot_interface=_text(found.get("boot_interface")),
        deploy_interface=_text(found.get("deploy_interface")),
        mark=_mark(extra.get(MARK), "effect"),
        deployed=_mark(_mapping(found.get("instance_info")).get(MARK), "template_digest"),
        wipe=_mark(extra.get(WIPE_MARK), "since"),
    )


def reading_of(record: Record, macs: tuple[str, ...], asked_at: datetime) -> Reading:
    """What the record says about the machine.

    Raises:
        TemporaryError, PermanentError: it is in maintenance; Ironic's word then is what it was.
    """
    progress = progress_of(record)
    failed = progress is not None and progress.phase is Phase.FAILED
    if record.maintenance and not failed:
        raise maintenance_error(record)
    power = _POWER.get(record.power or "", Power.UNKNOWN)
    return Reading(
        power=power,
        boot_progress=_boot_progress(record) if power is Power.ON else None,
        template_digest=record.deployed.wished or None if record.state == ACTIVE else None,
        last_wipe=record.wiped,
        identity=Identity(macs=macs),
        progress=progress,
        asked_at=asked_at,
    )


def unreported(reading: Reading, record: Record, said: str) -> Reading:
    """A reading of a machine whose system is still to report: what Ironic has deployed may not run
    yet. `said` is what it reported of a failure, "" while it is silent.
    """
    progress = reading.progress
    if said and progress is None:
        words = f"the system reported: {_short(said)}"
        progress = Progress(
            phase=Phase.FAILED, operation_id=record.deployed.operation, message=words
        )
    started = BootProgress.OS_BOOT_STARTED if reading.power is Power.ON else None
    return replace(reading, boot_progress=started, template_digest=None, progress=progress)


def progress_of(record: Record) -> Progress | None:
    """How far Ironic is with the deployment or wipe that was asked of it last, if there was one."""
    operation = record.mark.operation
    if not operation or record.wiped == operation:
        return None
    here = record.deployed.operation == operation
    if record.state in _FAILURES and (record.state != DEPLOY_FAILED or here):
        phase, words = Phase.FAILED, f"Ironic: {record.state}: {_short(record.last_error)}"
    elif record.state == ENROLL and record.last_error:
        phase, words = Phase.FAILED, f"Ironic cannot manage it: {_short(record.last_error)}"
    elif record.unproven:
        phase, words = Phase.FAILED, UNPROVEN
    elif record.at_work:
        phase, words = Phase.WORKS, f"is {record.state} in Ironic"
    elif record.state == ACTIVE and here and record.power == "power on":
        return None
    else:
        phase, words = Phase.WAITS, f"is {record.state} in Ironic"
    return Progress(phase=phase, operation_id=operation, message=words)


def without_tokens(text: str) -> str:
    """Ironic's words without the token of a boot, whose address they may repeat."""
    return _TOKEN.sub("/b/***", text)


def maintenance_error(record: Record) -> DriverError:
    """Maintenance in Ironic's words: of a fault it ends by itself, of a person when that wants."""
    reason = _short(record.maintenance_reason or record.last_error)
    said = f": {reason}" if reason else ""
    if record.fault:
        return TemporaryError(f"Ironic has it in maintenance for a {record.fault}{said}")
    return PermanentError(f"Ironic has it in maintenance{said}")


def _boot_progress(record: Record) -> BootProgress:
    if record.state == ACTIVE:
        return BootProgress.OS_RUNNING
    return BootProgress.OS_BOOT_STARTED if record.state in _BOOTS else BootProgress.NONE


def _mark(found: object, wished: str) -> Mark:
    values = _mapping(found)
    attempt = values.get("attempt")
    return Mark(
        operation=_text(values.get("operation")),
        wished=_text(values.get(wished)),
        step=_text(values.get("step")),
        attempt=attempt if isinstance(attempt, int) else None,
        reports=values.get("reports") is True,
    )


def _mapping(found: object) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else FrozenDict()


def _text(found: object) -> str:
    return found if isinstance(found, str) else ""


def _short(text: str) -> str:
    text = without_tokens(text)
    return text if len(text) <= WORDS_MAX else f"{text[: WORDS_MAX - 1]}…"
