"""Equal lines of a plan folded into one group each: what 2,000 nodes have in common is said once.

A group holds a line that speaks for all of them and the names of all. What differs by node but does
not matter to a reader (which revision a node came from, when its BMC is asked next) does not split
a group.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from metalwright.model.natural import natural
from metalwright.model.plan import (
    NEEDS_ACKNOWLEDGEMENT,
    Action,
    Blocked,
    BlockedReason,
    InProgress,
    Reason,
)

Line = TypeVar("Line", Action, Blocked, InProgress)

_REASONS: Final = tuple(BlockedReason)


@dataclass(frozen=True, slots=True)
class Group(Generic[Line]):
    """One line that stands for those of all the `nodes`; `starting` of them start now."""

    line: Line
    nodes: tuple[str, ...]
    starting: int = 0


def action_groups(actions: Iterable[Action], *, apart: bool) -> list[Group[Action]]:
    """The most dangerous first, then the largest. `apart` keeps every node by itself."""
    found = _folded(actions, _action_key, apart=apart)
    return sorted(found, key=lambda group: (_danger(group.line), *_size(group)))


def blocked_groups(blocked: Iterable[Blocked], *, apart: bool) -> list[Group[Blocked]]:
    """By reason and message: what waits for a commit first, and within it the dangerous first."""
    found = _folded(blocked, _blocked_key, apart=apart)
    destroying = {group.line.message for group in found if group.line.destroys_data}

    def key(group: Group[Blocked]) -> tuple[object, ...]:
        line = group.line
        return (
            line.reason not in NEEDS_ACKNOWLEDGEMENT,
            _REASONS.index(line.reason),
            line.message not in destroying,
            line.message,
            not line.destroys_data,
            *_size(group),
        )

    return sorted(found, key=key)


def progress_groups(progress: Iterable[InProgress], *, apart: bool) -> list[Group[InProgress]]:
    """What gives way first, then the largest."""
    found = _folded(progress, _progress_key, apart=apart)
    return sorted(found, key=lambda group: (group.line.fate.value == "continue", *_size(group)))


def _folded(
    lines: Iterable[Line], key_of: Callable[[Line], Hashable], *, apart: bool
) -> list[Group[Line]]:
    members: dict[Hashable, list[Line]] = {}
    for line in lines:
        key = (line.node, key_of(line)) if apart else key_of(line)
        members.setdefault(key, []).append(line)
    return [
        Group(
            line=some[0],
            nodes=tuple(sorted((one.node for one in some), key=natural)),
            starting=sum(isinstance(one, Action) and one.starts_now for one in some),
        )
        for some in members.values()
    ]


def _danger(action: Action) -> int:
    return 0 if action.destroys_data else 1 if action.disruptive else 2


def _size(group: Group[Line]) -> tuple[int, str, tuple[tuple[int, int, str], ...]]:
    verb = group.line.verb
    return -len(group.nodes), verb.value if verb is not None else "", natural(group.nodes[0])


def shown_reasons(reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
    """The reasons without what a reader does not see of them."""
    return tuple(replace(reason, former_revision=None) for reason in reasons)


def _action_key(action: Action) -> Hashable:
    return (
        action.verb,
        action.pool,
        action.holder,
        action.target.digest,
        action.priority,
        action.disruptive,
        action.destroys_data,
        action.stages,
        shown_reasons(action.reasons),
    )


def _blocked_key(line: Blocked) -> Hashable:
    return (
        line.reason,
        line.message,
        line.verb,
        line.destroys_data,
        shown_reasons(line.reasons),
    )


def _progress_key(line: InProgress) -> Hashable:
    return (
        line.verb,
        line.fate,
        line.destroys_data,
        line.stage,
        line.attempt,
        line.why,
        line.last_error,
        line.commit.id,
    )
