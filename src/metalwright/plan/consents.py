"""What a commit acknowledged, change by change: how each change is called, and when that is over.

A consent is for one node on its way from what it is to one target for one holder, and where that
loses what is on its disks, for just that loss. It is spent when the change is done, and it lapses
when git wants something else of the node, so that none of a machine that was silent for weeks, or
of an older revision, lets a later change pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from metalwright.model.desired import DesiredNode, Holder
from metalwright.model.digest import digest_of
from metalwright.model.fields import format_instant
from metalwright.model.operation import NodeMemory, Verb
from metalwright.plan.context import Ground
from metalwright.plan.verbs import destroys_data

SPENT_MAX: Final = 1_000
"""Consents that are spent and wait to be forgotten together: they match nothing any more."""

Change = tuple[str, Verb]
Row = list[str]


class Names:
    """Names of changes. Kept from plan to plan it makes no name twice."""

    def __init__(self) -> None:
        self._states: dict[str, tuple[DesiredNode, NodeMemory, Row, dict[Verb, Row]]] = {}
        self._digest: tuple[list[Row], str] = ([], "")

    def digest(self, changes: Iterable[Change], ground: Ground) -> str:
        """The name of a set of disruptive changes; empty when there are none.

        It depends on git and on what we did, not on which BMC answers or which freeze is in force
        at the moment: what waits only for those is part of the set. So an acknowledgement that was
        committed an hour later still fits. With each change goes since when its node is what it
        is: the same set, wanted again when all of it was done, has another name.
        """
        rows = [self._row(node, verb, ground) for node, verb in changes]
        if not rows:
            return ""
        if rows != self._digest[0]:
            self._digest = (rows, digest_of(sorted(rows)))
        return self._digest[1]

    def key(self, node: str, verb: Verb, ground: Ground) -> str:
        """The name of what is remembered of one node once a commit acknowledged its change: the
        node, since when it is what it is, where it goes, and what that destroys.
        """
        *goal, since = self._state(node, ground)[0]
        return f"{node}/{since}/{digest_of([*goal, *_loss(node, verb, ground)])}"

    def keys(self, node: str, ground: Ground) -> list[str]:
        """The names of all that git may want of one node by now: to be restarted, or made anew."""
        return [self.key(node, verb, ground) for verb in (Verb.REBOOT, Verb.DEPLOY)]

    def _row(self, node: str, verb: Verb, ground: Ground) -> Row:
        state, rows = self._state(node, ground)
        if verb not in rows:
            rows[verb] = [node, verb.value, *state, *_loss(node, verb, ground)]
        return rows[verb]

    def _state(self, node: str, ground: Ground) -> tuple[Row, dict[Verb, Row]]:
        """Where a node is to go, and since when it is what it is."""
        wanted, remembered = ground.desired.nodes[node], ground.memory.nodes[node]
        kept = self._states.get(node)
        if kept is None or kept[0] is not wanted or kept[1] is not remembered:
            known = remembered.applied or remembered.former
            since = known.at if known is not None else remembered.adopted_at
            state = [wanted.target.digest, holder_key(wanted.holder), since.isoformat()]
            kept = self._states[node] = (wanted, remembered, state, {})
        return kept[2], kept[3]


def _loss(node: str, verb: Verb, ground: Ground) -> Row:
    """That a change loses what is on the disks, and how: no digest of a target covers that."""
    template = ground.desired.nodes[node].target.template
    if template is None or not destroys_data(verb, template):
        return []
    return ["destroys data", template.wipe.value]


def holder_key(holder: Holder) -> str:
    """A holder with the start of its window: `assignment/loan@2026-11-20T08:00:00Z`."""
    since = format_instant(holder.since) if holder.since is not None else ""
    return f"{holder}@{since}"


def lapsed(ground: Ground, names: Names) -> tuple[str, ...]:
    """The consents to be forgotten: those whose node git wants something else of by now.

    With them, or when they are many, go those that are spent.
    """
    over: list[str] = []
    spent: list[str] = []
    for key in ground.memory.consents:
        name = key.partition("/")[0]
        if name not in ground.desired.nodes or name not in ground.memory.nodes:
            over.append(key)
            continue
        now = names.keys(name, ground)
        if key not in now:
            # What the node was is gone for good with its instant: no later change is called so.
            same = now[0].rpartition("/")[0] == key.rpartition("/")[0]
            (over if same else spent).append(key)
    return tuple(sorted([*over, *spent])) if over or len(spent) >= SPENT_MAX else ()


def unused(acknowledge: Sequence[str], matched: Iterable[str]) -> tuple[str, ...]:
    """The acknowledgements that name nothing which waits now."""
    names = [name for name in matched if name]
    return tuple(one for one in acknowledge if not any(name.startswith(one) for name in names))
