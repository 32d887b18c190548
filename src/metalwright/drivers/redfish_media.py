"""The virtual CD drive of a machine: an image at a URL, which the BMC shows to it as a disc.

Older services have their drives below the manager instead of the system. What a service says that
it has done is read back: many acknowledge an image before they have fetched it, or one that they
keep in the drive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from metalwright.drivers.redfish_http import Exchange
from metalwright.errors import PermanentError, TemporaryError

_WITH_SECRETS: Final = re.compile(r"(?<=//)[^/]*@|[?#].*$", re.DOTALL)
LEFT_MIN_S: Final = 1.0
"""With less time left in a reading the drive is left for the next one."""

DRIVELESS_KEPT: Final = 40
"""After so many readings a machine without a drive is asked for one anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What is in a virtual drive."""

    inserted: bool
    image: str | None = None


@dataclass(slots=True)
class Drive:
    """Where the drive of one machine is (empty: it has none), and how often that was used."""

    path: str
    readings: int = 0


def media_of(exchange: Exchange, path: str) -> Media | None:
    """What is in the virtual CD drive of the system at `path`; `None` where it has none.

    Raises:
        ExchangeError, sushy.exceptions.SushyError: the service did not tell.
    """
    drive = _drive(exchange, path)
    return None if drive is None else _shown(drive.json)


def image_of(exchange: Exchange, path: str, seen: dict[str, Any]) -> str | None:
    """The image in the drive, for a reading: empty where none is in it, `None` where it is not
    known, or there is no drive. Where the drive is, is looked up once and kept in `seen`.

    A service that refuses to tell leaves the machine without this, not without a reading.

    Raises:
        ExchangeError: there was no answer.
    """
    from sushy.exceptions import SushyError

    if exchange.left_s < LEFT_MIN_S:
        return None
    key = f"{path}#media"
    try:
        known = seen.get(key)
        if not isinstance(known, Drive) or (not known.path and known.readings >= DRIVELESS_KEPT):
            found = _drive(exchange, path)
            known = seen[key] = Drive(found.path if found is not None else "")
        known.readings += 1
        if not known.path:
            return None
        shown = _shown(exchange.get(known.path).json())
    except (SushyError, ValueError):
        seen.pop(key, None)
        return None
    return (shown.image or "") if shown.inserted else ""


def insert(
    exchange: Exchange, path: str, url: str, replaced: Callable[[str], None] = lambda _image: None
) -> None:
    """Put the image at `url` in, in place of what is there, which `replaced` is told.

    Raises:
        PermanentError: there is no drive.
        TemporaryError: it does not show the image, or still another one.
        ExchangeError, sushy.exceptions.SushyError: the service did not acknowledge it.
    """
    drive = _drive(exchange, path)
    if drive is None:
        raise PermanentError("it has no virtual CD drive")
    before = _shown(drive.json)
    if before.inserted and _same(before.image, url):
        return
    if before.inserted:
        _take_out(drive, before)
        replaced(before.image or "an image without a name")
    drive.insert_media(url)
    drive.refresh(force=True)
    after = _shown(drive.json)
    if not after.inserted:
        raise TemporaryError("it does not show the disc that it was given yet")
    if (after.image or "").rpartition("/")[2] != url.rpartition("/")[2]:
        raise TemporaryError(f"it shows another disc than it was given: {after.image}")


def eject(exchange: Exchange, path: str, ours: Callable[[str], bool] = lambda _image: True) -> bool:
    """Empty the drive, unless it is empty, or what is in it is not `ours`; whether it was.

    Raises:
        TemporaryError: it is still in it.
        ExchangeError, sushy.exceptions.SushyError: the service did not acknowledge it.
    """
    drive = _drive(exchange, path)
    before = _shown(drive.json) if drive is not None else Media(inserted=False)
    if not before.inserted or not ours(before.image or ""):
        return False
    _take_out(drive, before)
    return True


def cd_of(system: Mapping[str, Any]) -> str:
    """What a system calls its virtual CD drive as a boot source: Supermicro's newer ones have
    `UsbCd` instead of `Cd`.
    """
    boot = system.get("Boot")
    boot = boot if isinstance(boot, Mapping) else {}
    offered = boot.get("BootSourceOverrideTarget@Redfish.AllowableValues")
    only_usb = isinstance(offered, list) and "UsbCd" in offered and "Cd" not in offered
    return "UsbCd" if only_usb else "Cd"


def _take_out(drive: Any, before: Media) -> None:
    """Eject; sushy keeps to itself that a service refused to."""
    drive.eject_media()
    drive.refresh(force=True)
    if _shown(drive.json).inserted:
        raise TemporaryError(f"it does not let go of the disc in its drive: {before.image}")


def _shown(drive: Mapping[str, Any]) -> Media:
    """What a VirtualMedia resource shows; older ones have no `Inserted`, only an image or none.

    The address of an image that somebody else put in may carry a password.
    """
    found = drive.get("Image") or drive.get("ImageName")
    image = _WITH_SECRETS.sub("", found) if isinstance(found, str) else None
    inserted = drive.get("Inserted")
    return Media(inserted=inserted if isinstance(inserted, bool) else bool(image), image=image)


def _same(image: str | None, url: str) -> bool:
    """Whether the image is the one at `url`; some services only show the last part of it."""
    return image is not None and image in (url, url.rpartition("/")[2])


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
