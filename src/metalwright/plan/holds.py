"""Brakes on one node: a hold in git, a hold of an operator here, a quarantine. In words.

A node with a brake on starts nothing, whatever git wants and whatever the hardware says; what is
under way there gives way at its next safe point.
"""

from __future__ import annotations

from collections.abc import Iterator

from metalwright.model.desired import DesiredNode
from metalwright.model.fields import format_instant
from metalwright.model.operation import NodeMemory
from metalwright.model.plan import BlockedReason

SUGGESTED = "lifecycle: broken"
"""The commit that takes a quarantined machine out of the fleet for good, until it is repaired."""


def braked(wanted: DesiredNode, remembered: NodeMemory) -> tuple[BlockedReason, str] | None:
    """Why nothing may be started on the node, if something holds it.

    A quarantine comes first: it is the one that no hold's end lifts. Where git has a hold and an
    operator put one on here, both are told of; see `holds_in_git`.
    """
    quarantine = remembered.quarantine
    if quarantine is not None:
        since = format_instant(quarantine.at.replace(microsecond=0))
        return BlockedReason.QUARANTINED, (
            f"in quarantine since {since}: {quarantine.reason}; mend it and `mw resume NODE`,"
            f" or commit to the Node: {SUGGESTED}"
        )
    told = [*_of_git(wanted), *_of_an_operator(remembered)]
    if holds_in_git(wanted, remembered):
        told.pop()  # it goes in favour of git's
    return (BlockedReason.HELD, "; besides: ".join(told)) if told else None


def _of_git(wanted: DesiredNode) -> Iterator[str]:
    if wanted.hold is not None:
        until = wanted.hold.until
        end = f" until {format_instant(until)}" if until is not None else ""
        yield f"held in git{end}: {wanted.hold.reason}"


def _of_an_operator(remembered: NodeMemory) -> Iterator[str]:
    hold = remembered.hold
    if hold is not None:
        since = format_instant(hold.at.replace(microsecond=0))
        yield (
            f"held by {hold.by} since {since}: {hold.reason}; `mw resume NODE` lets it go,"
            " or declare the hold in git (spec.hold)"
        )


def holds_in_git(wanted: DesiredNode, remembered: NodeMemory) -> bool:
    """Whether git declares by now what an operator put on here: then git's hold is the one.

    A hold of git that ends by itself takes nothing over: the operator's would end with it, and
    nobody has said that it may.
    """
    if wanted.hold is None or remembered.hold is None:
        return False
    return wanted.hold.until is None
