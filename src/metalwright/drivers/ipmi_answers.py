"""What a worker's answers mean: boot device, health, sensors, and errors as ours.

Pure: bytes and JSON come in, values of the model go out. No error carries credentials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from metalwright.drivers.credentials import Credentials
from metalwright.drivers.ipmi_errors import NO_SLOT, SILENCE, meaning_of
from metalwright.errors import (
    CredentialsError,
    DriverError,
    NotSupportedError,
    PermanentError,
    TemporaryError,
)
from metalwright.model.observed import BootDevice, Health

Answer = dict[str, Any]

_SELECTORS = {0x04: BootDevice.PXE, 0x08: BootDevice.DISK}
_SELECTOR_MASK = 0x3C

_POWER_FAULT, _POWER_CONTROL_FAULT, _POWER_OVERLOAD = 0x08, 0x10, 0x02
_COOLING_FAULT, _DRIVE_FAULT = 0x08, 0x04
"""IPMI 2.0, table 28-3: bits of the current power state, and of the miscellaneous chassis state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """One sensor's reading: a value with its units, or states in words; `kind` is its type."""

    name: str
    kind: str
    value: float | None
    units: str
    health: Health
    states: tuple[str, ...] = ()


def boot_device_of(flags: bytes) -> BootDevice | None:
    """The boot device in an answer to Get System Boot Options, parameter 5 (IPMI 2.0, table 28-14).

    `None` when the BMC has none, says that its flags are not valid, or names another device.
    """
    if len(flags) < 4 or flags[1] & 0x80 or not flags[2] & 0x80:
        return None
    return _SELECTORS.get(flags[3] & _SELECTOR_MASK)


def health_of(status: bytes) -> Health | None:
    """What the chassis status says of the machine's health; `None` where it is too short to tell.

    A power fault has taken the machine down, or will; the other faults are warnings.
    """
    if len(status) < 3:
        return None
    if status[0] & _POWER_FAULT:
        return Health.CRITICAL
    warned = status[0] & (_POWER_CONTROL_FAULT | _POWER_OVERLOAD)
    warned |= status[2] & (_COOLING_FAULT | _DRIVE_FAULT)
    return Health.WARNING if warned else Health.OK


def sensors_of(answer: Answer) -> tuple[Sensor, ...]:
    """The sensors in a worker's answer. pyghmi counts health as bits: 1 warning, more is worse."""
    found = [
        Sensor(
            name=each["name"],
            kind=each["kind"],
            value=each["value"],
            units=each["units"],
            health=(Health.OK, Health.WARNING)[each["health"]]
            if each["health"] in (0, 1)
            else Health.CRITICAL,
            states=tuple(each["states"]),
        )
        for each in answer["sensors"]
    ]
    return tuple(sorted(found, key=lambda each: each.name))


def login_refusal(answer: Answer) -> str | None:
    """Our words for a login that the BMC refused for its credentials; `None` for anything else."""
    if not answer.get("login") or answer.get("error") != "ipmi":
        return None
    kind, words = meaning_of(str(answer["text"]))
    return words if issubclass(kind, CredentialsError) else None


def no_slot(answer: Answer) -> bool:
    """Whether the BMC said that no session slot is left."""
    return answer.get("error") == "ipmi" and str(answer["text"]).startswith(NO_SLOT)


def translated(name: str, answer: Answer, credentials: Credentials) -> DriverError:
    """The worker's error as one of ours; whatever its text, it carries no credentials."""
    text = str(answer["text"])
    match answer["error"]:
        case "ipmi":
            kind, words = meaning_of(text)
            if kind is NotSupportedError and answer.get("login"):
                kind = PermanentError  # it is the login that it cannot, not what was asked for
        case "missing":
            kind, words = PermanentError, "pyghmi is missing: pip install 'metalwright[ipmi]'"
        case "address":
            kind, words = TemporaryError, f"its address does not resolve ({text})"
        case "garbage":
            kind, words = TemporaryError, f"its answer cannot be understood ({text})"
        case _:
            kind, words = TemporaryError, f"the network failed ({text})"
    for secret in (credentials.password, credentials.username):
        words = words.replace(secret, "***")
    error = kind(f"{name}: {words}")
    if text in SILENCE:
        error.__cause__ = TimeoutError(text)
    return error
