"""What the machine's own report says about a check, and who is being validated. Pure.

A report counts when it belongs to the very attempt that is validated, or came after the stage was
entered: what an earlier boot said is no proof of this one. What the machine did not tell has not
passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from metalwright.model.checks import Check, Verdict
from metalwright.model.documents import Node
from metalwright.model.facts import differences
from metalwright.model.frozen import FrozenDict
from metalwright.model.report import Facts, Phase, Report, Smart

AGAIN_S: Final = 15
"""Seconds after which a machine that has not passed reports once more."""

MESSAGE_MAX: Final = 200
"""Characters that are kept of what a command or a server said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """One node whose operation is validating: since when, with which checks, and which boot.

    `attempt` is the operation's fence, `template_digest` that of the template which it is to run.
    """

    node: Node
    operation_id: str
    attempt: int
    template_digest: str
    since: datetime
    checks: tuple[Check, ...]


def judge(check: Check, validation: Validation, report: Report | None) -> Verdict | None:
    """What the node's latest report says about a check that is made by it; `None` where it says
    nothing yet.

    The verdict is as old as the report, but never older than the stage: the report of this very
    attempt is what ended the stage before.
    """
    if check.probe is not None or report is None or not _counts(report, validation):
        return None
    said = _said(check, validation, report)
    if said is None:
        return None
    at = max(report.at, validation.since)
    return Verdict(at=at, passed=not said, message=said[:MESSAGE_MAX])


def asks(validation: Validation, report: Report) -> tuple[str, ...]:
    """What the agent on the machine is told after a report: the commands to run, and once it has
    run them, to report again after a while; nothing when all that is its to tell has passed.
    """
    mine = [check for check in validation.checks if check.probe is None]
    verdicts = [judge(check, validation, report) for check in mine]
    if all(verdict is not None and verdict.passed for verdict in verdicts):
        return ()
    lines = [
        f"check {check.name} {check.timeout} {check.command.run}"
        for check in mine
        if check.command is not None
    ]
    waits = report.checks or not lines
    return (f"again {AGAIN_S}", *lines) if waits else tuple(lines)


def _counts(report: Report, validation: Validation) -> bool:
    mine = (report.operation_id, report.attempt) == (validation.operation_id, validation.attempt)
    return report.phase is Phase.RUNNING and (mine or report.at >= validation.since)


def _said(check: Check, validation: Validation, report: Report) -> str | None:
    """Why the check has not passed, empty when it has, `None` where the report is silent."""
    if check.command is not None:
        return _command(check, report)
    if check.phone_home is not None:
        same = report.template_digest == validation.template_digest
        return "" if same else f"it runs template {report.template_digest[:12] or 'unknown'}"
    if report.facts is None:
        return None
    kind = next(name for name in _BY_FACTS if getattr(check, name) is not None)
    return _BY_FACTS[kind](validation.node, report.facts)


def _command(check: Check, report: Report) -> str | None:
    assert check.command is not None
    found = next((each for each in report.checks if each.name == check.name), None)
    if found is None:
        return None
    if found.exit_status == check.command.exit_status:
        return ""
    output = f": {found.message}" if found.message else ""
    return f"exit status {found.exit_status}{output}"


def _facts(node: Node, facts: Facts) -> str:
    return "; ".join(differences(node.spec, facts))


def _links(node: Node, facts: Facts) -> str:
    """Every declared interface has link; without a declaration nothing is known to have passed."""
    if not node.spec.nics:
        return "git declares no interface"
    found = {nic.mac.lower(): nic for nic in facts.nics}
    said = []
    for nic in node.spec.nics:
        seen = found.get(nic.mac)
        name = f"{seen.name} ({nic.mac})" if seen is not None else nic.mac
        if seen is None:
            said.append(f"{name} is not there")
        elif seen.link is None:
            said.append(f"{name} does not tell")
        elif not seen.link:
            said.append(f"{name} has no link")
    return ", ".join(said)


def _smart(_node: Node, facts: Facts) -> str:
    if not facts.disks:
        return "the machine reports no disk"
    return ", ".join(
        f"{disk.name} ({disk.serial or 'no serial'}) "
        + ("does not tell" if disk.smart is None else f"says {disk.smart.value}")
        for disk in facts.disks
        if disk.smart is not Smart.PASSED
    )


_BY_FACTS: Final[Mapping[str, Callable[[Node, Facts], str]]] = FrozenDict(
    {"facts": _facts, "links": _links, "smart": _smart}
)
