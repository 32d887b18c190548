"""One run: a scenario played to its end under virtual time, watched by the oracles."""

from __future__ import annotations

import hashlib
import re
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim_daemon import SimDaemon, Surroundings
from sim_driver import Fault, MachineRoom
from sim_git import GitWriter
from sim_inventory import Model, files_of, initial, wanted
from sim_oracles import Moment, Violation, Witness, unlike, unsound
from sim_scenario import Event, Scenario
from sim_time import START, Killed, Scheduler, VirtualClock

from metalwright.daemon.reconcile import CycleResult, applied_as
from metalwright.errors import LockedError, StoreError
from metalwright.inventory import Loader, Repository
from metalwright.model.observed import Power
from metalwright.model.operation import Verb
from metalwright.model.plan import BlockedReason
from metalwright.schedule import desired as resolve
from metalwright.settings import ExecuteSettings, ObserveSettings, Settings
from metalwright.store import FleetLock, Store

OPERATOR_S = 15.0
STAYS_S = 180.0
FIX_S = 60.0
CHECK_CYCLES = 16

_ASKED = re.compile(r"acknowledge: \[([0-9a-f]+)\]")


@dataclass(kw_only=True)
class Result:
    """What a run came to."""

    scenario: Scenario
    violations: list[Violation]
    trace: str
    operations: int
    cycles: int
    boundaries: int
    crashes: int
    virtual_s: float
    steps: int
    overshoot: int
    faults: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    ends: dict[str, str] = field(default_factory=dict)
    stable_s: float | None = None
    boundary_names: list[str] = field(default_factory=list)


