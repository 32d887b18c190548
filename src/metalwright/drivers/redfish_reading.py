"""What a Redfish ComputerSystem says, as a reading. Pure.

How far the boot is (`BootProgress`) is left out: a BMC cannot say which system runs, and a reading
that says one without the other would be taken for a machine that runs the wrong one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from metalwright.errors import TemporaryError
from metalwright.model.fields import MAC_PATTERN, UUID_PATTERN
from metalwright.model.hardware import BootMode
from metalwright.model.observed import BootDevice, Health, Identity, Power, Reading

_POWER: Final = {
    "On": Power.ON,
    "Off": Power.OFF,
    "PoweringOn": Power.ON,
    "PoweringOff": Power.ON,
    "Paused": Power.ON,
}
"""A machine that is on its way is not off: nothing may be done that needs it to be."""

TARGETS: Final[Mapping[BootDevice, str]] = {BootDevice.PXE: "Pxe", BootDevice.DISK: "Hdd"}
MODES: Final[Mapping[BootMode, str]] = {BootMode.UEFI: "UEFI", BootMode.BIOS: "Legacy"}
_DEVICES: Final = {target: device for device, target in TARGETS.items()}


def reading_of(system: Mapping[str, Any], macs: Sequence[str]) -> Reading:
    """The reading of a ComputerSystem (DSP0268).

    Raises:
        TemporaryError: it does not say what it is: a BMC that has just started, most often.
    """
    if "PowerState" not in system and "Id" not in system:
        raise TemporaryError("its answer is no system")
    return Reading(
        power=power_of(system),
        boot_device=boot_device_of(system),
        identity=Identity(
            serial=_text(system.get("SerialNumber")),
            system_uuid=_uuid(system.get("UUID")),
            macs=tuple(macs),
        ),
        health=health_of(system),
    )


def power_of(system: Mapping[str, Any]) -> Power:
    """Whether it is on; `unknown` where it does not say (a BMC that has just started)."""
    state = system.get("PowerState")
    return _POWER.get(state, Power.UNKNOWN) if isinstance(state, str) else Power.UNKNOWN


def boot_device_of(system: Mapping[str, Any]) -> BootDevice | None:
    """The device that the next boot is from, where it is overridden to be one of ours."""
    boot = system.get("Boot")
    if not isinstance(boot, Mapping):
        return None
    if boot.get("BootSourceOverrideEnabled") not in ("Once", "Continuous"):
        return None
    target = boot.get("BootSourceOverrideTarget")
    return _DEVICES.get(target) if isinstance(target, str) else None


def health_of(system: Mapping[str, Any]) -> Health | None:
    """The health of the machine with all its parts, or of itself where it does not add them up."""
    status = system.get("Status")
    if not isinstance(status, Mapping):
        return None
    for name in ("HealthRollup", "Health"):
        value = status.get(name)
        if isinstance(value, str) and value in list(Health):
            return Health(value)
    return None


def mac_of(interface: Mapping[str, Any]) -> str | None:
    """The MAC address that an EthernetInterface was made with, else the one that it has."""
    for name in ("PermanentMACAddress", "MACAddress"):
        value = interface.get(name)
        if isinstance(value, str) and re.fullmatch(MAC_PATTERN, value.replace("-", ":")):
            return value.replace("-", ":").lower()
    return None


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None


def _uuid(value: object) -> str | None:
    """A UUID that somebody has set: all zeros and all ones are none."""
    if not isinstance(value, str) or not re.fullmatch(UUID_PATTERN, value):
        return None
    return None if set(value.lower()) <= {"0", "-"} or set(value.lower()) <= {"f", "-"} else value
