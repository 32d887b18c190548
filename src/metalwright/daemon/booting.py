"""The boot service in a fleet: its server, what machines reported, and drivers that wipe by it.

Reports are laid over the observations of a cycle; they are read from the store, which the server
wrote them to before it answered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from metalwright.daemon.alerts import ALERTS_MAX
from metalwright.drivers.contract import Driver
from metalwright.drivers.credentials import Secrets
from metalwright.errors import MetalwrightError, SettingsError, TemporaryError
from metalwright.execute.ports import HardwareEngine
from metalwright.model.boots import Heard
from metalwright.model.documents import Node
from metalwright.model.facts import differences
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory
from metalwright.model.observed import BootDevice, Observation, Observed, Reading
from metalwright.model.operation import Effect, EffectKind, Memory, Operation
from metalwright.model.overlay import is_over, overlaid
from metalwright.settings import Settings
from metalwright.store import Store

if TYPE_CHECKING:  # a fleet without the service does not pay for a web framework
    from metalwright.boot.server import BootServer

_STEPS: Final = frozenset({EffectKind.SET_BOOT_DEVICE, EffectKind.POWER_ON})

_Seen = tuple[Observation, Heard | None, Operation | None, Observation]


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
        self._known: dict[str, _Seen] = {}
        self._engines: frozenset[str] = frozenset()
        self._judged: dict[str, tuple[Heard, Node, str]] = {}
        self.wipes = False
        """Whether the revision in force names a ramdisk."""

    def drivers(self, drivers: Mapping[str, Driver]) -> dict[str, Driver]:
        """The drivers, those that boot what they are told able to wipe by the ramdisk."""
        self._engines = frozenset(
            name for name, each in drivers.items() if isinstance(each, HardwareEngine)
        )
        return {
            name: RamdiskWipe(driver, lambda: self.wipes)
            if name not in self._engines and EffectKind.WIPE not in driver.capabilities
            else driver
            for name, driver in drivers.items()
        }

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
        self._read_news()
        with self._store.batch():  # the ends of many boots are one commit
            return self._overlaid(observed, memory, inventory)

    def _overlaid(self, observed: Observed, memory: Memory, inventory: Inventory) -> Observed:
        names = self._heard.keys() | {
            name for name, each in memory.nodes.items() if each.operation is not None
        }
        known: dict[str, _Seen] = {}
        for name in names:
            observation, heard = observed.nodes.get(name), self._heard.get(name)
            mine = memory.nodes.get(name)
            operation = mine.operation if mine is not None else None
            before = self._known.get(name)
            if (
                before is not None
                and before[0] is observation
                and before[1] is heard
                and before[2] is operation
            ):
                known[name] = before
                continue
            node = inventory.nodes.get(name)
            if observation is None or node is None or node.spec.driver in self._engines:
                continue
            heard = self._ended(name, observation, heard)
            known[name] = (observation, heard, operation, overlaid(observation, heard, operation))
        self._known = known
        changed = {name: seen[3] for name, seen in known.items() if seen[3] is not seen[0]}
        if not changed:
            return observed
        nodes = dict(observed.nodes)
        nodes.update(changed)
        return replace(observed, nodes=FrozenDict(nodes))

    def alerts(self, inventory: Inventory) -> tuple[str, ...]:
        """The machines that reported to be otherwise than git declares, so many at most."""
        told: list[str] = []
        kept: dict[str, tuple[Heard, Node, str]] = {}
        for name, heard in self._heard.items():
            node, facts = inventory.nodes.get(name), heard.report.facts
            if node is None or facts is None:
                continue
            known = self._judged.get(name)
            if known is None or known[0] is not heard or known[1] is not node:
                known = (heard, node, "; ".join(differences(node.spec, facts)))
            kept[name] = known
            if known[2] and len(told) < ALERTS_MAX:
                told.append(
                    f"{name} is not what git declares, its disks stay as they are: {known[2]}"
                )
        self._judged = kept
        return tuple(told)

    def _read_news(self) -> None:
        with self._lock:
            news, self._news = self._news, set()
        if not news:
            return
        try:
            self._heard |= self._store.heard(news)
        except BaseException:
            with self._lock:
                self._news |= news
            raise

    def _ended(self, name: str, observation: Observation, heard: Heard | None) -> Heard | None:
        """A node's report; a boot whose machine was seen off is over for good."""
        if heard is None or not is_over(observation, heard):
            return heard
        self._store.end_boots(name, self._clock())
        self._heard[name] = replace(heard, live=False)
        return self._heard[name]


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
        SettingsError: its address cannot be had, its directory not be made, or the extra is
            missing.
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
    server = BootServer(
        url, store, images, lambda reference: secrets.value(reference).value, clock, limits
    )
    stack.callback(server.close)
    booting = Booting(server, store, clock, wake)
    server.start(listening, booting.told, _trouble)
    return booting


def _trouble(words: str) -> None:
    """Say in the log what went wrong in a request; from any thread."""
    structlog.get_logger().warning("the boot service could not serve a request", why=words)