class World:
    """The machine room, the repository, the people, and the daemons one after another."""

    def __init__(
        self,
        scenario: Scenario,
        home: Path,
        crash_at: tuple[int, ...] = (),
        tell: Callable[[str], None] | None = None,
        daemons: type[SimDaemon] = SimDaemon,
    ) -> None:
        self._daemons = daemons
        self.scenario, self.home, self.shape = scenario, home, scenario.shape
        self._say = tell
        self._hash = hashlib.blake2b(digest_size=16)
        self.time = Scheduler(scenario.seed)
        self.clock = VirtualClock(self.time)
        self.room = MachineRoom(self.time, scenario.seed, scenario.speed, scenario.calls_max)
        self.git = GitWriter(home / "inventory.git")
        self.model = initial(self.shape, scenario.fleet_limit, scenario.rack_limit)
        self.states: list[tuple[str, Model]] = []
        self.models: dict[str, Model] = {}
        self.counts: Counter[str] = Counter()
        self.cycles = self.boundaries = self.crashes = 0
        self.boundary_names: list[str] = []
        self.stable_since: float | None = None
        self._crash_at = set(crash_at)
        self._store_faults: list[dict[str, Any]] = []
        self._last: CycleResult | None = None
        self._daemon: SimDaemon | None = None
        self._number = 0
        self._retried_s = 0.0
        self.settings = self._settings()
        _new_store(home / "store.sqlite")
        self._books = sqlite3.connect(f"file:{home / 'store.sqlite'}?mode=ro", uri=True)
        self.witness = Witness(self.shape, self.room, self._journal, self.tell)
        self.around = self._surroundings()
        self._commit(self.model, "The fleet", None)
        self._adopt()
        self.quiet_s = scenario.quiet_s
        self.bound_s = self.quiet_s + _bound_s(scenario)

    def run(self) -> Result:
        """Play the scenario to its end."""
        for event in self.scenario.events:
            self.time.at(event.at_s, lambda event=event: self._happen(event))
        self.time.at(0.0, self._start)
        self.time.at(OPERATOR_S, self._people)
        self.time.run(self.bound_s, self._done)
        if not self.witness.violations and self.stable_since is None:
            self._not_stable()
        if self._daemon is not None:
            self._daemon.kill()
        self._sound()
        self._books.close()
        created = self.witness.events["created"]
        faults = Counter(self.room.met) + Counter(self.counts)
        return Result(
            scenario=self.scenario,
            violations=self.witness.violations,
            trace=self._hash.hexdigest(),
            operations=created,
            cycles=self.cycles,
            boundaries=self.boundaries,
            crashes=self.crashes,
            virtual_s=self.time.now_s,
            steps=self.time.steps,
            overshoot=self.witness.overshoot,
            faults=faults,
            events=self.witness.events,
            ends=self._ends(),
            stable_s=self.stable_since,
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
            self._crash(20.0)
            raise Killed

    def _settings(self) -> Settings:
        scenario = self.scenario
        return Settings(
            repository=str(self.home / "inventory.git"),
            state_dir=self.home,
            store_url=f"sqlite:///{self.home / 'store.sqlite'}",
            observe=ObserveSettings(
                interval_s=scenario.interval_s,
                busy_interval_s=scenario.busy_interval_s,
                backoff_max_s=60.0,
                credentials_retry_s=60.0,
                in_flight_max=max(32, min(512, scenario.nodes)),
            ),
            execute=ExecuteSettings(effects_in_flight_max=scenario.effects_max),
        )

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            seed=self.scenario.seed,
            time=self.time,
            clock=self.clock,
            room=self.room,
            settings=self.settings,
            lock=self.home / "fleet.lock",
            moves=lambda: self.git.moves,
            fault=self._store_fault,
            boundary=self.boundary,
            on_commit=self._committed,
            on_cycle=self._cycled,
            on_break=self.witness.broken,
            cycle_gap_s=self.scenario.cycle_gap_s,
            counts=self.counts,
        )

    def _adopt(self) -> None:
        """Every machine is what the first revision wants, and is adopted as that."""
        assert self.git.head is not None
        with (
            Repository(self.settings.repository, "main", mirror=None) as repository,
            Store.open(self.settings.store) as store,
        ):
            inventory = Loader(repository).load(self.git.head)
            nodes = resolve(inventory, START).nodes
            for name, what in wanted(self.shape, self.model).items():
                digest = inventory.resolved[what].digest if what in inventory.resolved else ""
                self.room.add(inventory.nodes[name], on=what != "off", digest=digest)
            records = {name: applied_as(each, self.git.head, START) for name, each in nodes.items()}
            store.adopt(records, "the simulation", START)
        self.witness.committed(self._moment(None))

    def _start(self) -> None:
        self._number += 1
        self._daemon = self._daemons(self.around, self._number)
        self._daemon.start()

    def _crash(self, down_s: float) -> None:
        """Kill the daemon as soon as its present task has given the processor back."""
        dying, self._daemon = self._daemon, None
        assert dying is not None
        dying.group.dead = True
        self.crashes += 1
        self.time.at(self.time.now_s, dying.kill)
        self.time.at(self.time.now_s + down_s, self._start)

    def _moment(self, daemon: SimDaemon | None) -> Moment:
        reconciler = daemon.reconciler if daemon is not None else None
        inventory = reconciler.inventory if reconciler is not None else None
        return Moment(
            model=self.models[inventory.revision.id] if inventory is not None else self.model,
            plan=reconciler.last_plan if reconciler is not None else None,
            began_s=daemon.began_s if daemon is not None else 0.0,
            process=daemon.number if daemon is not None else 0,
        )

    def _committed(self, daemon: SimDaemon) -> None:
        self.witness.committed(self._moment(daemon))

    def _cycled(self, daemon: SimDaemon, result: CycleResult) -> None:
        self.cycles += 1
        self._last = result
        if self.cycles % CHECK_CYCLES == 0:
            self._sound()
            self.witness.forget_over()
        if self.time.now_s < self.quiet_s or result.plan is None:
            return
        plan = result.plan
        newest = daemon.reconciler is not None and plan.revision.id == self.git.head
        as_desired = plan.totals.as_desired == plan.totals.nodes == self.shape.nodes
        settled = newest and result.settled and as_desired
        wrong = self._unlike() if settled else []
        if self.stable_since is None and settled and not wrong:
            self.stable_since = self.time.now_s
        elif self.stable_since is not None and (wrong or plan.actions or plan.in_progress):
            # A daemon that was killed meanwhile has not asked the machines yet: it only waits.
            why = wrong[0] if wrong else result.sentence
            self.witness.broken("stays as desired", why)

    def _unlike(self) -> list[str]:
        reconciler = self._daemon.reconciler if self._daemon is not None else None
        if reconciler is None or reconciler.inventory is None:
            return ["no daemon runs"]
        return unlike(self.shape, self.model, self.room, reconciler.inventory)

    def _done(self) -> bool:
        if self.witness.violations:
            return True
        since = self.stable_since
        return since is not None and self.time.now_s >= since + STAYS_S

    def _not_stable(self) -> None:
        wrong = self._unlike()
        said = self._last.sentence if self._last is not None else "no cycle"
        self.witness.broken("becomes as desired", f"{len(wrong)}: {wrong[:3]}; {said}")

    def _sound(self) -> None:
        for text in unsound(str(self.home / "store.sqlite")):
            self.witness.broken("no slot without operation, no operation without end", text)

    def _ends(self) -> dict[str, str]:
        """What each machine truly is at the end."""
        found = {}
        for name in self.shape.names:
            reading = self.room.true_reading(name)
            found[name] = f"{reading.power} {reading.template_digest}"
        return found

    def _journal(self, after: int) -> list[tuple[Any, ...]]:
        query = (
            "SELECT seq, node, event, operation_id, effect, detail FROM journal"
            " WHERE seq > ? ORDER BY seq"
        )
        return self._books.execute(query, (after,)).fetchall()

    # What happens.

    def _happen(self, event: Event) -> None:
        self.tell(f"event {event.kind}")
        self.counts[event.kind] += 1
        what = event.what
        if event.kind == "fault":
            self.counts["fault"] -= 1
            end_s = event.at_s + what["for_s"]
            fault = Fault(node=what["node"], kind=what["fault"], begin_s=event.at_s, end_s=end_s)
            if what["node"] in self.room.machines:
                self.room.machines[what["node"]].faults.append(fault)
                self.time.at(end_s, lambda: self.room.machines[fault.node].faults.remove(fault))
        elif event.kind == "crash":
            if self._daemon is not None:
                self._crash(what["down_s"])
        elif event.kind == "store":
            self._store_faults.append(dict(what))
        elif event.kind == "clock":
            self.clock.offset_s += what["by_s"]
        elif event.kind == "press":
            if what["node"] in self.room.machines:
                self.room.press(what["node"], Power(what["power"]))
        elif event.kind == "second daemon":
            self._second()
        else:
            self._git(event)

    def _second(self) -> None:
        """Another daemon is started: while the first lives, it must not drive."""
        if self._daemon is None:
            return
        lock = FleetLock(self.around.lock)
        try:
            lock.acquire()
        except LockedError:
            return
        lock.release()
        self.witness.broken("one daemon drives", "a second one got the lock")

    def _store_fault(self, where: str) -> str:
        """The disk is full at some statement, or fails at a commit; for as often as was drawn."""
        if not self._store_faults:
            return ""
        fault = self._store_faults[0]
        at = {"disk full": "statement", "commit fails": "commit", "commit in doubt": "done"}
        if at[fault["fault"]] != where:
            return ""
        fault["after"] -= 1
        if fault["after"] > 0:
            return ""
        fault["times"] -= 1
        if fault["times"] <= 0:
            self._store_faults.pop(0)
        self.counts[fault["fault"]] += 1
        return "database or disk is full"

    # What is committed.

    def _commit(self, model: Model, subject: str, parent: str | None) -> None:
        self.model = model
        at_s = int(START.timestamp() + self.time.now_s)
        commit = self.git.commit(files_of(self.shape, model), subject, at_s, parent)
        self.states.append((commit, model))
        self.models[commit] = model
        self.git.move(commit)
        self.tell(f"commit {commit} {subject}")
        if self._daemon is not None:
            self._daemon.wake()

    def _edit(self, edit: dict[str, Any], subject: str) -> None:
        model = {key: value for key, value in (self.model | edit).items() if value is not None}
        self._commit(model, subject, self.git.head)

    def _git(self, event: Event) -> None:
        what = event.what
        if event.kind == "commit":
            self._edit(what["set"], "Turn the fleet over")
        elif event.kind == "revert":
            before = self.states[-2][1] if len(self.states) > 1 else self.model
            self._commit(_mended(before), "Revert", self.git.head)
        elif event.kind == "broken":
            self._edit({"broken": True}, "A mistake")
            self.time.at(event.at_s + what["for_s"], lambda: self._edit({"broken": None}, "Mend"))
        elif event.kind == "huge":
            self._edit(what["set"] | {"huge": 2_000}, "Very much")
        elif event.kind == "storm":
            for number in range(what["commits"]):
                edit = what["edits"][number % len(what["edits"])]
                self.time.at(
                    event.at_s + number * what["for_s"] / what["commits"],
                    lambda edit=edit: self._edit(edit, "A merge of many"),
                )
        else:
            self._rewrite(event.kind, what["drop"])

    def _rewrite(self, kind: str, drop: int) -> None:
        """Throw the last commits away, or write them anew under other names."""
        drop = min(drop, len(self.states) - 1)
        if drop == 0:
            return
        dropped = self.states[-drop:]
        del self.states[-drop:]
        parent, model = self.states[-1]
        if kind == "force push":
            self._commit(_mended(model), "History, as somebody wishes it had been", parent)
            return
        for _commit, model in dropped:
            self._commit(_mended(model), "Rebased", self.states[-1][0])

    # The people: they acknowledge what they are asked for, and retry what has failed.

    def _people(self) -> None:
        plan = self._last.plan if self._last is not None else None
        if plan is not None and self._daemon is not None and plan.revision.id == self.git.head:
            asked = {
                name
                for line in plan.blocked
                if line.reason in (BlockedReason.BLAST_RADIUS, BlockedReason.HISTORY_REWRITTEN)
                for name in _ASKED.findall(line.message)
            }
            if plan.abandoned_revision is not None:
                asked.add(plan.abandoned_revision[:12])
            known = self.model.get("policy/acknowledge", [])
            fresh = sorted(asked - set(known))
            if fresh:
                self._edit({"policy/acknowledge": [*known, *fresh][-50:]}, "Acknowledge")
            failed = [
                line.node for line in plan.blocked if line.reason is BlockedReason.OPERATION_FAILED
            ]
            replaced = [
                line.node
                for line in plan.blocked
                if line.reason is BlockedReason.DRIFT_REPORTED and line.verb is Verb.REBUILD
            ]
            if (failed or replaced) and self.time.now_s >= self._retried_s:
                self._retried_s = self.time.now_s + 300.0
                self._retry(failed, replaced)
        if self.time.now_s >= self.quiet_s:
            self.room.calls_max = 100_000
        self.time.at(self.time.now_s + OPERATOR_S, self._people)

    def _retry(self, failed: list[str], replaced: list[str]) -> None:
        """As `mw retry` for what failed, `mw adopt --rebuild` for disks with another system."""
        now = self.clock.wall()
        try:
            with Store.open(self.settings.store) as store:
                store.retry_failed(failed, "ada", now)
                store.adopt(dict.fromkeys(replaced), "ada", now)
        except StoreError:
            self.counts["the operator met a busy store"] += 1
        self.counts["failed nodes retried by hand"] += len(failed)
        self.counts["nodes rebuilt by hand"] += len(replaced)
        if self._daemon is not None:
            self._daemon.wake()


