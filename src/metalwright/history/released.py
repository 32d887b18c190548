"""Since when assignments were released, read off the operations that brought their nodes there.

An assignment is released at the instant at which as many of its nodes as are needed had been
brought to what it wants for the first time; a node that is made anew later takes nothing back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from metalwright.model.operation import Operation, OperationState


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """One assignment that was released, and how many of its nodes were ready then."""

    assignment: str
    at: datetime
    ready: int


def released(
    operations: Iterable[Operation],
    assigned: Mapping[str, frozenset[str]],
    needed: Mapping[str, int],
) -> tuple[Released, ...]:
    """The releases of these assignments (their nodes, how many are needed), the latest first.

    An assignment that begins again by a schedule is released again: each window counts by itself.
    """
    first: dict[tuple[str, datetime | None], dict[str, datetime]] = {}
    for operation in operations:
        holder, ended_at = operation.holder, operation.ended_at
        if operation.state is not OperationState.ACTIVE or ended_at is None:
            continue
        if holder.kind != "Assignment" or operation.node not in assigned.get(holder.name, ()):
            continue
        ready = first.setdefault((holder.name, holder.since), {})
        ready[operation.node] = min(ended_at, ready.get(operation.node, ended_at))
    found = [
        Released(assignment=name, at=sorted(ready.values())[needed[name] - 1], ready=needed[name])
        for (name, _since), ready in first.items()
        if len(ready) >= needed[name]
    ]
    return tuple(sorted(found, key=lambda each: (each.at, each.assignment), reverse=True))
