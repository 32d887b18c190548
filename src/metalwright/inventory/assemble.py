"""From parsed files to an inventory with its references resolved, or to everything that is wrong.

Pure: the only thing it asks of outside is where a field stands, and only for what will be shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from metalwright.inventory.bookings import resolve_assignments
from metalwright.inventory.codes import Code
from metalwright.inventory.fleet import check_freezes, check_nodes, check_ramdisk, resolve_pools
from metalwright.inventory.limits import check_limits
from metalwright.inventory.members import Members
from metalwright.inventory.parse import ParsedFile
from metalwright.inventory.problems import Declarations, Declared, Problem, declare
from metalwright.inventory.reports import check_reports
from metalwright.inventory.schema import Positions, dotted, place
from metalwright.inventory.templates import resolve_templates
from metalwright.inventory.yaml_text import shorten
from metalwright.model.finding import Finding, Severity
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import DRIVERS
from metalwright.model.inventory import Commit, Inventory, Source

FINDINGS_MAX: Final = 1_000

D = TypeVar("D")


class Positioned(Protocol):
    """Looks up where the values of the documents of some files stand."""

    def __call__(self, paths: set[str]) -> Mapping[str, Mapping[int, Positions]]:
        """The positions by path and first line of the document."""


@dataclass(frozen=True, slots=True)
class Assembled:
    """The inventory, if there is no error; the findings in order, errors and warnings."""

    inventory: Inventory | None
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]


def assemble(
    revision: Commit,
    files: Mapping[str, ParsedFile],
    tree_findings: Iterable[Finding],
    positions: Positioned,
    drivers: frozenset[str] = DRIVERS,
) -> Assembled:
    """Checks all documents of a revision together; `drivers` are the names that nodes may give."""
    own = list(tree_findings)
    for path, parsed in files.items():
        own += [replace(finding, path=path) for finding in parsed.findings]
    declared, problems = declare(files)
    problems += check_nodes(declared, drivers)
    problems += check_ramdisk(declared)
    members = Members(declared)
    resolved, found = resolve_templates(declared)
    problems += found
    problems += check_reports(declared, resolved)
    pool_of, found = resolve_pools(declared, members)
    problems += found
    assigned, found = resolve_assignments(declared, members, pool_of)
    problems += found
    problems += check_freezes(declared, members, pool_of)
    problems += check_limits(declared, pool_of)
    problems += members.problems
    own += _no_nodes(declared)
    errors = _told(own, problems, Severity.ERROR, positions)
    warnings = _told(own, problems, Severity.WARNING, positions)
    if errors:
        return Assembled(None, errors, warnings)
    inventory = Inventory(
        revision=revision,
        nodes=_values(declared.nodes),
        images=_values(declared.images),
        pools=_values(declared.pools),
        assignments=_values(declared.assignments),
        schedules=_values(declared.schedules),
        freezes=_values(declared.freezes),
        policy=next((policy.value for policy in declared.policies.values()), None),
        sources=_sources(declared),
        pool_of=FrozenDict(pool_of),
        assigned=FrozenDict(assigned),
        resolved=FrozenDict(resolved),
    )
    return Assembled(inventory, (), warnings)


def _values(declared: Mapping[str, Declared[D]]) -> FrozenDict[str, D]:
    return FrozenDict({name: item.value for name, item in declared.items()})


def _sources(declared: Declarations) -> FrozenDict[tuple[str, str], Source]:
    kinds = ("Node", "Image", "BootTemplate", "Pool", "Assignment", "Schedule", "Policy", "Freeze")
    tables: dict[str, Mapping[str, Declared[Any]]] = {
        kind: declared.of_kind(kind) for kind in kinds
    }
    return FrozenDict(
        {
            (kind, name): item.source
            for kind, table in tables.items()
            for name, item in table.items()
        }
    )


def _no_nodes(declared: Declarations) -> list[Finding]:
    broken = any(kind == "Node" for kind, _name in declared.broken)
    if declared.nodes or broken or declared.salvaged:
        return []
    return [
        Finding(
            path="",
            code=Code.INVENTORY_NO_NODES,
            message="the revision declares no node",
            hint="an empty inventory is taken for a mistake, never for an instruction",
        )
    ]


def _told(
    own: list[Finding], problems: list[Problem], severity: Severity, positions: Positioned
) -> tuple[Finding, ...]:
    """The findings of one severity in order, `FINDINGS_MAX` at most, with lines and columns."""
    mine = [finding for finding in own if finding.severity is severity]
    others = sorted(
        (problem for problem in problems if problem.severity is severity),
        key=lambda problem: (problem.source.path, problem.source.line, str(problem.code)),
    )
    places = positions(
        {
            source.path
            for problem in others[:FINDINGS_MAX]
            for source in (problem.source, *(problem.other or ())[:1])
        }
    )
    shown = sorted({*mine, *(_finding(problem, places) for problem in others[:FINDINGS_MAX])})
    total = len(mine) + len(others)
    if total <= FINDINGS_MAX:
        return tuple(shown)
    last = Finding(
        path="",
        code=Code.INVENTORY_TOO_MANY_FINDINGS,
        message=f"there are {total:,} findings; these are the first {FINDINGS_MAX:,}",
        severity=severity,
    )
    return (*shown[:FINDINGS_MAX], last)


def _finding(problem: Problem, places: Mapping[str, Mapping[int, Positions]]) -> Finding:
    def positions(source: Source) -> Positions:
        return places.get(source.path, {}).get(source.line, {})

    line, column = place(positions(problem.source), problem.way, at_key=False)
    also = ""
    if problem.other is not None:
        source, way = problem.other
        other_line, _column = place(positions(source), way, at_key=False)
        also = f", see {source.path}:{other_line or source.line}"
    return Finding(
        path=problem.source.path,
        line=line or problem.source.line,
        column=column or 1,
        code=problem.code,
        message=f"{dotted(problem.way)}: {problem.message}{also}",
        value=shorten(problem.value),
        hint=problem.hint,
        severity=problem.severity,
    )
