"""What a report comes to: kept, answered, or refused.

What a machine is told to destroy is decided here, in the transaction that writes it down: from its
own facts, against the revision in force, while its operation still is where it asked for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final

from metalwright.boot.desk import Desk
from metalwright.boot.entering import Entered
from metalwright.boot.reports import ReportBody, printable
from metalwright.model.boot import Served, answer
from metalwright.model.boots import IssuedBoot, unwiped
from metalwright.model.facts import Disks, disk_to_install, disks_to_wipe
from metalwright.model.frozen import FrozenDict
from metalwright.model.identity import Match, compare_identity
from metalwright.model.inventory import checks_of
from metalwright.model.operation import Operation
from metalwright.model.report import DiskFact, Facts, Phase, Report
from metalwright.model.template import WipePolicy
from metalwright.model.validation import Validation, asks
from metalwright.model.waking import BEAT_S, WAKING

OK: Final = "ok\n"

PHASES: Final[Mapping[Served, frozenset[Phase]]] = FrozenDict(
    {
        Served.WIPE: frozenset({Phase.READY, Phase.WIPING, Phase.WIPED, Phase.FAILED}),
        Served.INSTALL: frozenset({Phase.READY, Phase.INSTALLING, Phase.INSTALLED, Phase.FAILED}),
        Served.NETBOOT: frozenset({Phase.RUNNING, Phase.FAILED}),
        Served.LOCAL: frozenset({Phase.RUNNING, Phase.FAILED}),
    }
)
"""What a boot of each kind may report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to a report: a status of HTTP, and lines of text for the agent."""

    status: HTTPStatus
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A report as it is kept, the answer to it, and what the machine is told to touch."""

    report: Report
    text: str = OK
    disks: tuple[DiskFact, ...] | None = None
    wiped: bool = False