def _mended(model: Model) -> Model:
    """The model without a mistake that somebody has mended since."""
    return {key: value for key, value in model.items() if key != "broken"}


def _bound_s(scenario: Scenario) -> float:
    """How long it may take until all is as desired, once nothing happens any more.

    Drift that came back is left alone for an hour; before that the longest attempt may have to run
    into its deadlines as often as the policy says, and the fleet to go through its slots.
    """
    attempt_s = 100.0 + 2_000.0 / scenario.speed + 300.0
    rounds = -(-scenario.nodes // max(1, scenario.fleet_limit // 3)) + 3
    return 2 * 3_600.0 + 3 * attempt_s + rounds * (attempt_s / 2) + 3 * 600.0


_STORE: dict[str, bytes] = {}


def _new_store(path: Path) -> None:
    """A migrated store; migrating takes longer than a whole run of a small fleet."""
    if "new" not in _STORE:
        Store.open(f"sqlite:///{path}").close()
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        database.close()
        _STORE["new"] = path.read_bytes()
        return
    path.write_bytes(_STORE["new"])


def play(
    scenario: Scenario,
    home: Path,
    crash_at: tuple[int, ...] = (),
    tell: Callable[[str], None] | None = None,
    daemons: type[SimDaemon] = SimDaemon,
) -> Result:
    """Run a scenario in a directory of its own, which is removed afterwards.

    `daemons` is what is started; a test may build one that is broken on purpose.
    """
    where = home / f"run-{scenario.seed}"
    shutil.rmtree(where, ignore_errors=True)
    where.mkdir(parents=True)
    try:
        return World(scenario, where, crash_at, tell, daemons).run()
    finally:
        shutil.rmtree(where, ignore_errors=True)
