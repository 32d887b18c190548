"""Checks that a machine answers by its own report, where what it runs never reports. Pure.

All of it is a warning: a driver of machines without a network answers for them by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from metalwright.inventory.codes import Code
from metalwright.inventory.members import few
from metalwright.inventory.problems import Declarations, Problem, in_order
from metalwright.model.checks import Check
from metalwright.model.finding import Severity
from metalwright.model.inventory import ResolvedTemplate

_HINT = "give the template phoneHome: true and have its system run the agent, or drop these checks"


def check_reports(
    declared: Declarations, resolved: Mapping[str, ResolvedTemplate]
) -> Iterator[Problem]:
    """Templates with such checks that do not phone home, and pools whose nodes run such a one."""
    for template in in_order(declared.templates.values()):
        one = resolved.get(template.value.metadata.name)
        names = _by_report(one.validation) if one is not None and not one.phone_home else []
        if names:
            own = bool(template.value.spec.validation)
            yield Problem(
                source=template.source,
                way=("spec", "validation") if own else ("spec",),
                code=Code.TEMPLATE_NO_REPORT,
                message=f"the machine's report is to answer {few(names)}, and with phoneHome:"
                " false there is none",
                hint=_HINT,
                severity=Severity.WARNING,
            )
    run: dict[str, set[str]] = {}
    for assignment in declared.assignments.values():
        spec = assignment.value.spec
        run.setdefault(spec.pool, set()).add(spec.template)
    for pool in in_order(declared.pools.values()):
        names = _by_report(pool.value.spec.validation)
        resting = pool.value.spec.resting.template
        used = run.get(pool.value.metadata.name, set()) | ({resting} if resting else set())
        mute = sorted(name for name in used if name in resolved and not resolved[name].phone_home)
        if names and mute:
            yield Problem(
                source=pool.source,
                way=("spec", "validation"),
                code=Code.TEMPLATE_NO_REPORT,
                message=f"the machine's report is to answer {few(names)}, and its nodes run"
                f" {few(mute)}, which does not phone home",
                hint=_HINT,
                severity=Severity.WARNING,
            )


def _by_report(checks: Iterable[Check]) -> list[str]:
    return [check.name for check in checks if check.probe is None]
