"""Whose data may remain on a node's disks, and whether it would get into another owner's hands.

The store remembers the assignment that a node was booted for last until a wipe is proven (data
remanence, NIST SP 800-88). Until then no assignment of another owner boots on it unless the same
operation wipes it first. What rests on it in its pool is the landlord's business.
"""

from __future__ import annotations

from collections.abc import Collection

from metalwright.model.fields import format_instant
from metalwright.model.operation import Stage
from metalwright.model.plan import BlockedReason
from metalwright.model.tenancy import Reuse
from metalwright.plan.difference import Case, Difference
from metalwright.plan.no import No
from metalwright.plan.tenancy import ASSIGNMENT, same_tenancy
from metalwright.plan.verbs import stages_of


def not_wiped(case: Case, found: Difference) -> No | None:
    """Why a node may not be handed on as it is, if it may not."""
    why = exposed(case, stages_of(found.verb, case.wanted.target))
    return No(reason=BlockedReason.NOT_WIPED, message=why) if why else None


def exposed(case: Case, stages: Collection[Stage]) -> str:
    """Whose data these stages would give to another owner, and what to do; empty for nobody's."""
    tenant, wanted = case.remembered.tenant, case.wanted
    if tenant is None or wanted.holder.kind != ASSIGNMENT or tenant.owner == wanted.holder.owner:
        return ""
    if Stage.BOOT not in stages or Stage.WIPE in stages or _stays(case):
        return ""
    if case.inventory.pools[wanted.pool].spec.reuse is Reuse.UNWIPED:
        return ""
    since = f" since {format_instant(tenant.since)}" if tenant.since is not None else ""
    template = wanted.target.template
    name = template.name if template is not None else ""
    return (
        f"its disks may hold data of {tenant.owner} ({tenant}{since}), and nothing wipes them"
        f" before {wanted.holder.owner} gets it: give template {name} a wipe, or let the tenants of"
        f" pool {wanted.pool} have each other's disks (reuse: unwiped)"
    )


def _stays(case: Case) -> bool:
    """Whether the tenant has the machine still, under another owner's name in git by now."""
    known, tenant, wanted = case.known, case.remembered.tenant, case.wanted
    if known is None or tenant is None or known.holder.owner != tenant.owner:
        return False
    same_target = known.target.digest == wanted.target.digest
    return same_tenancy(known.holder, wanted.holder, case.inventory, same_target=same_target)
