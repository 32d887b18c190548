"""What becomes of a store that was found to be an old copy: it keeps its history and nothing else.

What was done since, it does not know: an operation that it takes for unfinished may have ended, and
what it calls applied may be gone. So it is made what a lost store is: nothing is under way, no node
is adopted. No machine is touched, and nothing is until somebody adopts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import delete, or_, select

from metalwright.model.operation import OperationState
from metalwright.store.ledger import Ledger
from metalwright.store.recall import read_unfinished
from metalwright.store.schema import consents, facts, meta, nodes, rollouts


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """What an old copy had: how many operations were ended, how many nodes let go, and which of
    those were held, or in quarantine, in it.
    """

    operations: int
    nodes: int
    braked: tuple[str, ...]


def release_all(ledger: Ledger, why: str, at: datetime) -> Released:
    """End what is unfinished, adopt nothing, and count from above all that was reached before."""
    ledger.must_drive()
    unfinished = read_unfinished(ledger.connection)
    for operation in unfinished:
        over = replace(
            operation,
            state=OperationState.CANCELLED,
            ended_at=at,
            last_error=why,
            failing=False,
        )
        ledger.finish(over, None, at, why)
    known = list(ledger.run(select(nodes.c.node).order_by(nodes.c.node)).scalars())
    stopped = or_(nodes.c.hold_at.is_not(None), nodes.c.quarantine_at.is_not(None))
    braked = ledger.run(select(nodes.c.node).where(stopped).order_by(nodes.c.node)).scalars().all()
    restored = ledger.run(select(meta.c.restored)).scalar_one()
    for table in (nodes, rollouts, consents, facts):
        ledger.run(delete(table))
    ledger.forget_standing()
    for node in known:
        ledger.line(at, node, "released", detail=why)
    generation = ledger.generation
    ledger.set_meta(
        restored=restored + 1,
        forgotten_generation=generation,
        rollouts_generation=generation,
        consents_generation=generation,
    )
    return Released(operations=len(unfinished), nodes=len(known), braked=tuple(braked))
