"""What a driver is, what it is given, and how it is opened: the contract with its authors.

docs/drivers.md tells it in full, with an example. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from metalwright.drivers.credentials import Credentials
from metalwright.model.documents import Node
from metalwright.model.observed import Reading
from metalwright.model.operation import Effect, EffectKind

Clock = Callable[[], datetime]


class Driver(Protocol):
    """A driver whole: what is asked of it, what is changed through it, and its end.

    Its calls come from many threads at once, one at a time for each node at most in each of the
    two directions, and each ends within `timeout_s`.
    """

    @property
    def capabilities(self) -> frozenset[EffectKind]:
        """The effects that it can bring about; always the same ones."""

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What the node answers. Raises DriverError."""

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Begin an effect. Raises DriverError."""

    def close(self) -> None:
        """End whatever it keeps open. Twice is once."""


@runtime_checkable
class VirtualMedia(Protocol):
    """A driver, beside that, whose BMCs can show a machine a disc that they fetch from a URL.

    Its readings of nodes with `bootInterface: virtual-media` tell what is in the drive (`media`).
    """

    def insert_media(
        self, node: Node, url: str, timeout_s: float, replaced: Callable[[str], None]
    ) -> None:
        """Have the BMC show the image at `url`; where it shows it already, nothing is done.
        `replaced` is told of another one that was in the drive. Raises DriverError.
        """

    def boot_from_media(self, node: Node, timeout_s: float) -> None:
        """Have the next boot, and only that, be from the disc that it shows. Raises DriverError."""

    def eject_media(self, node: Node, timeout_s: float, ours: Callable[[str], bool]) -> bool:
        """Have the BMC show nothing any more, where what it shows is `ours`; whether it did so.
        Raises DriverError.
        """


class SecretSource(Protocol):
    """Where a driver looks up the credentials that a node names."""

    def get(self, ref: str) -> Credentials:
        """The credentials of now. Raises SettingsError."""


class DriverFactory(Protocol):
    """Opens a driver: what an entry point of the group `metalwright.drivers` has to be.

    `settings` is the table `[drivers.NAME]` of the settings, empty where there is none. Nothing is
    to be asked of any hardware here.
    """

    def __call__(self, settings: Mapping[str, Any], secrets: SecretSource, clock: Clock) -> Driver:
        """The driver. Raises SettingsError."""
