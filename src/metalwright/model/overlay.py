"""What a BMC says of a node, together with what the node's own system reported. Pure.

A BMC knows the power; what runs, only the system knows. Its report counts until the power is seen
off after it, or another boot of the node was served. Where nothing knows the power (`wakes`), a
report says for a while that it is on, and then nothing any more.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from metalwright.model.boots import Heard
from metalwright.model.observed import (
    BootProgress,
    Identity,
    Observation,
    Power,
    Progress,
    Reading,
)
from metalwright.model.observed import Phase as Step
from metalwright.model.operation import Operation, OperationState, Stage
from metalwright.model.report import Facts, Phase
from metalwright.model.waking import REPORT_LIFE_S

_REPORTING: Final = frozenset({Stage.BOOT, Stage.INSTALLING, Stage.VALIDATING})
_INSTALLER: Final = frozenset({Phase.READY, Phase.INSTALLING, Phase.INSTALLED})


def is_over(observation: Observation, heard: Heard) -> bool:
    """Whether the power was seen off after the report."""
    return heard.live and observation.power is Power.OFF and observation.at > heard.report.at


def overlaid(
    observation: Observation, heard: Heard | None, operation: Operation | None
) -> Observation:
    """The observation with what the report adds; the same one where that is nothing.

    `operation` is the node's unfinished one. What the driver knows by itself stays.
    """
    reading = observation.reading
    if reading is None:
        return observation
    running = operation if _runs(operation) else None
    changes: dict[str, Any] = {}
    if heard is not None and _is_awake(observation, heard):
        changes["power"] = Power.ON
        reading = replace(reading, power=Power.ON)
    if heard is not None and heard.last_wipe and reading.last_wipe is None:
        changes["last_wipe"] = heard.last_wipe
    live = heard is not None and heard.live and not is_over(observation, heard)
    if heard is not None and live and reading.power is not Power.OFF:
        changes |= _told(reading, heard, running)
    if running is not None and "boot_progress" not in changes and _expects(running):
        changes |= _silent(reading)
    return replace(observation, reading=replace(reading, **changes)) if changes else observation


def _is_awake(observation: Observation, heard: Heard) -> bool:
    """Whether a machine that nothing else tells the power of has reported lately."""
    reading = observation.reading
    if reading is None or not reading.wakes or reading.power is not Power.UNKNOWN:
        return False
    age_s = (observation.at - heard.report.at).total_seconds()
    return heard.live and age_s <= REPORT_LIFE_S


def _runs(operation: Operation | None) -> bool:
    return operation is not None and operation.state is OperationState.RUNNING


def _expects(operation: Operation) -> bool:
    """Whether the system that boots is to report by itself."""
    template = operation.target.template
    return operation.stage in _REPORTING and template is not None and template.phone_home


def _silent(reading: Reading) -> dict[str, Any]:
    """A machine that is on and has not reported is not yet up."""
    if reading.template_digest is not None or reading.power is not Power.ON:
        return {}
    if reading.boot_progress is None:
        return {"boot_progress": BootProgress.NONE}
    if reading.boot_progress is BootProgress.OS_RUNNING:
        return {"boot_progress": BootProgress.OS_BOOT_STARTED}
    return {}


def _told(reading: Reading, heard: Heard, running: Operation | None) -> dict[str, Any]:
    report, changes = heard.report, dict[str, Any]()
    if report.facts is not None:
        changes["facts"] = report.facts
        changes["identity"] = _identity(reading.identity, report.facts)
        changes["bmc_identity"] = reading.identity
    mine = running is not None and (report.operation_id, report.attempt) == (
        running.id,
        running.fence,
    )
    if running is not None and running.stage in _REPORTING and not mine:
        return changes  # what an earlier boot said is no proof of this one
    if report.phase is Phase.FAILED and mine and reading.progress is None:
        changes["progress"] = Progress(
            phase=Step.FAILED, operation_id=report.operation_id, message=report.message
        )
    if reading.template_digest is not None:
        return changes
    if report.phase is Phase.RUNNING:
        changes["boot_progress"] = BootProgress.OS_RUNNING
        changes["template_digest"] = report.template_digest
    elif report.phase in _INSTALLER and running is not None:
        template = running.target.template
        done = report.phase is Phase.INSTALLED and not _expects(running)
        changes["boot_progress"] = BootProgress.OS_BOOT_STARTED
        if done and template is not None and Stage.INSTALLING in running.stages:
            # Nobody will say more: the image was read back and compared.
            changes["boot_progress"] = BootProgress.OS_RUNNING
            changes["template_digest"] = template.digest
    return changes


def _identity(read: Identity, facts: Facts) -> Identity:
    """What the BMC read, and from the machine's own report what it could not tell."""
    own = facts.identity
    return Identity(
        serial=read.serial or own.serial,
        system_uuid=read.system_uuid or own.system_uuid,
        macs=read.macs or own.macs,
    )
