"""The virtual CD drive of a machine: an image at a URL, which the BMC shows to it as a disc.

Older services have their drives below the manager instead of the system.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from metalwright.drivers.redfish_http import Exchange
from metalwright.errors import PermanentError


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What is in a virtual drive."""

    inserted: bool
    image: str | None = None


def media_of(exchange: Exchange, path: str) -> Media | None:
    """What is in the virtual CD drive of the system at `path`; `None` where it has none.

    Raises:
        ExchangeError, sushy.exceptions.SushyError: the service did not tell.
    """
    drive = _drive(exchange, path)
    if drive is None:
        return None
    return Media(inserted=bool(drive.inserted), image=drive.image or None)


def insert(exchange: Exchange, path: str, url: str) -> None:
    """Put the image at `url` in, in place of what is there.

    Raises:
        PermanentError: there is no drive.
        ExchangeError, sushy.exceptions.SushyError: the service did not acknowledge it.
    """
    drive = _drive(exchange, path)
    if drive is None:
        raise PermanentError("it has no virtual CD drive")
    if drive.inserted and drive.image == url:
        return
    if drive.inserted:
        drive.eject_media()
    drive.insert_media(url)


def eject(exchange: Exchange, path: str) -> None:
    """Empty the drive, unless it is empty.

    Raises:
        ExchangeError, sushy.exceptions.SushyError: the service did not acknowledge it.
    """
    drive = _drive(exchange, path)
    if drive is not None and drive.inserted:
        drive.eject_media()


def _drive(exchange: Exchange, path: str) -> Any:
    return next(_drives(exchange, path), None)


def _drives(exchange: Exchange, path: str) -> Iterator[Any]:
    """The virtual CD and DVD drives of a system, its own before its managers'."""
    from sushy.exceptions import MissingAttributeError, ResourceNotFoundError
    from sushy.resources.manager.constants import VirtualMediaType
    from sushy.resources.manager.manager import Manager
    from sushy.resources.system.system import System

    discs = {VirtualMediaType.CD, VirtualMediaType.DVD}
    system = System(exchange, path)
    links = system.json.get("Links", {}).get("ManagedBy", [])
    managers = (str(link["@odata.id"]) for link in links)
    for owner in (system, *managers):
        try:
            found = Manager(exchange, owner) if isinstance(owner, str) else owner
            members = found.virtual_media.get_members()
        except (MissingAttributeError, ResourceNotFoundError):
            continue
        yield from (each for each in members if discs & set(each.media_types))
