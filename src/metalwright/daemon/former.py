"""The blast radius that was in force before a commit, so that none widens the radius for itself.

It is that of the nearest ancestor, by first parents, that is an inventory without errors: a broken
commit in between widens nothing. Where no ancestor can be read (a shallow clone, a history that was
pushed anew and collected), it is what was in force here before, which the store remembers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from metalwright.daemon.ancestors import Ancestors
from metalwright.daemon.fleet import Fleet
from metalwright.errors import RepositoryError
from metalwright.model.inventory import Inventory
from metalwright.model.policy import BlastRadius

FACT_RADIUS: Final = "radius"
ANCESTORS_MAX: Final = 8
"""Ancestors that are tried; each of them but the last was refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _InForce:
    """A revision that was in force, its radius, and the one that counted beside that."""

    revision: str
    radius: BlastRadius
    former: BlastRadius | None


_KEPT: Final = TypeAdapter(_InForce)


class Former:
    """Answers for one revision after the other; each is worked out once."""

    def __init__(self, fleet: Fleet, ancestors: Ancestors) -> None:
        self._fleet, self._ancestors = fleet, ancestors
        self._known: _InForce | None = None
        self._written = ""

    def radius(self, inventory: Inventory) -> BlastRadius | None:
        """The radius before this revision; `None` where nothing is known of any."""
        revision = inventory.revision.id
        if self._known is None or self._known.revision != revision:
            former = self._of_ancestors(revision) or self._remembered(revision)
            own = inventory.rules.blast_radius
            self._known = _InForce(revision=revision, radius=own, former=former)
        return self._known.former

    def remember(self, at: datetime) -> None:
        """Keep what is in force, for the day on which its ancestors cannot be read."""
        known = self._known
        if known is not None and known.revision != self._written:
            text = _KEPT.dump_json(known).decode()
            self._fleet.store.put_fact(FACT_RADIUS, text, at)
            self._written = known.revision

    def _of_ancestors(self, revision: str) -> BlastRadius | None:
        try:
            line = self._ancestors.line(revision, ANCESTORS_MAX)
            found = self._ancestors.newest_good(line, ANCESTORS_MAX)
        except RepositoryError:
            return None
        return found.inventory.rules.blast_radius if found.inventory is not None else None

    def _remembered(self, revision: str) -> BlastRadius | None:
        kept = self._fleet.store.fact(FACT_RADIUS)
        if kept is None:
            return None
        before = _KEPT.validate_json(kept[0])
        return before.former if before.revision == revision else before.radius
