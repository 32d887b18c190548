"""Counting nodes in the groups of a blast radius: the fleet, each pool, each failure domain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from metalwright.model.desired import Desired
from metalwright.model.policy import BlastRadius, Radius

FLEET: Final = "fleet"


@dataclass(slots=True)
class Scale:
    """Counts nodes by group and compares them with the limits of the groups."""

    desired: Desired
    radius: BlastRadius
    _sizes: Counter[str] = field(default_factory=Counter)
    _counted: tuple[list[str], Counter[str]] = field(default_factory=lambda: ([], Counter()))

    def fits(self, desired: Desired, radius: BlastRadius) -> bool:
        """Whether another one would count the same."""
        mine = self.desired
        same = mine.nodes is desired.nodes and mine.inventory is desired.inventory
        return same and self.radius == radius

    def limited(self) -> bool:
        """Whether any group has a limit."""
        parts: list[BlastRadius | Radius] = [self.radius, self.radius.pools]
        parts += self.radius.labels.values()
        return any(part.nodes_max is not None or part.percent_max is not None for part in parts)

    def count(self, nodes: Iterable[str]) -> Counter[str]:
        """How many of these nodes are in each group."""
        return Counter(group for node in nodes for group in self._groups(node))

    def count_again(self, nodes: list[str]) -> Counter[str]:
        """The same, where the nodes are most often those of last time."""
        if nodes != self._counted[0]:
            self._counted = (nodes, self.count(nodes))
        return self._counted[1]

    def _groups(self, node: str) -> Iterator[str]:
        yield FLEET
        wanted = self.desired.nodes.get(node)
        if wanted is None:
            return
        yield f"pool {wanted.pool}"
        labels = self.desired.inventory.nodes[node].metadata.labels
        for key in self.radius.labels:
            if key in labels:
                yield f"{key}={labels[key]}"

    def beyond(self, counts: Mapping[str, int]) -> list[tuple[str, int, int]]:
        """Group, count and limit where a limit does not hold; the fleet first."""
        found = []
        for group, count in sorted(counts.items(), key=lambda item: (item[0] != FLEET, item[0])):
            limit = allowed(self._limits(group), self._size(group))
            if limit is not None and count > limit:
                found.append((group, count, limit))
        return found

    def _limits(self, group: str) -> BlastRadius | Radius:
        if group == FLEET:
            return self.radius
        if "=" in group:
            return self.radius.labels[group.partition("=")[0]]
        return self.radius.pools

    def _size(self, group: str) -> int:
        if not self._sizes:
            self._sizes = self.count(self.desired.nodes)
        return self._sizes[group]


def allowed(radius: BlastRadius | Radius, managed: int) -> int | None:
    """How many nodes may be disrupted, of so many managed ones; `None` without a limit.

    A percentage is rounded down, to one node at least.
    """
    limits = []
    if radius.nodes_max is not None:
        limits.append(radius.nodes_max)
    if radius.percent_max is not None:
        limits.append(max(1, managed * radius.percent_max // 100))
    return min(limits, default=None)


def stricter(one: BlastRadius, other: BlastRadius | None) -> BlastRadius:
    """Of each limit the smaller one of both."""
    if other is None or one == other:
        return one
    labels = {
        key: _smaller(one.labels.get(key, Radius()), other.labels.get(key, Radius()))
        for key in sorted(one.labels.keys() | other.labels.keys())
    }
    return BlastRadius(
        nodes_max=_least(one.nodes_max, other.nodes_max),
        percent_max=_least(one.percent_max, other.percent_max),
        pools=_smaller(one.pools, other.pools),
        labels=labels,
    )


def _smaller(one: Radius, other: Radius) -> Radius:
    return Radius(
        nodes_max=_least(one.nodes_max, other.nodes_max),
        percent_max=_least(one.percent_max, other.percent_max),
    )


def _least(*limits: int | None) -> int | None:
    return min((limit for limit in limits if limit is not None), default=None)
