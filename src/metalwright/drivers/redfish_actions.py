"""Power and boot device of a Redfish system: levels, set where they are not there yet.

Only reset types that set a level are used: `On`, `ForceOff`, `GracefulShutdown`, and `ForceOn`
where there is no `On`. A push of the power button, a cycle and a restart do different things
depending on the state that the machine is in by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from metalwright.drivers.redfish_errors import said_by
from metalwright.drivers.redfish_http import Exchange
from metalwright.drivers.redfish_reading import power_of
from metalwright.errors import NotSupportedError
from metalwright.model.observed import Power
from metalwright.model.operation import EffectKind

_RESETS: Final[Mapping[EffectKind, tuple[str, ...]]] = {
    EffectKind.POWER_ON: ("On", "ForceOn"),
    EffectKind.POWER_OFF: ("ForceOff",),
    EffectKind.SOFT_POWER_OFF: ("GracefulShutdown",),
}

_NOT_OFFERED: Final = (
    "ActionNotSupported",
    "ActionParameterNotSupported",
    "ActionParameterValueNotInList",
    "PropertyValueNotInList",
)
"""In a refusal (400) of a reset type that the service does not have (DMTF DSP0266, Base)."""


@dataclass(frozen=True, slots=True)
class Override:
    """What the next boot (`Once`) or every boot (`Continuous`) is from, and in which mode."""

    target: str
    enabled: str
    mode: str


def set_power(exchange: Exchange, path: str, kind: EffectKind) -> None:
    """Ask for a power level where it is not there yet.

    A service that refuses what has come about meanwhile, as many do with 409, is right.

    Raises:
        NotSupportedError: the service does not offer it.
        ExchangeError, sushy.exceptions.SushyError: it did not acknowledge it.
    """
    from sushy.exceptions import HTTPError

    wanted = Power.ON if kind is EffectKind.POWER_ON else Power.OFF
    system = _system(exchange, path)
    if _power(system) is wanted:
        return
    offered = {each.value: each for each in system.get_allowed_reset_system_values()}
    reset = next((offered[name] for name in _RESETS[kind] if name in offered), None)
    if reset is None:
        raise NotSupportedError(f"it offers no {' or '.join(_RESETS[kind])} to {kind.value}")
    try:
        system.reset_system(reset)
    except HTTPError as error:
        if power_of(exchange.get(path).json()) is wanted:
            return
        if error.status_code == 400 and any(each in said_by(error) for each in _NOT_OFFERED):
            raise NotSupportedError(f"it does not know {reset.value} (HTTP 400)") from None
        raise


def set_boot_override(exchange: Exchange, path: str, override: Override) -> None:
    """Choose what is booted from, unless it is chosen already.

    The mode is only sent where it is another one: many services cannot change it and refuse to be
    told. Supermicro's take a boot device without a mode for one in legacy mode.

    Raises:
        ExchangeError, sushy.exceptions.SushyError: the service did not acknowledge it.
    """
    from sushy.resources.system.constants import BootSource

    system = _system(exchange, path)
    boot = system.json.get("Boot")
    boot = boot if isinstance(boot, dict) else {}
    has_mode = "BootSourceOverrideMode" in boot
    same_mode = not has_mode or boot["BootSourceOverrideMode"] == override.mode
    chosen = boot.get("BootSourceOverrideTarget"), boot.get("BootSourceOverrideEnabled")
    if same_mode and chosen == (override.target, override.enabled):
        return
    supermicro = str(system.manufacturer).lower() == "supermicro"
    system.set_system_boot_options(
        target=BootSource(override.target),
        enabled=override.enabled,
        mode=override.mode if has_mode and (supermicro or not same_mode) else None,
    )


def _system(exchange: Exchange, path: str) -> Any:
    from sushy.resources.system.system import System

    return System(exchange, path)


def _power(system: Any) -> Power:
    return power_of(system.json)
