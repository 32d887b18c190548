"""Which node could take the place of one that failed. Pure, and only a proposal.

Git is the only input, so nothing is swapped here: a commit is suggested that names another node of
the pool. The first one in the natural order of names that is free, well and of the same make is
proposed; of several failed nodes each gets one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from metalwright.model.desired import Desired, DesiredNode
from metalwright.model.documents import Node
from metalwright.model.hardware import CPU_ARCH, Lifecycle
from metalwright.model.identity import Match, compare_identity
from metalwright.model.natural import natural
from metalwright.model.observed import Health, Observed, Power
from metalwright.model.operation import Memory
from metalwright.model.tenancy import Replacement
from metalwright.plan.tenancy import ASSIGNMENT


def replacements(desired: Desired, observed: Observed, memory: Memory) -> Mapping[str, str]:
    """For each failed node of an assignment, the node to take its place, where there is one."""
    failed = list(_failed(desired, memory))
    if not failed:
        return {}
    booked = _booked(desired)
    free: dict[str, list[str]] = {}
    for name in sorted(desired.nodes, key=natural):
        if name not in booked and _is_well(name, desired, observed, memory):
            free.setdefault(desired.nodes[name].pool, []).append(name)
    nodes, found = desired.inventory.nodes, {}
    for wanted in failed:
        make = _make(nodes[wanted.name])
        others = free.get(wanted.pool, [])
        other = next((name for name in others if _make(nodes[name]) == make), None)
        if other is not None:
            others.remove(other)
            found[wanted.name] = other
    return found


def _failed(desired: Desired, memory: Memory) -> Iterator[DesiredNode]:
    """The nodes of assignments that are in quarantine or declared broken, where the pool lets them
    be swapped.
    """
    everyone = {**desired.not_managed, **desired.nodes}
    for name in sorted(everyone, key=natural):
        wanted, remembered = everyone[name], memory.nodes.get(name)
        pool = desired.inventory.pools[wanted.pool].spec
        if wanted.holder.kind != ASSIGNMENT or pool.replacement is not Replacement.SUGGEST:
            continue
        broken = desired.inventory.nodes[name].spec.lifecycle is Lifecycle.BROKEN
        if broken or (remembered is not None and remembered.quarantine is not None):
            yield wanted


def _booked(desired: Desired) -> set[str]:
    """The nodes that an assignment names which is not over for good."""
    found: set[str] = set()
    for name, assignment in desired.inventory.assignments.items():
        when = assignment.spec.when
        if when is None or when.end is None or when.end > desired.at:
            found.update(desired.inventory.assigned[name])
    return found


def _is_well(name: str, desired: Desired, observed: Observed, memory: Memory) -> bool:
    """Whether nothing speaks against giving this node to somebody now."""
    remembered, seen = memory.nodes.get(name), observed.nodes.get(name)
    if remembered is None or seen is None or seen.reading is None:
        return False
    brakes = (remembered.hold, remembered.quarantine, remembered.failed, remembered.operation)
    if desired.nodes[name].hold is not None or any(each is not None for each in brakes):
        return False
    reading, node = seen.reading, desired.inventory.nodes[name]
    fresh = seen.age_s(desired.at) <= desired.inventory.rules.observation_ttl
    other = compare_identity(node.spec, reading.identity).match is Match.OTHER
    well = reading.health in (None, Health.OK) and reading.power is not Power.UNKNOWN
    return fresh and well and not other


def _make(node: Node) -> tuple[object, ...]:
    """What two machines have to have in common to stand in for each other."""
    own = node.spec.properties
    disks = sorted(str((disk.size_gb, disk.rotational)) for disk in own.disks)
    return (
        own.vendor,
        own.model,
        own.cpu_arch or CPU_ARCH,
        own.cpus,
        own.memory_gib,
        own.gpus,
        node.spec.boot_mode,
        tuple(disks),
    )
