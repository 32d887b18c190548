"""Whether two holders are one tenancy: the boundary between two is where a machine is made anew."""

from __future__ import annotations

from metalwright.model.desired import Holder
from metalwright.model.inventory import Inventory

ASSIGNMENT, POOL = "Assignment", "Pool"


def same_tenancy(old: Holder, new: Holder, inventory: Inventory, *, same_target: bool) -> bool:
    """Whether a node that was brought to `old` has passed no boundary on its way to `new`.

    `same_target` says whether both want the same. Beside an equal holder these are one tenancy:

    - an assignment under another name, when the old name is gone from git and owner, start and
      target are the same: it was renamed;
    - an assignment whose start was edited, in itself or in its schedule. Only a window that a
      schedule gives and that begins when the former one is over is another tenancy, its next
      window: an edit must never cost a tenant the machine;
    - an assignment whose owner was edited;
    - two pools that want the same: the node only changed lists.
    """
    if old == new:
        return True
    if old.kind != new.kind:
        return False
    if old.kind == POOL:
        return old.name == new.name or same_target
    if old.name != new.name:
        gone = old.name not in inventory.assignments
        return gone and same_target and (old.owner, old.since) == (new.owner, new.since)
    return not _next_window(old, new, inventory)


def _next_window(old: Holder, new: Holder, inventory: Inventory) -> bool:
    """Whether `new` begins at or after the end that `old` is known to have had.

    The schedule as git has it now cannot tell: windows that are over are pruned from it, and the
    one in force is edited. What was recorded with the machine can. An end that is not known (a
    record of before it was kept) is none: the next cycle records it.
    """
    if old.until is None or new.since is None or new.since < old.until:
        return False
    when = inventory.assignments[new.name].spec.when
    return when is not None and when.schedule is not None
