"""Boot discs in a fleet: shown to the machines that git says boot by one, and taken out again.

For those machines "boot from the network" is told to the BMC as "show the boot service's disc, and
boot from it once"; the driver's own effect is not used. When no operation needs it any more the
disc is taken out, as a favour: what comes of that changes no operation. Discs of others are only
touched where ours has to be shown, and that is written down.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import structlog

from metalwright.boot.media import MediaError, is_ours, open_disc
from metalwright.drivers.contract import Driver, VirtualMedia
from metalwright.errors import (
    DriverError,
    PermanentError,
    SettingsError,
    StoreError,
    TemporaryError,
)
from metalwright.execute.ports import HardwareEngine
from metalwright.model.boots import Noted
from metalwright.model.documents import Node
from metalwright.model.hardware import BootInterface, BootMode, Lifecycle
from metalwright.model.inventory import Inventory
from metalwright.model.observed import BootDevice, Observation, Observed, Reading
from metalwright.model.operation import Effect, EffectKind, Memory, NodeMemory
from metalwright.settings import Settings
from metalwright.store import Store

if TYPE_CHECKING:
    from metalwright.boot.media import Disc

EJECTS_AT_ONCE_MAX: Final = 4
EJECT_QUEUED_MAX_S: Final = 30.0
"""A disc that was to be taken out longer ago is left for the next cycle to decide on: the right to
drive the fleet is confirmed in every cycle, and lasts a minute.
"""

EJECT_TRIES_MAX: Final = 5
EJECT_PAUSE: Final = timedelta(seconds=60)
"""Between two tries to take a disc out of one machine; after the last it stays in."""

WAIT_SHARE: Final = 0.5
"""How much of an effect's time it may wait for a disc that is being taken out."""


@dataclass(slots=True)
class _Tray:
    """The drive of one node: who uses it, and what came of taking a disc out.

    `uses` counts the effects that showed a disc: what was decided before one does not hold after.
    """

    lock: threading.Lock = field(default_factory=threading.Lock)
    uses: int = 0
    busy: bool = False
    tries: int = 0
    not_before: datetime | None = None
    tried_at: datetime | None = None