class Hearing:
    """Takes reports; may be called from many threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def hear(self, token: str, body: ReportBody, image_bytes: int | None) -> Reply:
        """Keep a report and answer it. `image_bytes` is the size of the disk image, where the boot
        installs one.
        """
        records = self._desk.records
        with records.batch():
            entered = self._desk.enter(token)
            if isinstance(entered, str):
                return Reply(status=HTTPStatus.FORBIDDEN, text=f"refused: {entered}")
            boot = entered.boot
            furthest = records.said(boot.node, boot.operation_id, boot.attempt)
            why = _out_of_turn(boot, body, furthest)
            if why:
                return Reply(status=HTTPStatus.CONFLICT, text=why)
            if body.phase is Phase.WIPED and furthest is Phase.WIPED:
                # Its answer was lost. The evidence is kept, and the operation may have gone on.
                return Reply(status=HTTPStatus.OK, text=OK)
            kept = self._decide(entered, body, image_bytes)
            report = kept.report
            name = report.node
            said = f"{report.phase}: {report.message}" if report.message else f"{report.phase}"
            if report.checks:
                said += f", {len(report.checks)} results of checks"
            new = not _is_beat(entered, report)
            detail = said if new and self._desk.notes.reports(name, report.phase) else None
            records.report(report, entered.boot.token_sha256, detail, kept.disks, wiped=kept.wiped)
        self._desk.told(name)
        return Reply(status=HTTPStatus.OK, text=kept.text)

    def _decide(self, entered: Entered, body: ReportBody, image_bytes: int | None) -> _Kept:
        report = self._report(entered, body)
        if body.phase is Phase.READY:
            return self._ready(entered, report, image_bytes)
        if body.phase is Phase.WIPED:
            level = level_of(entered.operation)
            why = unwiped(entered.boot.disks, report.wipes, level, report.facts)
            return _Kept(report=report, wiped=True) if not why else _failed(report, why)
        if body.phase is Phase.RUNNING:
            read = report.facts.identity if report.facts is not None else None
            check = compare_identity(entered.node.spec, read) if read is not None else None
            if check is not None and check.match is Match.OTHER:
                return _failed(report, f"this is another machine: {check.message}")
            text = self._checks(entered, report)
            if text == OK and entered.node.spec.driver in WAKING:
                text = f"beat {BEAT_S}\n{OK}"
            return _Kept(report=report, text=text)
        return _Kept(report=report)

    def _ready(self, entered: Entered, report: Report, image_bytes: int | None) -> _Kept:
        """May it begin, and with which disks? Asked of everything anew."""
        boot, operation = entered.boot, entered.operation
        memory = self._desk.records.memory().nodes.get(boot.node)
        said = self._desk.records.said(boot.node, boot.operation_id, boot.attempt)
        now = answer(entered.node, memory, said)
        this = (boot.mode, boot.operation_id, boot.attempt)
        if (now.mode, now.operation_id, now.attempt) != this or operation is None:
            return _Kept(report=report, text=_stop(now.why))
        facts = report.facts if report.facts is not None else Facts()
        spec = entered.node.spec
        disks: Disks
        if boot.mode is Served.WIPE:
            disks = disks_to_wipe(spec, facts)
            level = level_of(operation)
            lines = [f"wipe {disk.name} {level}" for disk in disks.found]
        else:
            disks = disk_to_install(spec, facts)
            template = entered.template
            image = template.image.disk if template is not None and template.image else None
            if image is None or image_bytes is None:
                return _failed(report, "the image for its disk is not here")
            lines = [f"install {disk.name} {image.sha256} {image_bytes}" for disk in disks.found]
        if disks.refused:
            return _failed(report, f"nothing is touched: {disks.refused}")
        return _Kept(report=report, text="\n".join([*lines, ""]), disks=disks.found)

    def _checks(self, entered: Entered, report: Report) -> str:
        """What the machine is to check, and to report again, until its operation is over."""
        boot, operation = entered.boot, entered.operation
        if operation is None or not operation.unfinished:
            return OK
        validation = Validation(
            node=entered.node,
            operation_id=boot.operation_id,
            attempt=boot.attempt,
            template_digest=boot.template_digest,
            since=report.at,
            checks=checks_of(entered.inventory, operation.pool, entered.template),
        )
        return "\n".join([*asks(validation, report), OK])

    def _report(self, entered: Entered, body: ReportBody) -> Report:
        boot = entered.boot
        return Report(
            node=boot.node,
            at=self._desk.clock(),
            boot_id=body.boot_id,
            phase=body.phase,
            operation_id=boot.operation_id,
            attempt=boot.attempt,
            template_digest=boot.template_digest,
            message=body.message,
            facts=body.its_facts(),
            wipes=body.its_wipes(),
            checks=body.its_checks(),
        )


def _out_of_turn(boot: IssuedBoot, body: ReportBody, said: Phase | None) -> str:
    """Why this boot may not report this now. `said` is the furthest of this attempt."""
    phase = body.phase
    if boot.boot_id and boot.boot_id != body.boot_id:
        return "another start of a kernel has reported with this token"
    if phase not in PHASES[boot.mode]:
        return f"a boot to {boot.mode} does not report {phase}"
    if phase in (Phase.READY, Phase.RUNNING, Phase.FAILED):
        return ""
    if phase in (Phase.WIPING, Phase.INSTALLING) and not boot.disks:
        return "it was not told to begin"
    if phase is Phase.WIPING and said not in (Phase.READY, Phase.WIPING):
        return f"this attempt is at {said}: nothing is wiped twice"
    if phase is Phase.WIPED and said not in (Phase.WIPING, Phase.WIPED):
        return "it has not said that it begins to wipe"
    if phase is Phase.INSTALLED and said not in (Phase.INSTALLING, Phase.INSTALLED):
        return "it has not said that it begins to install"
    return ""


def _is_beat(entered: Entered, report: Report) -> bool:
    """Whether a machine only says once more that it is on."""
    again = entered.boot.boot_id == report.boot_id and entered.operation is None
    waking = entered.node.spec.driver in WAKING
    return waking and again and report.phase is Phase.RUNNING and not report.checks


def level_of(operation: Operation | None) -> WipePolicy:
    """How thoroughly this operation wipes: as its intent says, else as thoroughly as there is."""
    intent = operation.intent if operation is not None else None
    try:
        level = WipePolicy(intent.argument) if intent is not None else WipePolicy.FULL
    except ValueError:
        return WipePolicy.FULL
    return WipePolicy.FULL if level is WipePolicy.NONE else level


def _failed(report: Report, why: str) -> _Kept:
    failed = replace(report, phase=Phase.FAILED, message=printable(why, 1_000))
    return _Kept(report=failed, text=_stop(why))


def _stop(why: str) -> str:
    return f"stop {printable(why)}\n"
