"""Watches the cycles of a run: when all is as desired, whether it stays so, whether it ever is."""

from __future__ import annotations

from contextlib import suppress

from sim_books import Books
from sim_branch import Branch
from sim_daemon import SimDaemon
from sim_oracles import Witness, unlike
from sim_record import Moment
from sim_room import MachineRoom

from metalwright.daemon.reconcile import CycleResult
from metalwright.errors import StoreError

STAYS_S = 180.0
CHECK_CYCLES = 16
WAITS_NODES_MAX = 400


class Watch:
    """`stable_since` is when the fleet was as desired and nothing was left to do, after `quiet_s`,
    from which on nothing happens any more but for what the product does.
    """

    def __init__(
        self, branch: Branch, room: MachineRoom, witness: Witness, books: Books, quiet_s: float
    ) -> None:
        self.cycles = 0
        self.last: CycleResult | None = None
        self.stable_since: float | None = None
        self._branch, self._room, self._quiet_s = branch, room, quiet_s
        self._witness, self._books = witness, books

    def cycled(self, daemon: SimDaemon, result: CycleResult, moment: Moment) -> None:
        """A cycle is over."""
        self.cycles += 1
        self.last = result
        self._look(daemon, result, moment)
        if self.cycles % CHECK_CYCLES == 0:
            self.sound()
            self._witness.forget_over()
        if self._room.time.now_s < self._quiet_s or result.plan is None:
            return
        plan = result.plan
        newest = daemon.reconciler is not None and plan.revision.id == self._branch.git.head
        as_desired = plan.totals.as_desired == plan.totals.nodes == self._branch.shape.nodes
        settled = newest and result.settled and as_desired
        wrong = self._unlike(daemon) if settled else []
        if self.stable_since is None and settled and not wrong:
            self.stable_since = self._room.time.now_s
        elif self.stable_since is not None and (wrong or plan.actions or plan.in_progress):
            # A daemon that was killed meanwhile has not asked the machines yet: it only waits.
            why = wrong[0] if wrong else result.sentence
            self._witness.broken("stays as desired", why)

    def _look(self, daemon: SimDaemon, result: CycleResult, moment: Moment) -> None:
        """Let the books see what only a whole cycle shows; not each time in a large fleet."""
        self._witness.waves.look(moment)
        often = 4 if self._branch.shape.nodes <= WAITS_NODES_MAX else 64
        if self.cycles % often or daemon.store is None or daemon.reconciler is None:
            return
        inventory = daemon.reconciler.inventory
        if inventory is not None:
            with suppress(StoreError):  # it may still be in the transaction that could not commit
                self._witness.waits.look(daemon.store.memory(), inventory, result.at)

    def _unlike(self, daemon: SimDaemon | None) -> list[str]:
        reconciler = daemon.reconciler if daemon is not None else None
        if reconciler is None or reconciler.inventory is None:
            return ["no daemon runs"]
        branch = self._branch
        return unlike(branch.shape, branch.model, self._room, reconciler.inventory)

    def done(self) -> bool:
        """Whether the run can end: something is broken, or all has been as desired for long."""
        since = self.stable_since
        stays = since is not None and self._room.time.now_s >= since + STAYS_S
        return bool(self._witness.violations) or stays

    def over(self, daemon: SimDaemon | None) -> None:
        """The run is at its end: was it ever as desired?"""
        if self._witness.violations or self.stable_since is not None:
            return
        wrong = self._unlike(daemon)
        said = self.last.sentence if self.last is not None else "no cycle"
        self._witness.broken("becomes as desired", f"{len(wrong)}: {wrong[:3]}; {said}")

    def sound(self) -> None:
        """What the store must never hold."""
        for text in self._books.unsound():
            self._witness.broken("no slot without operation, no operation without end", text)
