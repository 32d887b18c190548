"""Which drivers there are, by the name that a `Node` gives, and how each is opened.

Some come with Metalwright; others are entry points of the group `metalwright.drivers` in whatever
is installed beside it (docs/drivers.md). One of those that cannot be opened stops nobody: it is
there in name, and every call to it fails with the reason, so its nodes are not observed and nothing
is planned for them. Nothing here speaks to hardware, and no entry point is imported to be listed.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from metalwright.drivers.contract import (
    Clock,
    Driver,
    DriverFactory,
    SecretSource,
)
from metalwright.drivers.credentials import SecretsDownError
from metalwright.drivers.fake import FakeDriver
from metalwright.drivers.fake_faults import parse_faults
from metalwright.drivers.ipmi import FORMER_CREDENTIALS_S, IpmiDriver
from metalwright.drivers.ironic import open_ironic
from metalwright.drivers.redfish import RedfishDriver
from metalwright.drivers.wol import PORT, WolDriver
from metalwright.errors import DriverError, PermanentError, SettingsError, TemporaryError
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import DRIVER_PATTERN, DRIVERS
from metalwright.model.observed import Reading
from metalwright.model.operation import Effect, EffectKind

GROUP: Final = "metalwright.drivers"


_OPTIONAL: Final = ("check", "insert_media", "boot_from_media", "eject_media")
"""Methods that only some drivers have (docs/drivers.md)."""


class ClosedDriver:
    """A driver in name only: every call fails with the reason why there is no more to it."""

    capabilities = frozenset(EffectKind)
    """Nothing is said about what it could do, so that the reason is what people get to read."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """Raises PermanentError, always."""
        del node, timeout_s
        raise PermanentError(self.reason)

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Raises PermanentError, always."""
        del node, effect, timeout_s
        raise PermanentError(self.reason)

    def close(self) -> None:
        """There is nothing to close."""


