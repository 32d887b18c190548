"""What the oracles share: a violation, an operation as the journal tells it, a book's hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from sim_inventory import Model
from sim_room import CallLog

from metalwright.model.plan import Plan


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise: the oracle's name, when, and what was found."""

    oracle: str
    at_s: float
    text: str


@dataclass(slots=True)
class Known:
    """One operation as the journal's lines tell it, with what the plan that it is from shows.

    `want` names what git wanted of the node when it was made. Of each intent it is known whether
    the driver was called for it, and of the last one whether the answer is written down. `effects`
    are those of the stages that the plan shows.
    """

    id: str
    node: str
    verb: str
    template: str | None = None
    priority: int = 0
    rollout: str = ""
    want: str = ""
    attempts: int = 0
    scopes: tuple[str, ...] = ()
    held: bool = False
    over: bool = False
    told_s: float | None = None
    intents: list[tuple[str, str, bool]] = field(default_factory=list)
    answered: bool = False
    effects: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What the daemon went by in the cycle whose lines were written."""

    model: Model
    plan: Plan | None
    began_s: float
    process: int


class Book:
    """The books of one promise; each overrides what it needs to hear of."""

    broken: Callable[[str, str], None]
    now_s: Callable[[], float]

    def line(self, node: str, event: str, detail: str, moment: Moment) -> None:
        """A line of the journal."""

    def created(self, known: Known, moment: Moment) -> None:
        """An operation was made."""

    def admitted(self, known: Known, moment: Moment) -> None:
        """An attempt begins."""

    def released(self, known: Known) -> None:
        """An attempt is over."""

    def ended(self, known: Known, event: str, moment: Moment) -> None:
        """An operation is over."""

    def intended(self, known: Known, kind: str, moment: Moment) -> None:
        """An effect is meant."""

    def called(self, known: Known, log: CallLog) -> None:
        """A driver is called."""

    def acted(self, log: CallLog) -> None:
        """A machine was told."""
