"""One run: a scenario played to its end under virtual time, watched by the oracles."""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sim_books import Books, new_store
from sim_branch import Branch
from sim_daemon import SimDaemon, Surroundings
from sim_inventory import BAD, initial, wanted
from sim_oracles import Moment, Witness
from sim_people import OPERATOR_S, People
from sim_result import Result, bound_s, ends, wanted_text
from sim_room import MachineRoom
from sim_scenario import Event, Scenario
from sim_settings import settings_of
from sim_time import START, Killed, Scheduler, VirtualClock
from sim_trouble import Trouble
from sim_watch import Watch

from metalwright.daemon.reconcile import CycleResult, applied_as
from metalwright.errors import LockedError
from metalwright.inventory import Loader, Repository
from metalwright.schedule import desired as resolve
from metalwright.store import Store, fleet_lock


class World:
    """The machine room, the repository, the people, and the daemons one after another."""

    def __init__(
        self,
        scenario: Scenario,
        home: Path,
        crash_at: tuple[int, ...] = (),
        tell: Callable[[str], None] | None = None,
        daemons: type[SimDaemon] = SimDaemon,
        store: str = "",
    ) -> None:
        self._daemons, self._say = daemons, tell
        self.scenario, self.home, self.shape = scenario, home, scenario.shape
        self._hash = hashlib.blake2b(digest_size=16)
        self.time = Scheduler(scenario.seed)
        self.clock = VirtualClock(self.time)
        self.room = MachineRoom(self.time, scenario.seed, scenario.speed, scenario.calls_max)
        self.branch = Branch(home / "inventory.git", self.shape, self.time, self._moved)
        self.counts: Counter[str] = Counter()
        self.boundaries = self.crashes = 0
        self.boundary_names: list[str] = []
        self._crash_at = set(crash_at)
        self._daemon: SimDaemon | None = None
        self._former: list[SimDaemon] = []
        self._known: set[str] = set()
        self._number = self.clock_set = 0
        self.settings = settings_of(scenario, home, store)
        if not store:
            new_store(home / "store.sqlite")
        self._books = Books(self.settings.store)
        self.witness = Witness(self.shape, self.room, self._books.lines, self.tell)
        self.people = People(
            self.settings.store, self.branch, self.time, self.clock, self.counts, self._note
        )
        self.trouble = Trouble(self.room, self.time, self.clock, self, self.counts)
        self.around = self._surroundings()
        first = initial(self.shape, scenario.fleet_limit, scenario.rack_limit)
        self.branch.commit(first | scenario.rules, "The fleet", None)
        self._adopt()
        self._begins = ends(self.room, self.shape)
        self.quiet_s = scenario.quiet_s
        self.bound_s = self.quiet_s + bound_s(scenario)
        self.watch = Watch(self.branch, self.room, self.witness, self._books, self.quiet_s)

    def run(self) -> Result:
        """Play the scenario to its end."""
        for event in self.scenario.events:
            self.time.at(event.at_s, lambda event=event: self._happen(event))
        self.time.at(0.0, self._start)
        self.time.at(OPERATOR_S, self._people)
        self.time.run(self.bound_s, self.watch.done)
        self.watch.over(self._daemon)
        for daemon in (self._daemon, *self._former):
            if daemon is not None:
                daemon.kill()
        self.watch.sound()
        self._books.close()
        faults = self.room.met + self.counts
        faults["waits within their bound"] = self.witness.waits.kept
        return Result(
            scenario=self.scenario,
            violations=self.witness.violations,
            trace=self._hash.hexdigest(),
            operations=self.witness.events["created"],
            cycles=self.watch.cycles,
            boundaries=self.boundaries,
            crashes=self.crashes,
            virtual_s=self.time.now_s,
            steps=self.time.steps,
            overshoot=self.witness.limits.overshoot,
            faults=faults,
            rollouts=self.witness.waves.figures,
            events=self.witness.events,
            begins=self._begins,
            ends=ends(self.room, self.shape),
            wanted=wanted_text(self.shape, self.branch.model),
            stable_s=self.watch.stable_since,
            boundary_names=self.boundary_names,
        )

    def tell(self, text: str) -> None:
        """One step of the trace, which a replay has to repeat."""
        self._hash.update(f"{self.time.now_s:.6f} {text}\n".encode())
        if self._say is not None:
            self._say(f"{self.time.now_s:10.3f} {text}")

    def boundary(self, daemon: SimDaemon, what: str) -> None:
        """A place at which the daemon may be killed, counted over the whole run."""
        self.boundaries += 1
        self.boundary_names.append(what)
        if self.boundaries in self._crash_at and daemon is self._daemon:
            self.tell(f"killed {what}")
            self.counts[f"killed {what}"] += 1
            self.crash(20.0)
            raise Killed

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            seed=self.scenario.seed,
            time=self.time,
            clock=self.clock,
            room=self.room,
            settings=self.settings,
            moves=lambda: self.branch.git.moves,
            fault=self.trouble.store_fault,
            boundary=self.boundary,
            on_commit=self._committed,
            on_cycle=self._cycled,
            on_fenced=self._fenced,
            on_break=self.witness.broken,
            cycle_gap_s=self.scenario.cycle_gap_s,
            counts=self.counts,
        )

    def _adopt(self) -> None:
        """Every machine is what the first revision wants, and is adopted as that."""
        assert self.branch.git.head is not None
        with (
            Repository(self.settings.repository, "main", mirror=None) as repository,
            Store.open(self.settings.store) as store,
        ):
            inventory = Loader(repository).load(self.branch.git.head)
            nodes = resolve(inventory, START).nodes
            for name, what in wanted(self.shape, self.branch.model).items():
                digest = inventory.resolved[what].digest if what in inventory.resolved else ""
                self.room.add(inventory.nodes[name], on=what != "off", digest=digest)
            records = {
                name: applied_as(each, self.branch.git.head, START) for name, each in nodes.items()
            }
            store.adopt(records, "the simulation", START)
        self.witness.committed(self._moment(None))

    def _start(self) -> None:
        self._number += 1
        self._daemon = self._daemons(self.around, self._number)
        self._daemon.start()
        self.witness.process_began(self._number, clock_was_set=self.clock_set > 0)

    def crash(self, down_s: float) -> None:
        """Kill the daemon as soon as its present task has given the processor back."""
        dying, self._daemon = self._daemon, None
        if dying is None:
            return
        dying.group.dead = True
        self.crashes += 1
        self.time.at(self.time.now_s, dying.kill)
        self.time.at(self.time.now_s + down_s, self._start)

    def _take_over(self, stalled: SimDaemon) -> None:
        """Another daemon drives from now on; the one that stands still does not know."""
        if self._daemon is not stalled:
            return
        self.counts["taken over"] += 1
        self._former.append(stalled)
        stalled.lose_lock()
        self._start()

    def _fenced(self, daemon: SimDaemon) -> None:
        """A daemon found that it drives no more, and ends."""
        self.counts["a former daemon was refused"] += 1
        daemon.group.dead = True
        self.time.at(self.time.now_s, daemon.kill)
        if daemon is self._daemon:
            self.witness.broken("one daemon drives", "the one that claimed last was refused")

    def _moved(self, commit: str, subject: str) -> None:
        self.tell(f"commit {commit} {subject}")
        if self._daemon is not None:
            self._daemon.wake()

    def _note(self) -> None:
        """Somebody wrote to the store beside the daemon."""
        self.witness.committed(self._moment(self._daemon))
        if self._daemon is not None:
            self._daemon.wake()

    def _moment(self, daemon: SimDaemon | None) -> Moment:
        reconciler = daemon.reconciler if daemon is not None else None
        inventory = reconciler.inventory if reconciler is not None else None
        if inventory is not None and inventory.revision.id not in self._known:
            self._known.add(inventory.revision.id)
            self.room.boots_nothing |= {
                each.digest for each in inventory.resolved.values() if BAD in each.kernel_args
            }
        revision = inventory.revision.id if inventory is not None else self.branch.git.head
        return Moment(
            model=self.branch.models[revision],
            plan=reconciler.last_plan if reconciler is not None else None,
            began_s=daemon.began_s if daemon is not None else 0.0,
            process=daemon.number if daemon is not None else 0,
        )

    def _committed(self, daemon: SimDaemon) -> None:
        lines = self.witness.committed(self._moment(daemon))
        if daemon in self._former and lines:
            self.witness.broken("a former daemon does nothing", f"it wrote {lines} lines")

    def _cycled(self, daemon: SimDaemon, result: CycleResult) -> None:
        if daemon is self._daemon:
            self.watch.cycled(daemon, result, self._moment(daemon))

    def _happen(self, event: Event) -> None:
        self.tell(f"event {event.kind}")
        self.counts[event.kind] += 1
        if self.trouble.happen(event):
            return
        if event.kind in ("hold", "cancel", "bad template"):
            self.people.happen(event)
        else:
            self.branch.happen(event)

    def stall(self, taken_over_s: float, wakes_s: float) -> None:
        """The daemon stands still, in the middle of whatever it does; another takes over."""
        stalled = self._daemon
        if stalled is None:
            return
        stalled.stall(self.time.now_s + wakes_s)
        self.time.at(self.time.now_s + taken_over_s, lambda: self._take_over(stalled))

    def clock_was_set(self) -> None:
        """The wall clock shows another time."""
        self.clock_set += 1
        self.witness.clock_was_set()

    def second(self) -> None:
        """Another daemon is started: while the first lives, it must not drive."""
        if self._daemon is None:
            return
        lock = fleet_lock(self.settings.store, self.home)
        try:
            lock.acquire()
        except LockedError:
            return
        lock.release()
        self.witness.broken("one daemon drives", "a second one got the lock")

    def _people(self) -> None:
        if self.time.now_s >= self.quiet_s:
            self.room.calls_max = 100_000
            self.branch.tidy()
        plan = self.watch.last.plan if self.watch.last is not None else None
        newest = plan is not None and plan.revision.id == self.branch.git.head
        if plan is not None and newest and self._daemon is not None:
            self.people.look(plan)
        self.time.at(self.time.now_s + OPERATOR_S, self._people)


def play(
    scenario: Scenario,
    home: Path,
    crash_at: tuple[int, ...] = (),
    tell: Callable[[str], None] | None = None,
    daemons: type[SimDaemon] = SimDaemon,
    store: str = "",
) -> Result:
    """Run a scenario in a directory of its own, which is removed afterwards.

    `daemons` is what is started; a test may build one that is broken on purpose. `store` is the
    address of a migrated, empty store; without it, one on SQLite is made.
    """
    where = home / f"run-{scenario.seed}"
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    try:
        return World(scenario, where, crash_at, tell, daemons, store).run()
    finally:
        shutil.rmtree(where, ignore_errors=True)
