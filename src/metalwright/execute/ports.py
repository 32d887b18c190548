"""What the execute room needs from outside, and nothing more of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Protocol, runtime_checkable

from metalwright.model.documents import Node
from metalwright.model.operation import Applied, Effect, EffectKind, Memory, Operation
from metalwright.model.rollout import Rollout


class Journal(Protocol):
    """The durable record. See `metalwright.store.Store`, which is one."""

    def batch(self) -> AbstractContextManager[None]:
        """Make the writes within durable together, or none of them."""

    def memory(self) -> Memory:
        """What is remembered of the fleet."""

    def slots(self) -> Mapping[str, Mapping[int, str]]:
        """Scope, slot number, id of the operation that holds it."""

    def create(
        self, operations: Sequence[Operation], at: datetime, revision: str | None
    ) -> tuple[Operation, ...]:
        """Make pending operations; those that were made."""

    def admit(self, operation: Operation, limits: Mapping[str, int], at: datetime) -> bool:
        """Start an operation with a slot in every scope, or not at all."""

    def save(self, operation: Operation, event: str, at: datetime, detail: str = "") -> bool:
        """Record a step; false when it is outdated."""

    def retry(self, operation: Operation, at: datetime, detail: str = "") -> bool:
        """End an attempt; false when it is outdated."""

    def finish(
        self, operation: Operation, applied: Applied | None, at: datetime, detail: str = ""
    ) -> bool:
        """End an operation; false when it is outdated."""

    def save_rollouts(self, rollouts: Sequence[Rollout], at: datetime) -> None:
        """Keep rollouts as they are now; those that are over are not remembered any more."""

    def consent(self, keys: Sequence[str], at: datetime) -> None:
        """Remember the keys of disruptive changes that a commit acknowledged."""

    def lapse(self, keys: Sequence[str]) -> None:
        """Forget the keys of changes that git does not want any more, or that are done."""

    def take_starts(self, starts: Mapping[str, datetime]) -> None:
        """Set the instants of start-rate buckets."""

    def learn(self, samples: Mapping[str, Sequence[float]], at: datetime) -> None:
        """Keep what stages took, in seconds, by `stage_key`."""

    def quarantine(self, node: str, reason: str, at: datetime) -> None:
        """Leave a node alone until somebody resumes it."""

    def drop_holds(self, nodes: Sequence[str], at: datetime, detail: str) -> None:
        """Let local holds go."""


class Provisioner(Protocol):
    """The half of a driver that changes hardware."""

    @property
    def capabilities(self) -> frozenset[EffectKind]:
        """The effects that it can bring about."""

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Begin an effect and return; its consequences are observed.

        Raises:
            TemporaryError: it may or may not have worked; another try may help.
            PermanentError: it will not work until something is changed.
        """


@runtime_checkable
class HardwareEngine(Protocol):
    """A driver whose service needs to know what an effect is for: it deploys and wipes by itself.

    Its readings say how far it is (`Reading.progress`), and it is asked for the same effect once
    more when it waits for that.
    """

    def carry_out(self, node: Node, operation: Operation, timeout_s: float) -> None:
        """Begin the intent of `operation`, or go on with it, and return; as `apply`.

        Raises:
            NotBegunError: it has to wait its turn; nothing was begun.
            TemporaryError, PermanentError: as for `apply`.
        """


class PowersOn(Protocol):
    """A driver of which other effects than `power on` switch a machine on."""

    @property
    def powers_on(self) -> frozenset[EffectKind]:
        """All that do; each takes a start token."""


class Random(Protocol):
    """The randomness for pauses and names: `random.Random`, or one that replays."""

    def uniform(self, a: float, b: float, /) -> float:
        """A number between `a` and `b`."""

    def getrandbits(self, k: int, /) -> int:
        """`k` random bits."""
