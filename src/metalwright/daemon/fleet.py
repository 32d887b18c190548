"""One installation's parts: opened from its settings and closed together, or given.

A fleet opened to *drive* holds the fleet lock: one process at a time may change hardware. Opened to
*look*, it reads the same store beside a running daemon and never touches a machine but to ask it.
A `Fleet` only puts `Parts` together, whoever made them; `open_fleet` makes those of an
installation.
"""

from __future__ import annotations

import hashlib
import os
import random
import socket
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Protocol, Self

from metalwright.daemon.booting import Booting, open_booting
from metalwright.daemon.calls import Calls
from metalwright.daemon.checking import prober_of
from metalwright.daemon.clock import SteadyClock, system_clock
from metalwright.daemon.handing import hand_over
from metalwright.daemon.right import Lock, Right
from metalwright.daemon.secrets import open_secrets
from metalwright.daemon.state_dir import make_state_dir
from metalwright.daemon.tables import driver_tables
from metalwright.daemon.takeover import calls_left_s, locked, take_over, take_store
from metalwright.drivers.contract import Driver
from metalwright.drivers.credentials import Secrets
from metalwright.drivers.registry import driver_names, open_drivers
from metalwright.execute import Engine, EngineSettings
from metalwright.inventory import Loader, Repository, sealed_files, without_secrets
from metalwright.model.documents import Node
from metalwright.model.hardware import OBSERVED_LIFECYCLES
from metalwright.model.inventory import Inventory
from metalwright.observe import ProbeSettings, Sweeper, SweepSettings
from metalwright.settings import ObserveSettings, Settings
from metalwright.store import Marks, Store, fleet_lock


class SealedSecrets(Protocol):
    """A provider of secrets whose encrypted files are in the repository of the inventory."""

    path: str

    def take(self, files: Mapping[str, bytes]) -> None:
        """From now on the secrets are those in these files, by path."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a fleet is put together from; whoever opened a part closes it.

    `askers` carry out the questions to the hardware, `probers` the checks of machines that are
    validated (without them, the `askers`), `actors` the effects; without those the fleet only
    looks. `credentials_version` changes when a node's secret does, so that a rotated one is tried
    at once. `clock` is a steady one; `wall`, which calendars are about, may be set at any time
    (without it, they are one). `calls_left_s` is for how long a call of the process before may
    still reach a machine. `marks` keep how far the store was driven, and `told` is what an operator
    has to know of it from the start.
    """

    lock: Lock
    repository: Repository
    store: Store
    drivers: Mapping[str, Driver]
    askers: Executor
    actors: Executor | None
    clock: Callable[[], datetime]
    random: random.Random
    credentials_version: Callable[[Node], str] | None = None
    wall: Callable[[], datetime] | None = None
    calls_left_s: float = 0.0
    marks: Marks | None = None
    told: str = ""
    secrets: Secrets | None = None
    sealed: SealedSecrets | None = None
    probers: Executor | None = None
    boot: Booting | None = None


class Fleet:
    """The parts at work. `engine` is there only in a fleet that drives.

    `wake` is called from any thread when there is a reason for a cycle. Leaving it as a context
    manager ends what it began, and nothing that it was given.
    """

    def __init__(self, settings: Settings, parts: Parts, wake: Callable[[], None]) -> None:
        self.settings, self.clock, self.wall = settings, parts.clock, parts.wall or parts.clock
        self.lock, self.repository, self.store = parts.lock, parts.repository, parts.store
        self.told, self._marks = parts.told, parts.marks
        self.secrets, self._sealed = parts.secrets, parts.sealed
        self._right = Right(parts.lock, parts.clock, self.wall)
        self.drivers, self.boot = parts.drivers, parts.boot
        self.loader = Loader(parts.repository, driver_names())
        self.sweeper = Sweeper(
            parts.drivers,
            parts.clock,
            parts.askers,
            sweep_settings(settings.observe),
            wake,
            rng=parts.random,
            credentials_version=parts.credentials_version,
        )
        probers = parts.probers or parts.askers
        self.prober = prober_of(parts.drivers, parts.store, parts.clock, probers, wake)
        self.engine: Engine | None = None
        if parts.actors is not None:
            self.engine = Engine(
                parts.store,
                parts.drivers,
                parts.actors,
                parts.clock,
                parts.random,
                wake,
                EngineSettings(
                    effects_in_flight_max=settings.execute.effects_in_flight_max,
                    effect_timeout_s=settings.execute.effect_timeout_s,
                    predecessor_s=parts.calls_left_s,
                ),
                self._right.is_confirmed,
            )

    def confirm(self) -> None:
        """Make sure that nobody else may drive. Raises FencedError when the lock is lost."""
        self._right.confirm()

    def hand_over_secrets(self, revision: str) -> None:
        """Let the secrets be those of a revision that is now in force. Raises RepositoryError."""
        if self._sealed is not None:
            self._sealed.take(sealed_files(self.repository, revision, self._sealed.path))

    def note(self) -> None:
        """Note outside of the store how far it has come. Raises StoreError when that fails."""
        if self._marks is not None:
            self._marks.note(self.store.reached())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sweeper.close()
        self.prober.close()


