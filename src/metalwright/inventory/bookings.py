"""Assignments: their references, their nodes, and that no node is wanted by two at one time. Pure.

Overlap is decided on the whole revision, so two pull requests that are right alone and wrong
together are refused at the merge. All windows count, past ones too, which makes the answer the same
at every instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from metalwright.inventory.codes import Code
from metalwright.inventory.members import Members, few
from metalwright.inventory.problems import Declarations, Declared, Problem, in_order
from metalwright.inventory.yaml_builder import Path
from metalwright.model.documents import Assignment
from metalwright.model.fields import format_instant
from metalwright.model.tenancy import When

WINDOWS_MAX: Final = 500_000
OVERLAPS_MAX: Final = 2_000
_EVER: Final = datetime.min.replace(tzinfo=UTC)
_NEVER: Final = datetime.max.replace(tzinfo=UTC)

Span = tuple[datetime, datetime]
Pair = tuple[str, str]


def resolve_assignments(
    declared: Declarations, members: Members, pool_of: Mapping[str, str]
) -> tuple[dict[str, tuple[str, ...]], list[Problem]]:
    """The nodes of each assignment in written order, and what is wrong with the assignments."""
    assigned: dict[str, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for assignment in in_order(declared.assignments.values()):
        spec, source = assignment.value.spec, assignment.source
        references: list[tuple[str, str, Path]] = [
            ("Pool", spec.pool, ("spec", "pool")),
            ("BootTemplate", spec.template, ("spec", "template")),
        ]
        if spec.when is not None and spec.when.schedule is not None:
            references.append(("Schedule", spec.when.schedule, ("spec", "when", "schedule")))
        problems += [
            declared.unknown(kind, name, source, way)
            for kind, name, way in references
            if not declared.knows(kind, name)
        ]
        nodes = members.unfold(spec.nodes, source, ("spec", "nodes"))
        if spec.pool in declared.pools:
            problems += _outside(assignment, nodes, pool_of)
        assigned[assignment.value.metadata.name] = tuple(nodes)
    problems += _overlaps(declared, assigned)
    return dict(sorted(assigned.items())), problems


def _outside(
    assignment: Declared[Assignment], nodes: Mapping[str, Path], pool_of: Mapping[str, str]
) -> list[Problem]:
    pool = assignment.value.spec.pool
    by_place: dict[Path, list[str]] = {}
    for name, way in nodes.items():
        if pool_of.get(name) != pool:
            by_place.setdefault(way, []).append(name)
    return [
        Problem(
            source=assignment.source,
            way=way,
            code=Code.ASSIGNMENT_OUTSIDE_POOL,
            message=f"{few(outside)} {'is' if len(outside) == 1 else 'are'} not in pool {pool!r}",
            hint=_where(outside, pool_of),
        )
        for way, outside in by_place.items()
    ]


def _where(names: list[str], pool_of: Mapping[str, str]) -> str:
    pools = sorted({pool_of[name] for name in names if name in pool_of})
    return f"it is in {', '.join(pools)}" if len(names) == 1 and pools else ""


def _overlaps(declared: Declarations, assigned: Mapping[str, tuple[str, ...]]) -> list[Problem]:
    """Pairs of assignments that want a node at the same time, by a sweep over each node's windows.

    Nodes with the same assignments share one sweep, so a rack that is booked as one costs one.
    """
    holders: dict[str, list[str]] = {}
    for name, nodes in assigned.items():
        for node in nodes:
            holders.setdefault(node, []).append(name)
    groups: dict[tuple[str, ...], list[str]] = {}
    for node, names in holders.items():
        if len(names) > 1:
            groups.setdefault(tuple(names), []).append(node)
    spans = {
        name: _spans(declared, declared.assignments[name].value.spec.when)
        for name in {name for group in groups for name in group}
    }
    found: dict[Pair, tuple[Span, list[str]]] = {}
    count = 0
    for group, several in sorted(groups.items()):
        count += sum(len(spans[name]) for name in group)
        if count > WINDOWS_MAX or len(found) > OVERLAPS_MAX:
            return [*_told(declared, found), _too_many(declared.assignments[group[0]])]
        for pair, both in _sweep({name: spans[name] for name in group}).items():
            found.setdefault(pair, (both, []))[1].extend(several)
    return _told(declared, found)


def _sweep(spans: Mapping[str, list[Span]]) -> dict[Pair, Span]:
    """For each two owners with a time in common, the first such time."""
    found: dict[Pair, Span] = {}
    active: dict[str, datetime] = {}
    ordered = sorted((start, end, owner) for owner, own in spans.items() for start, end in own)
    for start, end, owner in ordered:
        active = {other: until for other, until in active.items() if until > start}
        for other, until in active.items():
            if other != owner:
                pair = (min(owner, other), max(owner, other))
                found.setdefault(pair, (start, min(end, until)))
        active[owner] = max(end, active.get(owner, end))
        if len(found) > OVERLAPS_MAX:
            break
    return found


def _spans(declared: Declarations, when: When | None) -> list[Span]:
    if when is None:
        return [(_EVER, _NEVER)]
    if when.schedule is None:
        return [(when.start or _EVER, when.end or _NEVER)]
    if when.schedule not in declared.schedules:
        return []
    return [
        (window.start, window.end or window.start + timedelta(seconds=window.duration or 0))
        for window in declared.schedules[when.schedule].value.spec.windows
    ]


def _told(declared: Declarations, found: Mapping[Pair, tuple[Span, list[str]]]) -> list[Problem]:
    problems = []
    for pair, ((start, end), nodes) in sorted(found.items()):
        first, second = in_order(declared.assignments[name] for name in pair)
        begin = "ever" if start == _EVER else format_instant(start)
        until = "for good" if end == _NEVER else f"until {format_instant(end)}"
        problems.append(
            Problem(
                source=second.source,
                way=("spec", "when") if second.value.spec.when is not None else ("spec", "nodes"),
                code=Code.ASSIGNMENT_OVERLAP,
                message=f"{few(nodes)} {'is' if len(nodes) == 1 else 'are'} wanted by assignment"
                f" {first.value.metadata.name!r} too, from {begin} {until}",
                other=(first.source, ("spec", "when")),
            )
        )
    return problems


def _too_many(assignment: Declared[Assignment]) -> Problem:
    return Problem(
        source=assignment.source,
        way=("spec", "nodes"),
        code=Code.ASSIGNMENT_TOO_MANY_WINDOWS,
        message=f"nodes share more than {WINDOWS_MAX:,} windows of assignments, or more than"
        f" {OVERLAPS_MAX:,} pairs overlap; later ones were not compared",
        hint="delete assignments that are over",
    )