class GuardedDriver:
    """A driver of somebody else's, held to what it promises: a driver error, or a reading.

    The text of an exception that is no `DriverError` is not shown: it could carry anything, a
    password as well. What a driver may have beside `Driver` is there when the driver has it.
    """

    def __init__(self, name: str, driver: Driver) -> None:
        self._name, self._driver = name, driver
        self.capabilities = frozenset(EffectKind(each) for each in driver.capabilities)
        for optional in _OPTIONAL:
            method = getattr(driver, optional, None)
            if callable(method):
                setattr(self, optional, self._guarded(method))

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What the driver reads.

        Raises:
            DriverError: what it raises; a PermanentError for whatever it should not have done.
        """
        with self._held():
            reading = self._driver.observe(node, timeout_s)
        if not isinstance(reading, Reading):
            raise PermanentError(f"the driver {self._name} gave a {type(reading).__name__}")
        return reading

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Begin an effect.

        Raises:
            DriverError: as for `observe`.
        """
        with self._held():
            self._driver.apply(node, effect, timeout_s)

    def close(self) -> None:
        """Close the driver, whatever it says to that."""
        try:
            self._driver.close()
        except Exception:  # noqa: BLE001 - the others are still to be closed
            return

    def _guarded(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with self._held():
                return method(*arguments)

        return call

    @contextmanager
    def _held(self) -> Iterator[None]:
        try:
            yield
        except DriverError:
            raise
        except SecretsDownError as error:
            raise TemporaryError(str(error)) from None
        except SettingsError as error:  # a secret that is not there
            raise PermanentError(str(error)) from None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever somebody else's code raises
            kind = type(error).__name__
            raise PermanentError(f"the driver {self._name} failed with {kind}") from None


def _open_fake(settings: Mapping[str, Any], secrets: SecretSource, clock: Clock) -> Driver:
    del secrets
    return FakeDriver(
        settings.get("state"),
        seed=settings.get("seed", 0),
        clock=clock,
        speed=settings.get("speed", 1.0),
        faults=parse_faults(settings.get("faults", ())),
        wait=settings.get("wait"),
    )


def _open_ipmi(settings: Mapping[str, Any], secrets: SecretSource, clock: Clock) -> Driver:
    del clock
    return IpmiDriver(
        secrets,
        workers_max=settings.get("workers_max", 8),
        former_credentials_s=settings.get("former_credentials_s", FORMER_CREDENTIALS_S),
    )


def _open_redfish(settings: Mapping[str, Any], secrets: SecretSource, clock: Clock) -> Driver:
    del clock
    return RedfishDriver(
        secrets,
        ca_file=settings.get("ca_file"),
        boot_override=settings.get("boot_override", "Once"),
    )


def _open_wol(settings: Mapping[str, Any], secrets: SecretSource, clock: Clock) -> Driver:
    del secrets, clock
    return WolDriver(
        settings.get("addresses", ("255.255.255.255",)),
        port=settings.get("port", PORT),
        network_first=settings.get("network_first", False),
    )


def _open_ironic(settings: Mapping[str, Any], secrets: SecretSource, clock: Clock) -> Driver:
    if not settings.get("endpoint") and not settings.get("cloud"):
        return ClosedDriver("where Ironic is has to be set: drivers.ironic.endpoint, or .cloud")
    return open_ironic(settings, secrets, clock)


BUILT_IN: Final[Mapping[str, DriverFactory]] = FrozenDict(
    {
        "fake": _open_fake,
        "ipmi": _open_ipmi,
        "redfish": _open_redfish,
        "ironic": _open_ironic,
        "wol": _open_wol,
    }
)


def installed() -> Mapping[str, tuple[EntryPoint, ...]]:
    """The entry points of each name that somebody else's distributions bring; none is imported.

    A name of our own, or one that no node could give, is not among them.
    """
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for entry in entry_points(group=GROUP):
        if entry.name not in DRIVERS and re.fullmatch(DRIVER_PATTERN, entry.name):
            found[entry.name] = (*found.get(entry.name, ()), entry)
    return found


def driver_names() -> frozenset[str]:
    """Every name that a node may give as its driver here."""
    return DRIVERS | installed().keys()


def open_drivers(
    settings: Mapping[str, Mapping[str, Any]], secrets: SecretSource, clock: Clock
) -> Mapping[str, Driver]:
    """Every driver by its name. `settings` are the tables `[drivers.NAME]` by name.

    Raises:
        SettingsError: a table of no driver, or wrong settings of one of our own.
    """
    others = installed()
    known = sorted(BUILT_IN.keys() | others.keys())
    for name in settings:
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise SettingsError(
                f"drivers.{name}: there is no driver of this name; the nearest one is {nearest}"
            )
    drivers: dict[str, Driver] = {}
    try:
        for name, factory in BUILT_IN.items():
            drivers[name] = factory(settings.get(name, FrozenDict()), secrets, clock)
        for name, entries in others.items():
            drivers[name] = _open_other(entries, settings.get(name, FrozenDict()), secrets, clock)
    except BaseException:
        for driver in drivers.values():
            driver.close()
        raise
    return FrozenDict(drivers)


def _open_other(
    entries: tuple[EntryPoint, ...],
    settings: Mapping[str, Any],
    secrets: SecretSource,
    clock: Clock,
) -> Driver:
    """The driver of an entry point, or one that only says why there is none."""
    entry, *more = entries
    name = entry.name
    if more:
        return ClosedDriver(
            f"the driver {name} is there more than once: {_of(entries)}; uninstall all but one"
        )
    try:
        return GuardedDriver(name, entry.load()(settings, secrets, clock))
    except SettingsError as error:
        return ClosedDriver(f"the driver {name} cannot be opened: {error}")
    except Exception as error:  # noqa: BLE001 - whatever importing somebody else's code raises
        missing = f" ({error.name} is missing)" if isinstance(error, ModuleNotFoundError) else ""
        return ClosedDriver(
            f"the driver {name} of {_of(entries)} cannot be opened:"
            f" {entry.value}: {type(error).__name__}{missing}"
        )


def _of(entries: tuple[EntryPoint, ...]) -> str:
    return ", ".join(
        sorted(entry.dist.name if entry.dist is not None else entry.value for entry in entries)
    )
