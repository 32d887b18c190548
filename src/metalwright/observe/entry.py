"""The values of a sweep: what is known of one node, one asking, one answer. They decide nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from metalwright.model.documents import Node
from metalwright.model.observed import ErrorKind, Observation, ObservationError, Reading


class Lane(Enum):
    """The queue that a node waits in."""

    BUSY = "busy"
    HEALTHY = "healthy"
    FAILING = "failing"


@dataclass(slots=True, eq=False)
class Entry:
    """What is known of one node. Replaced, not reset, when the node becomes another machine."""

    node: Node
    due: datetime
    busy_due: datetime
    observation: Observation | None = None
    answered_at: datetime | None = None
    order: int = 0
    version: str | None = None

    @property
    def failures(self) -> int:
        """How often in a row it failed."""
        return self.observation.failures if self.observation is not None else 0

    @property
    def kind(self) -> ErrorKind | None:
        """What failed last time, if it did."""
        error = self.observation.error if self.observation is not None else None
        return None if error is None else error.kind

    def is_about(self, node: Node) -> bool:
        """Whether `node` is asked at the same BMC, in the same way, as this entry's was."""
        return _address(self.node) == _address(node)


def _address(node: Node) -> tuple[object, ...]:
    """Whatever a driver may find the machine by; one of somebody else's by an annotation."""
    spec = node.spec
    return spec.driver, spec.bmc, spec.ironic_node, node.metadata.annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One node to be asked now. `order` grows with every asking, whatever the clock does."""

    entry: Entry
    lane: Lane
    order: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one asking came to, and when it began."""

    at: datetime
    reading: Reading | None = None
    error: ObservationError | None = None


def same(before: Observation, after: Observation) -> bool:
    """Whether two observations tell the same, but for their time."""
    kinds = [each.error.kind if each.error is not None else None for each in (before, after)]
    return before.reading == after.reading and kinds[0] is kinds[1]
