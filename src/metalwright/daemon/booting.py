"""The boot service in a fleet: its server, what machines reported, and drivers that wipe by it.

Reports are laid over the observations of a cycle; they are read from the store, which the server
wrote them to before it answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final

import structlog

from metalwright.daemon.alerts import ALERTS_MAX
from metalwright.daemon.laying import Laying
from metalwright.daemon.media import BootDiscs, open_discs
from metalwright.daemon.secrets import secret_text
from metalwright.daemon.waking import waking
from metalwright.drivers.contract import Driver
from metalwright.drivers.credentials import Secrets
from metalwright.errors import MetalwrightError, SettingsError, TemporaryError
from metalwright.execute.ports import HardwareEngine
from metalwright.model.boots import Heard
from metalwright.model.documents import Node
from metalwright.model.facts import differences
from metalwright.model.inventory import Inventory
from metalwright.model.observed import BootDevice, Observed, Reading
from metalwright.model.operation import Effect, EffectKind, Memory
from metalwright.settings import Settings
from metalwright.store import Store

if TYPE_CHECKING:  # a fleet without the service does not pay for a web framework
    from metalwright.boot.desk import Desk
    from metalwright.boot.server import BootServer

_STEPS: Final = frozenset({EffectKind.SET_BOOT_DEVICE, EffectKind.POWER_ON})


class Booting:
    """The boot service of one fleet. `seen` and `follow` are for the thread of the cycles."""

    def __init__(
        self,
        server: BootServer | None,
        store: Store,
        clock: Callable[[], datetime],
        wake: Callable[[], None],
    ) -> None:
        """Without a `server` the fleet only looks: another process serves."""
        self._server, self._store, self._clock, self._wake = server, store, clock, wake
        self._heard: dict[str, Heard] = dict(store.heard())
        self._news: set[str] = set()
        self._lock = threading.Lock()
        self._engines: frozenset[str] = frozenset()
        self._laying = Laying()
        self._unjudged: set[str] = set()
        self._judged_by: Inventory | None = None
        self._otherwise: dict[str, str] = {}
        self.discs: BootDiscs | None = None
        self._by_ramdisk: frozenset[str] = frozenset()
        self.wipes = False
        """Whether the revision in force names a ramdisk."""

    @property
    def desk(self) -> Desk | None:
        """Who answers the machines; `None` where another process does."""
        return self._server.desk if self._server is not None else None

    def drivers(self, drivers: Mapping[str, Driver]) -> dict[str, Driver]:
        """The drivers, those that boot what they are told able to wipe by the ramdisk, and to boot
        by a disc.
        """
        if self.discs is not None:
            drivers = self.discs.drivers(drivers)
        drivers = waking(drivers)
        engines = {name for name, each in drivers.items() if isinstance(each, HardwareEngine)}
        self._engines = frozenset(engines)
        self._laying = Laying(engines)
        self._by_ramdisk = frozenset(
            name
            for name, driver in drivers.items()
            if name not in engines and EffectKind.WIPE not in driver.capabilities
        )
        return {
            name: RamdiskWipe(driver, lambda: self.wipes) if name in self._by_ramdisk else driver
            for name, driver in drivers.items()
        }

    @property
    def no_ramdisk(self) -> frozenset[str]:
        """The drivers that would wipe and install by a ramdisk, had the revision in force one."""
        return frozenset() if self.wipes else self._by_ramdisk

    def told(self, node: str) -> None:
        """A node was served or has reported. From any thread."""
        with self._lock:
            self._news.add(node)
        self._wake()

    def follow(self, inventory: Inventory) -> None:
        """Let this revision be the one in force."""
        name = inventory.rules.ramdisk
        self.wipes = name is not None and name in inventory.images
        if self._server is not None:
            self._server.follow(inventory)

    def seen(self, observed: Observed, memory: Memory, inventory: Inventory) -> Observed:
        """The observations with what the machines reported.

        Raises:
            StoreError: the reports cannot be read, or the end of a boot cannot be written.
        """
        news = self._read_news()
        self._unjudged |= news
        try:
            made, ended = self._laying.over(observed, memory, inventory, self._heard, news)
            self._end(ended, observed)
        except BaseException:
            self._laying.forget()  # what was not written is found out once more
            raise
        if self.discs is not None:
            self.discs.tidy(made, memory, inventory)
        return made

    def laid(self, observed: Observed, memory: Memory, inventory: Inventory) -> Observed:
        """The same for one who only looks: nothing is written. From any thread."""
        return Laying(self._engines).over(observed, memory, inventory, self._heard, ())[0]

    def alerts(self, inventory: Inventory) -> tuple[str, ...]:
        """The machines that reported to be otherwise than git declares, so many at most."""
        if inventory is not self._judged_by:
            self._unjudged |= self._heard.keys() | self._otherwise.keys()
            self._judged_by = inventory
        for name in self._unjudged:
            node, heard = inventory.nodes.get(name), self._heard.get(name)
            facts = heard.report.facts if heard is not None else None
            found = differences(node.spec, facts) if node is not None and facts is not None else ()
            self._otherwise.pop(name, None)
            if found:
                self._otherwise[name] = "; ".join(found)
        self._unjudged = set()
        return tuple(
            f"{name} is not what git declares, its disks stay as they are: {words}"
            for name, words in nsmallest(ALERTS_MAX, self._otherwise.items())
        )

    def _read_news(self) -> set[str]:
        """The nodes that were served or reported since, read anew from the store."""
        with self._lock:
            news, self._news = self._news, set()
        if not news:
            return news
        try:
            self._heard |= self._store.heard(news)
        except BaseException:
            with self._lock:
                self._news |= news
            raise
        return news

    def _end(self, names: Iterable[str], observed: Observed) -> None:
        """A boot whose machine was seen off is over for good; many ends are one commit.

        One that was issued since is that of another start.
        """
        ended: list[str] = []
        with self._store.batch():
            for name in names:
                boot = self._store.latest_boot(name)
                if boot is None or boot.issued_at <= observed.nodes[name].at:
                    self._store.end_boots(name, self._clock())
                    ended.append(name)
        for name in ended:
            self._heard[name] = replace(self._heard[name], live=False)


class RamdiskWipe:
    """A driver that can boot a machine from the network, and so wipes by the ramdisk.

    What else the driver has is its own.
    """

    def __init__(self, driver: Driver, wipes: Callable[[], bool]) -> None:
        self._driver, self._wipes = driver, wipes

    @property
    def capabilities(self) -> frozenset[EffectKind]:
        """The driver's, and to wipe where there is a ramdisk."""
        found = self._driver.capabilities
        return found | {EffectKind.WIPE} if self._wipes() and found >= _STEPS else found

    @property
    def powers_on(self) -> frozenset[EffectKind]:
        """What switches a machine on: to wipe does so too."""
        return frozenset({EffectKind.POWER_ON, EffectKind.WIPE})

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What the driver reads. Raises DriverError."""
        return self._driver.observe(node, timeout_s)

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Begin an effect; to wipe is to boot from the network. Raises DriverError."""
        if effect.kind is not EffectKind.WIPE:
            self._driver.apply(node, effect, timeout_s)
            return
        until = time.monotonic() + timeout_s
        device = Effect(
            kind=EffectKind.SET_BOOT_DEVICE,
            argument=BootDevice.PXE.value,
            operation_id=effect.operation_id,
            once=True,
        )
        self._driver.apply(node, device, timeout_s)
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TemporaryError("setting the boot device took all of the time")
        power = Effect(kind=EffectKind.POWER_ON, operation_id=effect.operation_id)
        self._driver.apply(node, power, left_s)

    def close(self) -> None:
        """End the driver."""
        self._driver.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


