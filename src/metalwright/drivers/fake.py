"""A simulated fleet that behaves as servers do, ships with the product, and needs no hardware.

The demonstration, the scenarios and the simulation run on it. Machines take realistic time, ignore
the power button now and then, and fall ill on request; see `fake_node`, `fake_faults` and
`fake_fleet`. The same seed, clock and calls give the same fleet, whatever thread or process asks.

It never touches a network, and never waits unless it is given something to wait with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from metalwright.drivers.fake_faults import EVERY_NODE, Fault, FaultKind
from metalwright.drivers.fake_fleet import FakeFleet
from metalwright.drivers.fake_node import (
    Call,
    FakeNode,
    Pace,
    carry_out,
    fraction,
    pressed,
    reading_at,
    runs,
)
from metalwright.errors import CredentialsError, PermanentError, SettingsError, TemporaryError
from metalwright.model.checks import Check
from metalwright.model.documents import Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.observed import Identity, Power, Reading
from metalwright.model.operation import Effect, EffectKind

_POWER = frozenset({EffectKind.POWER_ON, EffectKind.POWER_OFF, EffectKind.SOFT_POWER_OFF})


class FakeDriver:
    """Observes and changes the simulated machines. Safe to use from many threads.

    `state` is the file that processes share, `None` keeps the fleet in memory. A `speed` of 60
    makes a minute of the fleet pass in a second. `faults` are given by node name, or by `*` for
    every node. With `wait` (such as `time.sleep`), silent and slow BMCs keep the caller as long as
    real ones would; without it they answer at once, which a virtual clock needs.
    """

    capabilities = frozenset(EffectKind)

    def __init__(
        self,
        state: Path | str | None,
        *,
        seed: int,
        clock: Callable[[], datetime],
        speed: float = 1.0,
        faults: Mapping[str, Iterable[Fault]] = FrozenDict(),
        wait: Callable[[float], None] | None = None,
    ) -> None:
        """Open the fleet.

        Raises:
            SettingsError: the state cannot be opened, or the speed is none.
        """
        if not 0 < speed < math.inf:
            raise SettingsError(f"the fake fleet's speed should be more than 0, not {speed}")
        self._fleet = FakeFleet(None if state is None else Path(state))
        self._pace = Pace(seed=seed, speed=speed)
        self._clock = clock
        self._configured = {name: tuple(each) for name, each in faults.items()}
        self._wait = wait

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What the machine answers now.

        Raises:
            TemporaryError: no answer within `timeout_s`.
            PermanentError: an answer that makes no sense, or the driver is closed.
            CredentialsError: the credentials are refused.
        """
        name, now = node.metadata.name, self._clock()
        state, faults = self._look(name, now)
        late = self._answer(name, faults, now, timeout_s)
        if late:
            _time_out(timeout_s)
        if FaultKind.SLOW in faults:
            now = self._clock()
            state = self._fleet.node(name)
        identity = _identity(node)
        if FaultKind.WRONG_IDENTITY in faults:
            identity = _other_identity(name, self._pace.seed)
        return reading_at(state, now.timestamp(), identity)

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Begin an effect; its consequences are seen by observing.

        A slow BMC, or one that loses acknowledgements, may do what it was told and yet not say so.

        Raises:
            TemporaryError: no answer within `timeout_s`; or a wipe while the power is on.
            PermanentError: an argument that no machine knows, an answer that makes no sense, or
                the driver is closed.
            CredentialsError: the credentials are refused.
        """
        name, now = node.metadata.name, self._clock()
        _, faults = self._look(name, now)
        late = self._answer(name, faults, now, timeout_s)
        if effect.kind not in _POWER or FaultKind.IGNORES_POWER not in faults:
            call = self._call(name, faults)
            self._fleet.change(name, lambda state: carry_out(state, effect, call))
        if late or FaultKind.LOSES_ACKNOWLEDGEMENT in faults:
            _time_out(timeout_s)

    def check(self, node: Node, check: Check, timeout_s: float) -> str:  # noqa: ARG002
        """Why the machine does not pass a check now; empty when it does. A machine is well that
        runs its system, whatever is asked of it: it has no network, disks or services.

        Raises:
            TemporaryError: another process holds the state for too long.
            PermanentError: the driver is closed.
        """
        name, now = node.metadata.name, self._clock()
        state, faults = self._look(name, now)
        if FaultKind.FAILS_CHECKS in faults:
            return f"the simulated machine fails {check.name}"
        return runs(state, now.timestamp())

    def press(self, node: str, power: Power) -> None:
        """Somebody in the room holds the power button: the machine is on or off at once.

        Raises:
            TemporaryError: another process holds the state for too long.
            PermanentError: the driver is closed.
        """
        _, faults = self._look(node, self._clock())
        call = self._call(node, faults)
        self._fleet.change(node, lambda state: pressed(state, power, call))

    def inject(self, node: str, fault: Fault) -> None:
        """Give `node` (or `*`) a fault, for every process that shares the state.

        Raises: as `press`.
        """
        self._fleet.inject(node, fault)

    def heal(self, node: str) -> None:
        """Take all faults from `node` (or `*`), for every process that shares the state.

        Raises: as `press`.
        """
        self._fleet.heal(node)

    def close(self) -> None:
        """Let go of the state. Twice is once."""
        self._fleet.close()

    def _look(self, name: str, now: datetime) -> tuple[FakeNode, Mapping[FaultKind, Fault]]:
        state, faults, healed = self._fleet.look(name)
        if not healed:
            configured = self._configured
            faults = (*configured.get(name, ()), *configured.get(EVERY_NODE, ()), *faults)
        struck = (fault for fault in faults if fault.strikes(self._pace.seed, name, now))
        return state, {fault.kind: fault for fault in struck}

    def _call(self, name: str, faults: Mapping[FaultKind, Fault]) -> Call:
        return Call(
            node=name,
            now=self._clock().timestamp(),
            pace=self._pace,
            boot_hangs=FaultKind.NEVER_BOOTS in faults,
            soft_power_off_ignored=FaultKind.SOFT_OFF_IGNORED in faults,
        )

    def _answer(
        self, name: str, faults: Mapping[FaultKind, Fault], now: datetime, timeout_s: float
    ) -> bool:
        """Be as ill as the faults say. Returns whether the answer comes too late to be heard."""
        if FaultKind.SILENT in faults or self._flaps(name, faults, now):
            self._pass(timeout_s)
            _time_out(timeout_s)
        if FaultKind.GARBAGE in faults:
            raise PermanentError("the BMC answered with something that is no answer")
        if FaultKind.WRONG_PASSWORD in faults:
            self._fleet.change(
                name, lambda state: replace(state, refused_logins=state.refused_logins + 1)
            )
            raise CredentialsError("the BMC refused the user name or the password")
        if FaultKind.SLOW not in faults:
            return False
        delay_s = faults[FaultKind.SLOW].delay_s / self._pace.speed
        self._pass(min(delay_s, timeout_s))
        return delay_s > timeout_s

    def _flaps(self, name: str, faults: Mapping[FaultKind, Fault], now: datetime) -> bool:
        if FaultKind.FLAPPING not in faults:
            return False
        period_s = faults[FaultKind.FLAPPING].period_s / self._pace.speed
        turn = int(now.timestamp() / period_s)
        return fraction(self._pace.seed, name, FaultKind.FLAPPING, turn) < 0.5

    def _pass(self, seconds: float) -> None:
        if self._wait is not None:
            self._wait(seconds)


def _time_out(timeout_s: float) -> NoReturn:
    raise TemporaryError(f"no answer within {timeout_s:g} s") from TimeoutError()


def _identity(node: Node) -> Identity:
    spec = node.spec
    macs = tuple(nic.mac for nic in spec.nics)
    return Identity(serial=spec.serial, system_uuid=spec.system_uuid, macs=macs)


def _other_identity(name: str, seed: int) -> Identity:
    """A machine that nobody declared: a swapped cable, a board that was replaced."""
    word = f"{int(fraction(seed, name, 'identity') * 2**48):012x}"
    return Identity(
        serial=f"OTHER-{word.upper()}",
        system_uuid=f"00000000-0000-4000-8000-{word}",
        macs=("02:" + ":".join(word[at : at + 2] for at in range(2, 12, 2)),),
    )
