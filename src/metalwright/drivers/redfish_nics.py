"""The MAC addresses of a system, read once and kept: each is a request of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from metalwright.drivers.redfish_http import Exchange
from metalwright.drivers.redfish_reading import mac_of

NICS_MAX: Final = 64
LEFT_MIN_S: Final = 1.0
"""With less time left in a call no further interface is read; the next call goes on."""

READINGS_KEPT: Final = 40
"""After so many readings the interfaces are read anew: ten minutes at one reading in 15 s."""


@dataclass(slots=True)
class Nics:
    """What is known of the interfaces of one machine, which `machine` tells apart from another."""

    machine: tuple[Any, ...]
    paths: tuple[str, ...] | None = None
    macs: dict[str, str | None] = field(default_factory=dict)
    readings: int = 0


def macs_of(exchange: Exchange, system: Mapping[str, Any], seen: dict[str, Any]) -> tuple[str, ...]:
    """The MAC addresses of all interfaces; none before all of them have been read.

    Another serial number or UUID is another machine, of which nothing is known. A service that
    refuses to tell leaves the machine without addresses, not without a reading.

    Raises:
        ExchangeError: there was no answer.
    """
    from sushy.exceptions import HTTPError

    link = system.get("EthernetInterfaces")
    collection = link.get("@odata.id") if isinstance(link, Mapping) else None
    if not isinstance(collection, str):
        return ()
    machine = (system.get("UUID"), system.get("SerialNumber"))
    nics = seen.get(collection)
    if not isinstance(nics, Nics) or nics.machine != machine or nics.readings >= READINGS_KEPT:
        nics = seen[collection] = Nics(machine)
    nics.readings += 1
    try:
        _read_on(exchange, collection, nics)
    except HTTPError:
        return ()
    if nics.paths is None or len(nics.macs) < len(nics.paths):
        return ()
    return tuple(sorted({mac for mac in nics.macs.values() if mac is not None}))


def _read_on(exchange: Exchange, collection: str, nics: Nics) -> None:
    if nics.paths is None:
        if exchange.left_s < LEFT_MIN_S:
            return
        members = exchange.get(collection).json().get("Members", [])
        nics.paths = tuple(str(each["@odata.id"]) for each in members[:NICS_MAX])
    for path in nics.paths:
        if path in nics.macs:
            continue
        if exchange.left_s < LEFT_MIN_S:
            return
        nics.macs[path] = mac_of(exchange.get(path).json())