def open_booting(
    settings: Settings,
    store: Store,
    secrets: Secrets,
    clock: Callable[[], datetime],
    wake: Callable[[], None],
    stack: ExitStack | None,
) -> Booting | None:
    """The boot service of the settings, serving; `None` where there is none. `stack` closes it;
    without it nothing is served.

    Raises:
        SettingsError: its address cannot be had, its directory not be made, its boot disc is none,
            or the extra is missing.
    """
    boot = settings.boot
    if boot.listen is None:
        return None
    if stack is None:
        return Booting(None, store, clock, wake)
    try:
        from metalwright.boot.images import CacheLimits, ImageCache
        from metalwright.boot.limits import BootLimits
        from metalwright.boot.server import BootServer, bind
    except ImportError as error:
        raise SettingsError(
            f"boot.listen needs the extra boot ({error.name} is missing): pip install"
            " 'metalwright[boot]'"
        ) from error
    listening = bind(boot.listen)
    stack.callback(listening.close)
    try:
        images = ImageCache(
            boot.cache_dir or settings.state_dir / "images",
            CacheLimits(
                bytes_max=boot.cache_bytes_max,
                artifact_bytes_max=boot.artifact_bytes_max,
                download_timeout_s=boot.download_timeout_s,
            ),
        )
    except MetalwrightError as error:
        raise SettingsError(str(error)) from error
    limits = BootLimits(
        body_bytes_max=boot.body_bytes_max,
        request_timeout_s=boot.request_timeout_s,
        connections_max=boot.connections_max,
        requests_per_s_max=boot.requests_per_s_max,
        unknown_per_s_max=boot.unknown_per_s_max,
        refusals_per_hour_max=boot.refusals_per_hour_max,
        token_life_s=boot.token_life_s,
    )
    url = boot.url or f"http://{boot.listen}"
    server = BootServer(url, store, images, partial(secret_text, secrets), clock, limits)
    stack.callback(server.close)
    booting = Booting(server, store, clock, wake)
    booting.discs, server.desk.disc = open_discs(settings, url, store, clock, stack)
    server.start(listening, booting.told, _trouble)
    return booting


def _trouble(words: str) -> None:
    """Say in the log what went wrong in a request; from any thread."""
    structlog.get_logger().warning("the boot service could not serve a request", why=words)
