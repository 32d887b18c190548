"""The timeline: operations grouped by the commit that wanted them, newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from metalwright.model.inventory import Commit
from metalwright.model.operation import Operation, OperationState, Verb


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationGroup:
    """Operations of one commit with the same verb, state and place in git; node names sorted."""

    verb: Verb
    state: OperationState
    source: str
    nodes: tuple[str, ...]
    last_error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitEffect:
    """One commit and everything that was done because of it, between two instants.

    `ended_at` is `None` while something of it is unfinished.
    """

    commit: Commit
    began_at: datetime
    ended_at: datetime | None
    groups: tuple[OperationGroup, ...]


def timeline(operations: Iterable[Operation]) -> tuple[CommitEffect, ...]:
    """Group operations by commit, the commit that acted last first."""
    by_commit: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        by_commit[operation.commit.id].append(operation)
    effects = [_effect(members) for members in by_commit.values()]
    return tuple(sorted(effects, key=lambda effect: (effect.began_at, effect.commit.id))[::-1])


def _effect(operations: list[Operation]) -> CommitEffect:
    ends = [operation.ended_at for operation in operations]
    groups: dict[tuple[Verb, OperationState, str, str], list[str]] = defaultdict(list)
    for operation in operations:
        error = operation.last_error if operation.state is not OperationState.ACTIVE else ""
        key = (operation.verb, operation.state, str(operation.source), error)
        groups[key].append(operation.node)
    return CommitEffect(
        commit=operations[0].commit,
        began_at=min(operation.created_at for operation in operations),
        ended_at=None if None in ends else max(end for end in ends if end is not None),
        groups=tuple(
            OperationGroup(
                verb=verb,
                state=state,
                source=source,
                nodes=tuple(sorted(nodes)),
                last_error=error,
            )
            for (verb, state, source, error), nodes in sorted(groups.items())
        ),
    )