class BootDiscs:
    """The boot disc of one fleet. `drivers` and `tidy` are for the thread of the cycles."""

    def __init__(
        self,
        disc: Disc | None,
        url: str,
        store: Store,
        clock: Callable[[], datetime],
        executor: Executor,
        timeout_s: float,
    ) -> None:
        """`disc` is at `url` for the BMCs; without one, no machine can be booted by it."""
        self._disc, self._url = disc, f"{url}/media/{disc.name}" if disc is not None else ""
        self._store, self._clock = store, clock
        self._executor, self._timeout_s = executor, timeout_s
        self._media: dict[str, VirtualMedia] = {}
        self._trays: dict[str, _Tray] = {}
        self._lock = threading.Lock()
        self._of: Inventory | None = None
        self._nodes: tuple[Node, ...] = ()

    def drivers(self, drivers: Mapping[str, Driver]) -> dict[str, Driver]:
        """The drivers, those that boot what they are told able to do so by a disc."""
        self._media = {
            name: each for name, each in drivers.items() if isinstance(each, VirtualMedia)
        }
        return {
            name: each if isinstance(each, HardwareEngine) else DiscBoot(each, self)
            for name, each in drivers.items()
        }

    def boot(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Have the node's next boot be from the disc.

        Raises:
            DriverError: the BMC did not take it, or there is no disc for this node.
        """
        until = time.monotonic() + timeout_s
        media = self._able(node)
        tray = self._tray(node.metadata.name)
        with _held(tray, timeout_s * WAIT_SHARE):
            tray.uses += 1
            others: list[str] = []
            try:
                media.insert_media(node, self._url, _left_s(until), others.append)
            finally:
                for image in others:
                    if not is_ours(image):
                        words = (
                            f"its virtual CD drive had another disc, which was taken out: {image}"
                        )
                        self._note(node, words, effect.operation_id)
            media.boot_from_media(node, _left_s(until))

    def tidy(self, observed: Observed, memory: Memory, inventory: Inventory) -> None:
        """Have the discs taken out that no operation needs any more; it waits for nothing."""
        if inventory is not self._of:
            self._of = inventory
            self._nodes = tuple(
                node for node in inventory.nodes.values()
                if _by_disc(node) and node.spec.driver in self._media
            )  # fmt: skip
        for node in self._nodes:
            name = node.metadata.name
            seen = observed.nodes.get(name)
            if seen is None or seen.reading is None or seen.reading.media is None:
                continue
            tray = self._tray(name)
            if not is_ours(seen.reading.media):
                tray.tries, tray.not_before = 0, None
            elif _is_free(node, memory.nodes.get(name)) and _is_due(tray, seen):
                tray.busy = True
                with suppress(RuntimeError):  # shut down: it is for the next process to find
                    self._executor.submit(self._eject, node, tray.uses, time.monotonic())

    def _able(self, node: Node) -> VirtualMedia:
        media = self._media.get(node.spec.driver)
        if media is None:
            raise PermanentError(
                f"the driver {node.spec.driver} cannot show a machine a boot disc"
                " (spec.bootInterface)"
            )
        if self._disc is None:
            raise PermanentError("there is no boot disc: mw boot-media makes one for boot.media")
        if node.spec.boot_mode is BootMode.UEFI and not self._disc.uefi:
            raise PermanentError("the disc in boot.media boots in BIOS mode only")
        return media

    def _tray(self, name: str) -> _Tray:
        with self._lock:
            return self._trays.setdefault(name, _Tray())

    def _eject(self, node: Node, uses: int, asked_s: float) -> None:
        """Take the disc out, unless it is in use again; in a thread of the executor."""
        tray = self._tray(node.metadata.name)
        try:
            if time.monotonic() - asked_s > EJECT_QUEUED_MAX_S:
                return
            with _held(tray, 0.0):
                if tray.uses != uses:
                    return
                media = self._media[node.spec.driver]
                tray.not_before = None
                if media.eject_media(node, self._timeout_s, is_ours):
                    self._note(node, "its boot disc was taken out of its virtual CD drive")
        except DriverError as error:
            tray.tries += 1
            tray.not_before = self._clock() + EJECT_PAUSE
            structlog.get_logger().warning(
                "a boot disc could not be taken out", node=node.metadata.name, why=str(error)
            )
            if tray.tries == EJECT_TRIES_MAX:
                self._note(node, f"its boot disc stays in its virtual CD drive: {error}")
        finally:
            tray.tried_at, tray.busy = self._clock(), False

    def _note(self, node: Node, words: str, operation_id: str = "") -> None:
        line = Noted(
            node=node.metadata.name, event="media", detail=words, operation_id=operation_id
        )
        try:
            self._store.note([line], self._clock())
        except StoreError as error:
            structlog.get_logger().warning(words, node=line.node, unwritten=str(error))


class DiscBoot:
    """A driver whose machines boot by a disc where git says so. What else it has is its own."""

    def __init__(self, driver: Driver, discs: BootDiscs) -> None:
        self._driver, self._discs = driver, discs

    @property
    def capabilities(self) -> frozenset[EffectKind]:
        """The driver's."""
        return self._driver.capabilities

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What the driver reads. Raises DriverError."""
        return self._driver.observe(node, timeout_s)

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Begin an effect. Raises DriverError."""
        sets = effect.kind is EffectKind.SET_BOOT_DEVICE
        if sets and effect.argument == BootDevice.PXE and _by_disc(node):
            self._discs.boot(node, effect, timeout_s)
        else:
            self._driver.apply(node, effect, timeout_s)

    def close(self) -> None:
        """End the driver."""
        self._driver.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)


def open_discs(
    settings: Settings, url: str, store: Store, clock: Callable[[], datetime], stack: ExitStack
) -> tuple[BootDiscs, Disc | None]:
    """The boot disc of the settings, which leads to the boot service at `url`, if there is one.

    Raises:
        SettingsError: it is no such disc.
    """
    boot = settings.boot
    try:
        disc = open_disc(boot.media, url) if boot.media is not None else None
    except MediaError as error:
        raise SettingsError(str(error)) from error
    executor = ThreadPoolExecutor(EJECTS_AT_ONCE_MAX, thread_name_prefix="media")
    stack.callback(executor.shutdown, wait=False, cancel_futures=True)
    timeout_s = settings.execute.effect_timeout_s
    return BootDiscs(disc, boot.media_url or url, store, clock, executor, timeout_s), disc


def _by_disc(node: Node) -> bool:
    return node.spec.boot_interface is BootInterface.VIRTUAL_MEDIA


def _is_free(node: Node, mine: NodeMemory | None) -> bool:
    """Whether the node is ours to touch, nobody keeps it as it is, and no operation is left."""
    if mine is None or node.spec.lifecycle is not Lifecycle.MANAGED:
        return False
    kept = node.spec.hold is not None or mine.hold is not None or mine.quarantine is not None
    return not kept and mine.operation is None


def _is_due(tray: _Tray, seen: Observation) -> bool:
    """Whether the disc was seen in the drive since it was tried last, not too often, not lately."""
    if tray.busy or tray.tries >= EJECT_TRIES_MAX:
        return False
    after = tray.not_before or tray.tried_at
    return after is None or seen.at > after


@contextmanager
def _held(tray: _Tray, timeout_s: float) -> Iterator[None]:
    if not tray.lock.acquire(timeout=timeout_s):
        raise TemporaryError("its virtual CD drive is being changed")
    try:
        yield
    finally:
        tray.lock.release()


def _left_s(until: float) -> float:
    left_s = until - time.monotonic()
    if left_s <= 0:
        raise TemporaryError("the boot disc took all of the time")
    return left_s