@contextmanager
def open_fleet(
    settings: Settings,
    *,
    drive: bool,
    wake: Callable[[], None],
    clock: SteadyClock | None = None,
) -> Iterator[Fleet]:
    """Open every part, or none, and close them all at the end.

    One that drives goes on from the last instant that the store has, should the wall be before it,
    and claims the store: whoever drove with it until now writes nothing more.

    Raises:
        LockedError: `drive` was asked for and another process drives this fleet.
        RepositoryError, StoreError, SettingsError: a part cannot be opened.
    """
    with ExitStack() as stack:
        parts = _open_parts(settings, stack, clock or SteadyClock(), wake, drive=drive)
        yield stack.enter_context(Fleet(settings, parts, wake))


def _open_parts(
    settings: Settings,
    stack: ExitStack,
    clock: SteadyClock,
    wake: Callable[[], None],
    *,
    drive: bool,
) -> Parts:
    """The parts of an installation; `stack` closes them, the last opened first."""
    make_state_dir(settings, drive=drive)
    lock = fleet_lock(settings.store, settings.state_dir)
    marks = Marks(settings.state_dir, settings.store) if drive else None
    actors = Calls(settings.execute.effects_in_flight_max) if drive else None
    if marks is not None and actors is not None:
        stack.enter_context(locked(lock, settings.store, marks, actors))
    repository = stack.enter_context(open_repository(settings))
    store = stack.enter_context(Store.open(settings.store, lock))
    alone, told = True, ""
    if marks is not None:
        by = f"process {os.getpid()} on {socket.gethostname()}"
        alone = take_over(store, clock, by, lock.identity)
        told = take_store(store, marks, clock)
    secrets, sealed = open_secrets(settings, os.environ)
    drivers = open_drivers(driver_tables(settings), secrets, clock)
    for driver in drivers.values():
        stack.callback(driver.close)
    boot = open_booting(settings, store, secrets, clock, wake, stack if drive else None)
    drivers = hand_over(drivers, boot, (settings, store, secrets), stack)
    askers = _threads(settings.observe.in_flight_max, "observe", stack)
    if actors is not None:
        stack.callback(actors.shutdown, wait=False, cancel_futures=True)
    return Parts(
        lock=lock,
        repository=repository,
        store=store,
        drivers=drivers,
        askers=askers,
        actors=actors,
        clock=clock,
        wall=system_clock,
        random=random.SystemRandom(),
        credentials_version=partial(
            _credentials_version, secrets, settings.drivers.ironic.credentials
        ),
        calls_left_s=0.0 if alone else calls_left_s(settings.execute.effect_timeout_s),
        marks=marks,
        told=told,
        secrets=secrets,
        sealed=sealed,
        probers=_threads(ProbeSettings().in_flight_max, "probe", stack) if drive else None,
        boot=boot,
    )


def driven_by(settings: Settings) -> int | None:
    """The id of the process that drives this installation's fleet, or `None` when none does.

    It is 0 for one that is only just starting.

    Raises:
        StoreError: the fleet lock cannot be asked.
    """
    return fleet_lock(settings.store, settings.state_dir).holder()


def _threads(workers: int, name: str, stack: ExitStack) -> Executor:
    executor = ThreadPoolExecutor(workers, thread_name_prefix=name)
    stack.callback(executor.shutdown, wait=False, cancel_futures=True)
    return executor


def _credentials_version(secrets: Secrets, ironic: str | None, node: Node) -> str:
    """Changes when the node's secret does, as far as that is known without waiting."""
    reference = node.spec.bmc.credentials if node.spec.bmc is not None else None
    if node.spec.driver == "ironic":
        reference = ironic
    return secrets.version(reference) if reference is not None else ""


def open_repository(settings: Settings) -> Repository:
    """The inventory repository of the settings; a remote one is mirrored below `state_dir`.

    Each location has its own mirror: a plan of another repository leaves the daemon's alone, and
    a new URL that cannot be reached is never answered from the old one's commits. The token in a
    URL is no part of its location: a rotated one keeps the mirror, and its name tells nothing.
    """
    location = hashlib.sha256(without_secrets(settings.repository).encode()).hexdigest()[:12]
    return Repository(
        settings.repository,
        settings.branch,
        mirror=settings.state_dir / f"mirror-{location}.git",
        fetch_timeout_s=settings.fetch_timeout_s,
    )


def sweep_settings(observe: ObserveSettings) -> SweepSettings:
    """The observe room's settings from the installation's.

    Nodes that come due are gathered no longer than a busy one is to wait for its question.
    """
    settings = SweepSettings(**observe.model_dump())
    return replace(settings, tick_gap_s=min(settings.tick_gap_s, settings.busy_interval_s))


def observed_nodes(inventory: Inventory) -> list[Node]:
    """The nodes that are asked: managed and observed ones, never broken or retired."""
    return [node for node in inventory.nodes.values() if node.spec.lifecycle in OBSERVED_LIFECYCLES]
