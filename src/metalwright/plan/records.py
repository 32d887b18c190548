"""Records that only need another name: nothing of the machine has to change for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from metalwright.model.desired import Desired
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory
from metalwright.model.observed import Observed
from metalwright.model.operation import Applied, Memory
from metalwright.plan.tenancy import same_tenancy


def unchanged_records(
    desired: Desired,
    memory: Memory,
    observed: Observed,  # noqa: ARG001 - a name does not depend on what the hardware says
    inventory: Inventory,
) -> Mapping[str, Applied]:
    """The nodes that are as git wants but recorded under another name, and their new records.

    Such are a renamed assignment, an edited owner or start, a move between two pools that want the
    same. A different target is never recorded without an operation, however little that would do.
    The holder is recorded also while another target waits, and alone where only the end of its
    window was edited: that end tells the next window from an edit of this one (`same_tenancy`).
    """
    records: dict[str, Applied] = {}
    for name, wanted in desired.nodes.items():
        remembered = memory.nodes.get(name)
        if remembered is None or remembered.applied is None or remembered.operation is not None:
            continue
        applied = remembered.applied
        if applied.holder == wanted.holder:
            continue
        same = applied.target.digest == wanted.target.digest
        if not same_tenancy(applied.holder, wanted.holder, inventory, same_target=same):
            continue
        if not same or replace(applied.holder, until=wanted.holder.until) == wanted.holder:
            records[name] = replace(applied, holder=wanted.holder)
        else:
            records[name] = Applied(
                target=wanted.target,
                holder=wanted.holder,
                revision=inventory.revision.id,
                source=wanted.source,
                at=desired.at,
            )
    return FrozenDict(records)
