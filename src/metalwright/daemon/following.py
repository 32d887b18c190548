"""Which revision is in force: HEAD, or the newest commit before it that has no errors.

What is passed over is the commits with errors, and never a good one below them: it may have taken
back what the revision in force still wants. It reads git and the store, and touches no machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from metalwright.daemon.ancestors import Ancestors
from metalwright.daemon.fleet import Fleet
from metalwright.errors import InventoryError, RepositoryError
from metalwright.model.finding import Finding
from metalwright.model.inventory import Inventory

FACT_IN_FORCE: Final = "in-force"

LINE_MAX: Final = 1_000
"""First parents of a refused HEAD that are looked at."""

LOADS_MAX: Final = 32
"""How many of them are read in one cycle; the next one goes on. Nothing is started meanwhile."""


class Follower:
    """Follows the branch of an opened fleet. One thread at a time."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.inventory: Inventory | None = None
        self.findings: tuple[Finding, ...] = ()
        self.unfetched = ""  # set by whoever fetches a remote repository
        self.ancestors = Ancestors(fleet)
        self.unsure = ""
        """Why it is not known yet which revision should be in force; nothing starts until then."""
        self.reading_on = False
        """Whether that only takes another cycle."""
        self._unread = self._refused = self._unrestored = ""
        self._head: str | None = None

    @property
    def trouble(self) -> str:
        """Why the newest commit may not be the one in force; empty when it is."""
        said = (self.unfetched, self._unread, self._refused, self.unsure, self._unrestored)
        return "; ".join(filter(None, said))

    def follow_head(self) -> None:
        """Load HEAD when it moved; where that has errors, the newest commit before it that has
        none, down to the one in force.
        """
        try:
            head = self.fleet.repository.head()
            if head != self._head:
                self._follow(head)
                self._head = head
            self._unread = ""
        except RepositoryError as error:
            self._unread = str(error)
        if self.inventory is None and not self.unsure:
            self._fall_back()

    def _follow(self, head: str) -> None:
        try:
            loaded = self.fleet.loader.load(head)
        except InventoryError as error:
            self._refused, self.findings = str(error), error.findings
            self._pass_over(head)
        else:
            warnings = self.fleet.loader.last_warnings
            self._put_in_force(loaded)
            self._refused, self.unsure, self.findings = "", "", warnings
            self.reading_on = False

    def _pass_over(self, head: str) -> None:
        """Put the newest good commit before a refused HEAD in force, if the one that is in force is
        older; at start-up, than the one that was when we last ran.
        """
        floor = self._in_force()
        if floor is None:
            return
        self.unsure = f"which commit before {head[:12]} is good is not known yet"
        found = self.ancestors.newest_good(self._since(head, floor), LOADS_MAX)
        if found.passed:
            self._refused = f"the newest {found.passed + 1} commits are refused: {self._refused}"
        self.reading_on = not found.complete
        if self.reading_on:
            raise RepositoryError(f"{LOADS_MAX} commits were read, older ones are next")
        if found.inventory is not None:
            self._put_in_force(found.inventory)
        self.unsure = ""

    def _since(self, head: str, floor: str) -> Iterator[str]:
        """The commits that HEAD came from, by first parents, newest first, down to the one in
        force. A merge may have that on its other side: then those that contain it.
        """
        line = self.ancestors.line(head, LINE_MAX)
        if floor in line:
            yield from line[: line.index(floor)]
            return
        repository = self.fleet.repository
        rewritten = not repository.is_ancestor(floor, head)
        for revision in line:
            if not rewritten and not repository.is_ancestor(floor, revision):
                return
            yield revision

    def _in_force(self) -> str | None:
        """The revision in force. At start-up the one that was when we last ran, or the last one
        that was carried out, where that is newer: the other is written now and then only.
        """
        if self.inventory is not None:
            return self.inventory.revision.id
        store = self.fleet.store
        kept, last = store.fact(FACT_IN_FORCE), store.memory().applied_revision
        if kept is None:
            return last
        revision: str = json.loads(kept[0])["revision"]
        if last is not None and self.fleet.repository.is_ancestor(revision, last):
            return last
        return revision

    def _fall_back(self) -> None:
        """At start-up, where HEAD does not say what should be: go on as when we last ran."""
        try:
            revision = self._in_force()
            if revision is not None:
                self._put_in_force(self.fleet.loader.load(revision))
            self._unrestored = ""
        except (InventoryError, RepositoryError) as error:
            self._unrestored = f"the last good revision cannot be read either: {error}"

    def _put_in_force(self, inventory: Inventory) -> None:
        self.fleet.hand_over_secrets(inventory.revision.id)
        self.inventory, self._unrestored = inventory, ""
