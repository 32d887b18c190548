"""One installation's parts, opened from its settings and closed together.

A fleet opened to *drive* holds the fleet lock: one process at a time may change hardware. Opened to
*look*, it reads the same store beside a running daemon and never touches a machine but to ask it.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from metalwright.daemon.clock import system_clock
from metalwright.drivers.credentials import Secrets
from metalwright.drivers.fake import FakeDriver
from metalwright.drivers.fake_faults import parse_faults
from metalwright.drivers.ipmi import IpmiDriver
from metalwright.errors import SettingsError
from metalwright.execute import Engine, EngineSettings
from metalwright.inventory import Loader, Repository, without_secrets
from metalwright.model.documents import Node
from metalwright.model.hardware import Lifecycle
from metalwright.model.inventory import Inventory
from metalwright.model.observed import Reading
from metalwright.model.operation import Effect, EffectKind
from metalwright.observe import Sweeper, SweepSettings
from metalwright.settings import ObserveSettings, Settings
from metalwright.store import FleetLock, Store


class Driver(Protocol):
    """A driver whole: what is asked of it, what is changed through it, and its end."""

    @property
    def capabilities(self) -> frozenset[EffectKind]:
        """The effects that it can bring about."""

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What the node answers. Raises DriverError."""

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Begin an effect. Raises DriverError."""

    def close(self) -> None:
        """End whatever it keeps open."""


OBSERVED_LIFECYCLES = frozenset({Lifecycle.MANAGED, Lifecycle.OBSERVED})


class Fleet:
    """The opened parts. `engine` is there only in a fleet that drives."""

    def __init__(
        self,
        settings: Settings,
        stack: ExitStack,
        *,
        drive: bool,
        wake: Callable[[], None],
        clock: Callable[[], datetime] = system_clock,
    ) -> None:
        self.settings, self.clock, self._stack = settings, clock, stack
        _make_state_dir(settings.state_dir)
        self.lock = FleetLock(settings.state_dir / "fleet.lock")
        if drive:
            stack.enter_context(self.lock)
        self.repository = stack.enter_context(open_repository(settings))
        self.loader = Loader(self.repository)
        self.store = stack.enter_context(Store.open(settings.store))
        self.secrets = Secrets(settings.secrets_dir, os.environ)
        self.drivers = open_drivers(settings, self.secrets, clock)
        for driver in self.drivers.values():
            stack.callback(driver.close)
        askers = ThreadPoolExecutor(settings.observe.in_flight_max, thread_name_prefix="observe")
        stack.callback(askers.shutdown, wait=False, cancel_futures=True)
        self.sweeper = Sweeper(
            self.drivers,
            clock,
            askers,
            sweep_settings(settings.observe),
            wake,
            credentials_version=self._credentials_version,
        )
        stack.callback(self.sweeper.close)
        self.engine: Engine | None = None
        if drive:
            workers = settings.execute.effects_in_flight_max
            actors = ThreadPoolExecutor(workers, thread_name_prefix="execute")
            stack.callback(actors.shutdown, wait=False, cancel_futures=True)
            self.engine = Engine(
                self.store,
                self.drivers,
                actors,
                clock,
                random.SystemRandom(),
                wake,
                EngineSettings(
                    effects_in_flight_max=workers,
                    effect_timeout_s=settings.execute.effect_timeout_s,
                ),
            )

    def _credentials_version(self, node: Node) -> str:
        """Changes when the node's secret does, so that a rotated one is tried at once."""
        reference = node.spec.bmc.credentials if node.spec.bmc is not None else None
        try:
            return self.secrets.get(reference).version if reference is not None else ""
        except SettingsError:
            return ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()


def open_fleet(settings: Settings, *, drive: bool, wake: Callable[[], None]) -> Fleet:
    """Open every part, or none.

    Raises:
        LockedError: `drive` was asked for and another process drives this fleet.
        RepositoryError, StoreError, SettingsError: a part cannot be opened.
    """
    with ExitStack() as stack:
        fleet = Fleet(settings, stack, drive=drive, wake=wake)
        fleet._stack = stack.pop_all()
        return fleet


def _make_state_dir(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    except OSError as error:
        raise SettingsError(
            f"state_dir {directory} cannot be made: {error.strerror}; name another directory in "
            "the settings, or in METALWRIGHT_STATE_DIR"
        ) from error


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


def open_drivers(
    settings: Settings, secrets: Secrets, clock: Callable[[], datetime]
) -> Mapping[str, Driver]:
    """Every driver by the name that a `Node` gives it. None speaks to anything until asked."""
    fake = settings.drivers.fake
    return {
        "fake": FakeDriver(
            fake_state(settings),
            seed=fake.seed,
            clock=clock,
            speed=fake.speed,
            faults=parse_faults(fake.faults),
            wait=time.sleep,
        ),
        "ipmi": IpmiDriver(secrets, workers_max=settings.drivers.ipmi.workers_max),
    }


def fake_state(settings: Settings) -> Path:
    """Where the simulated fleet lives."""
    return settings.state_dir / "fake-fleet.sqlite"


def sweep_settings(observe: ObserveSettings) -> SweepSettings:
    """The observe room's settings from the installation's."""
    return SweepSettings(**observe.model_dump())


def observed_nodes(inventory: Inventory) -> list[Node]:
    """The nodes that are asked: managed and observed ones, never broken or retired."""
    return [node for node in inventory.nodes.values() if node.spec.lifecycle in OBSERVED_LIFECYCLES]
