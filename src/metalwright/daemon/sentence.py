"""A cycle in one sentence, for the log and for `mw status`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from metalwright.execute import CycleReport
from metalwright.model.plan import Plan


def sentence_of(plan: Plan, report: CycleReport, trouble: str) -> str:
    """The one sentence of a cycle.

    Such as: `revision 3f2c1a9: 2 started, 3 in flight, 5 blocked (4 FROZEN, 1 NOT_OBSERVED), 41 as
    desired`.
    """
    totals = plan.totals
    parts = [f"{report.admitted} started"] if report.admitted else []
    waiting = totals.in_progress + totals.changes
    if waiting:
        parts.append(f"{waiting} in progress")
    if totals.blocked:
        reasons = _counts(totals.by_blocked)
        parts.append(f"{totals.blocked} blocked ({reasons})")
    parts.append(f"{totals.as_desired} as desired")
    if plan.abandoned_revision is not None:
        parts.append(f"stopped: the history no longer has {plan.abandoned_revision[:12]}")
    ending = f"; the last good commit stays in force: {trouble.splitlines()[0]}" if trouble else ""
    return f"revision {plan.revision.id[:7]}: {', '.join(parts)}{ending}"


def _counts(counts: Mapping[str, int]) -> str:
    ordered = Counter(dict(counts)).most_common()
    return ", ".join(f"{count} {reason}" for reason, count in ordered)
