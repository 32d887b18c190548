"""A cycle that came to nothing, and the JSON that `mw status` reads of any cycle. Only words.

What broke a promise is named as it names itself. Of an exception that is none of ours only the type
and the place are told: nobody has seen to it that there is no secret in its text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from metalwright.daemon.reconcile import CycleResult
from metalwright.errors import MetalwrightError, PlanError, RepositoryError, StoreError, mistake_of
from metalwright.model.finding import Finding

FORESEEN: Final = (PlanError, StoreError, RepositoryError)
"""What a cycle says that it raises."""

FINDINGS_SHOWN_MAX: Final = 100
WHY_SHOWN_MAX: Final = 400
"""Characters of a reason: a plan may break as many promises as there are nodes."""


def why_of(error: Exception) -> str:
    """Why a cycle was not finished, without any secret."""
    if isinstance(error, MetalwrightError):
        return str(error)
    return f"a mistake in Metalwright: {mistake_of(error)}"


def broken_off(error: Exception, at: datetime) -> CycleResult:
    """What is told of a cycle that was not finished."""
    why = why_of(error)
    short = why if len(why) <= WHY_SHOWN_MAX else f"{why[:WHY_SHOWN_MAX]}..."
    return CycleResult(at=at, sentence=f"the last cycle was broken off: {short}", trouble=short)


def summary(result: CycleResult, findings: Sequence[Finding]) -> str:
    """The JSON that `mw status` reads: the last cycle of the daemon."""
    plan = result.plan
    return json.dumps(
        {
            "at": result.at.isoformat(),
            "sentence": result.sentence,
            "revision": plan.revision.id if plan is not None else None,
            "trouble": result.trouble,
            "alerts": result.alerts,
            "unpassed": dict(result.unpassed),
            "findings": [str(finding) for finding in findings][:FINDINGS_SHOWN_MAX],
        },
        sort_keys=True,
    )
