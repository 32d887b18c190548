"""The daemon's loop: wait for a reason, run a cycle, say one sentence.

Reasons carry no data: a changed ref, a fetched commit, an answer of the hardware, a timer, a signal
all only set one event. Two small threads beside the loop watch git; they never touch a machine.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import FrameType

from metalwright.daemon.alerts import rearm
from metalwright.daemon.broken import FORESEEN, broken_off, summary, why_of
from metalwright.daemon.clock import ClockJump, SteadyClock
from metalwright.daemon.fleet import Fleet, open_fleet, sweep_settings
from metalwright.daemon.log import configure
from metalwright.daemon.reconcile import FACT_CYCLE, FACT_IN_FORCE, CycleResult, Reconciler
from metalwright.daemon.watching import Watcher
from metalwright.errors import FencedError, SettingsError, StoreError
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Observed
from metalwright.settings import RELOADABLE, Settings, changes, load_settings

WAIT_MIN_S = 0.05
SAVE_INTERVAL_S = 2.0
FAILED_CYCLE_PAUSE_S = 5.0
PRUNE_INTERVAL = timedelta(days=1)


class Service:
    """One daemon. `run` returns when `stop` was called, by a signal or by its owner."""

    def __init__(
        self,
        settings: Settings,
        path: Path | None = None,
        on_cycle: Callable[[CycleResult], None] = lambda _result: None,
    ) -> None:
        self.settings, self.path, self.on_cycle = settings, path, on_cycle
        self.log = configure(settings.log)
        self._wake, self._stop, self._reload = (threading.Event() for _ in range(3))
        self._set_forward = threading.Event()
        self._watcher = Watcher(lambda: self.settings, lambda: self.log, self.wake, self._stop)
        self._said, self._alerts = "", frozenset[str]()
        self._saved_at: datetime | None = None
        self._last: CycleResult | None = None
        self._pruned_at: datetime | None = None
        self._file_stamp = _stamp(path)

    def wake(self) -> None:
        """Ask for a cycle."""
        self._wake.set()

    def stop(self) -> None:
        """Ask the loop to end after the running step."""
        self._stop.set()
        self._wake.set()

    def install_signals(self) -> None:
        """SIGTERM and SIGINT stop cleanly, SIGHUP reloads. Main thread only."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.stop()

        def reload(_number: int, _frame: FrameType | None) -> None:
            self._reload.set()
            self._wake.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGHUP, reload)

    def run(self) -> None:
        """Run until stopped.

        Raises:
            LockedError, RepositoryError, StoreError, SettingsError: it cannot start.
            FencedError: another process drives the fleet by now; it has written nothing since.
        """
        clock = SteadyClock(told=self._clock_jumped)
        with open_fleet(self.settings, drive=True, wake=self.wake, clock=clock) as fleet:
            fleet.sweeper.preload(_pauses(fleet.store.observed(), fleet.clock()))
            reconciler = Reconciler(fleet)
            self._watcher.fetch(fleet.repository, reconciler)
            watcher = threading.Thread(
                target=self._watcher.watch,
                args=(reconciler,),
                kwargs={"remote": fleet.repository.is_remote},
                daemon=True,
            )
            watcher.start()
            if fleet.told:
                self.log.error("no machine is touched until it is adopted anew", why=fleet.told)
            self.log.info(
                "started", repository=self.settings.repository, branch=self.settings.branch
            )
            try:
                self._loop(fleet, reconciler)
            except FencedError as error:
                self.log.error("this daemon drives no more and ends", why=str(error))
                raise
            finally:
                self.stop()
            self._finish(fleet, reconciler)
            watcher.join(timeout=self.settings.fetch_timeout_s)

    def _loop(self, fleet: Fleet, reconciler: Reconciler) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            self._reload_when_asked(fleet)
            self._cycle(fleet, reconciler)
            self._wake.wait(self._pause_s(fleet, reconciler))

    def _clock_jumped(self, jump: ClockJump) -> None:
        """Tell of it; from whichever thread read the clock."""
        self.log.warning(str(jump), then="schedules follow at once, deadlines and pauses do not")
        if jump.by > timedelta(0):
            self._set_forward.set()

    def _look_anew(self, fleet: Fleet, reconciler: Reconciler) -> None:
        """After a jump forward the machine may have been asleep: what was seen is from before."""
        fleet.clock()
        if self._set_forward.is_set() and reconciler.inventory is not None:
            self._set_forward.clear()
            for name in reconciler.inventory.nodes:
                fleet.sweeper.forget(name)

    def _cycle(self, fleet: Fleet, reconciler: Reconciler) -> None:
        self._look_anew(fleet, reconciler)
        try:
            result = reconciler.cycle()
        except FencedError:
            raise
        except Exception as error:  # noqa: BLE001  no odd value may end the daemon for good
            self._broken_off(fleet, reconciler, error)
            return
        self._last = result
        self._say(reconciler, result)
        last = self._saved_at
        if last is None or not 0 <= (result.at - last).total_seconds() < SAVE_INTERVAL_S:
            self._save(fleet, reconciler, result)
        self._prune(fleet, result.at)
        self.on_cycle(result)

    def _broken_off(self, fleet: Fleet, reconciler: Reconciler, error: Exception) -> None:
        """Say why a cycle was not finished, and go on with the next one."""
        foreseen = isinstance(error, FORESEEN)
        said = "nothing is started in this cycle" if foreseen else "a cycle was broken off"
        self.log.error(said, why=why_of(error))
        reconciler.recover()
        result = broken_off(error, fleet.clock())
        self._last, self._said = result, result.sentence
        if not isinstance(error, StoreError):
            self._save(fleet, reconciler, result)
        if not foreseen:
            self.on_cycle(result)
        self._stop.wait(FAILED_CYCLE_PAUSE_S)

    def _say(self, reconciler: Reconciler, result: CycleResult) -> None:
        for event in result.report.events if result.report is not None else ():
            self.log.info(event)
        for alert in result.alerts:
            if alert not in self._alerts:
                self.log.warning(alert)
        self._alerts = frozenset(result.alerts)
        if result.sentence == self._said:
            self.log.debug(result.sentence)
            return
        self._said = result.sentence
        self.log.info(result.sentence)
        if result.trouble:
            for finding in reconciler.findings:
                self.log.error(str(finding))

    def _save(self, fleet: Fleet, reconciler: Reconciler, result: CycleResult) -> None:
        """Keep what `mw status` reads: now and then while busy, and at the end."""
        self._saved_at = result.at
        try:
            with fleet.store.batch():
                if result.observed is not None:
                    fleet.store.save_observed(result.observed)
                fleet.store.put_fact(FACT_CYCLE, summary(result, reconciler.findings), result.at)
                if reconciler.inventory is not None:
                    in_force = f'{{"revision": "{reconciler.inventory.revision.id}"}}'
                    fleet.store.put_fact(FACT_IN_FORCE, in_force, result.at)
        except FencedError:
            raise
        except StoreError as error:
            self.log.error("the state for `mw status` was not saved", why=str(error))

    def _prune(self, fleet: Fleet, now: datetime) -> None:
        """Once a day, let go of what was done longer ago than the settings say."""
        if self._pruned_at is not None and now - self._pruned_at < PRUNE_INTERVAL:
            return
        self._pruned_at = now
        try:
            count = fleet.store.prune(now - timedelta(days=self.settings.history_keep_days))
        except FencedError:
            raise
        except StoreError as error:
            self.log.error("the old history was not pruned", why=str(error))
            return
        if count:
            self.log.info("old history pruned", lines=count)

    def _pause_s(self, fleet: Fleet, reconciler: Reconciler) -> float:
        """Seconds until the next cycle is due by itself."""
        now, wall = fleet.clock(), fleet.wall()
        due = [
            (fleet.sweeper.next_due_at(), now),
            (fleet.prober.next_due_at(), now),
            (reconciler.planned_until, now),
            (reconciler.desired_until, wall),
        ]
        if fleet.engine is not None:
            due.append((fleet.engine.next_due_at(), now))
        pauses = [(at - since).total_seconds() for at, since in due if at is not None]
        return max(WAIT_MIN_S, min([self.settings.cycle_interval_s, *pauses]))

    def _finish(self, fleet: Fleet, reconciler: Reconciler) -> None:
        assert fleet.engine is not None
        self.log.info("stopping: the running steps are finished, nothing new is started")
        try:
            fleet.engine.drain(self.settings.execute.drain_timeout_s)
            if self._last is not None:
                self._save(fleet, reconciler, self._last)
            fleet.store.save_observed(fleet.sweeper.snapshot())
            fleet.note()
        except StoreError as error:
            self.log.error("the last outcomes were not recorded", why=str(error))
        self.log.info("stopped")

    def _reload_when_asked(self, fleet: Fleet) -> None:
        stamp = _stamp(self.path)
        if not self._reload.is_set() and stamp == self._file_stamp:
            return
        if self._reload.is_set():
            rearm(fleet.drivers.values(), fleet.sweeper)
        self._reload.clear()
        self._file_stamp = stamp
        try:
            wanted = load_settings(self.path)
        except SettingsError as error:
            self.log.error("settings not reloaded, the old ones stay in force", why=str(error))
            return
        taken, left = changes(self.settings, wanted)
        self.settings = self.settings.model_copy(
            update={name: getattr(wanted, name) for name in RELOADABLE}
        )
        fleet.sweeper.configure(sweep_settings(self.settings.observe))
        self.log = configure(self.settings.log)
        self.log.info("settings reloaded", changed=", ".join(taken) or "nothing")
        if left:
            self.log.warning("these settings take a restart", settings=", ".join(left))


def _pauses(kept: Observed, now: datetime) -> Observed:
    """Of an earlier process only the failures, for the pauses that they began.

    A reading does not say which BMC it came from, and git may have moved the node since. One from
    after `now` is of a clock that was ahead, and so is the end of its pause.
    """
    failures = {
        name: each for name, each in kept.nodes.items() if each.reading is None and each.at <= now
    }
    return Observed(nodes=FrozenDict(failures))


def _stamp(path: Path | None) -> tuple[int, int] | None:
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return (found.st_mtime_ns, found.st_size) if found is not None else None
