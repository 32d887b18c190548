"""The driver of the simulation: every call passes through what is wrong with the BMC.

It observes and provisions as the product's drivers do, in virtual time, on the machines of a
`MachineRoom`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from sim_room import CACHE_S, PAST_KEPT, SIGHTS_KEPT, CallLog, Machine, MachineRoom, Sight

from metalwright.errors import CredentialsError, DriverError, PermanentError, TemporaryError
from metalwright.model.checks import Check
from metalwright.model.documents import Node
from metalwright.model.observed import Identity, Power, Reading
from metalwright.model.operation import Effect, EffectKind

LATE_S = 4.0
"""A BMC that has lost an answer has acted within this time: the engine lets it settle for 5 s."""

SESSION_S = 60.0
"""A BMC ends a session that nobody used for so long (IPMI 2.0, 6.12.15: 60 s)."""

OTHER = Identity(serial="SOMEBODY-ELSE")


class SimDriver:
    """The driver of one daemon: every call passes through the BMC's faults, in virtual time."""

    capabilities = frozenset(EffectKind)

    def __init__(
        self,
        room: MachineRoom,
        dice: random.Random,
        boundary: Callable[[str], None],
        process: int,
    ) -> None:
        self._room, self._dice, self._boundary = room, dice, boundary
        self.process = process
        self._calls = 0

    def close(self) -> None:
        """Nothing is kept open."""

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What the BMC says. Raises DriverError."""
        room, name = self._room, node.metadata.name
        wait_s = room.unasked_s(name)
        if wait_s:
            room.time.sleep_s(wait_s)
        machine, begun = room.machines[name], room.time.now_s
        try:
            reading = self._asked(name, timeout_s)
        except DriverError:
            self._note(machine, Sight(self.process, begun, room.time.now_s, None))
            raise
        self._note(machine, Sight(self.process, begun, room.time.now_s, reading))
        return reading

    def _note(self, machine: Machine, sight: Sight) -> None:
        machine.sights.append(sight)
        if len(machine.sights) > SIGHTS_KEPT:
            del machine.sights[0]

    def _asked(self, name: str, timeout_s: float) -> Reading:
        room = self._room
        with _Session(self):
            self._reach(name, timeout_s)
            before, after = self._latency(name, timeout_s)
            room.time.sleep_s(before)
            seen = self._reading(name)
            room.time.sleep_s(after)
        if room.fault(name, "hung call"):
            room.time.sleep_s(timeout_s * 10 - before - after)
        elif before + after > timeout_s:
            _time_out(timeout_s)
        return seen

    def check(self, node: Node, check: Check, timeout_s: float) -> str:
        """Make a check over the machine's own network, which has no fault but its delay."""
        self._room.time.sleep_s(self._dice.uniform(0.01, 0.3))
        said = self._room.checked(node.metadata.name, check.name)
        self._room.time.sleep_s(self._dice.uniform(0.01, min(timeout_s, 1.0)))
        return said

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Bring an effect about. Raises DriverError."""
        room, name = self._room, node.metadata.name
        log = CallLog(name, effect, room.time.now_s, process=self.process)
        for told in room.on_call:
            told(log)
        self._boundary("before the call")
        try:
            with _Session(self):
                self._reach(name, timeout_s)
                self._tell(log, timeout_s)
        finally:
            log.answered_s = room.time.now_s
        self._boundary("after the call")

    def _tell(self, log: CallLog, timeout_s: float) -> None:
        room, name = self._room, log.node
        before, after = self._latency(name, timeout_s)
        begun = room.time.now_s
        room.time.sleep_s(before)
        if room.time.now_s - begun - before > SESSION_S:
            room.met["a stalled daemon's session had ended"] += 1
            _time_out(timeout_s)
        power = log.effect.kind in (
            EffectKind.POWER_ON,
            EffectKind.POWER_OFF,
            EffectKind.SOFT_POWER_OFF,
        )
        if room.fault(name, "acts late"):
            room.time.at(
                room.time.now_s + timeout_s + self._dice.uniform(0.1, LATE_S),
                lambda: _late(room, log),
            )
            room.time.sleep_s(timeout_s)
            _time_out(timeout_s)
        if power and room.fault(name, "says done"):
            on = log.effect.kind is EffectKind.POWER_ON
            room.machines[name].pretends = Power.ON if on else Power.OFF
        elif room.fault(name, "acks only") or (power and room.fault(name, "power does nothing")):
            pass
        elif room.fault(name, "another machine"):
            self._boundary("another machine was told")
        else:
            room.act(log)
        self._boundary("acted")
        room.time.sleep_s(after)
        if room.fault(name, "answer lost"):
            room.time.sleep_s(max(0.0, timeout_s - before - after))
            _time_out(timeout_s)
        if before + after > timeout_s:
            _time_out(timeout_s)

    def _reach(self, name: str, timeout_s: float) -> None:
        """Open a session with the BMC, if it lets us."""
        room = self._room
        if self._calls > room.calls_max:
            room.met["sessions exhausted"] += 1
            room.time.sleep_s(0.02)
            raise TemporaryError("no session is free")
        if not room.machines[name].faults:
            return
        flaps = room.time.now_s % 120 < 60 and room.fault(name, "flapping")
        if flaps or room.fault(name, "silent"):
            room.time.sleep_s(timeout_s)
            _time_out(timeout_s)
        if self._dice.random() < 0.5 and room.fault(name, "busy"):
            room.time.sleep_s(0.1)
            raise TemporaryError("the BMC is busy")
        if room.fault(name, "wrong password"):
            raise CredentialsError("the password is refused")
        if room.fault(name, "refuses"):
            raise PermanentError("the BMC does not do this")

    def _latency(self, name: str, timeout_s: float) -> tuple[float, float]:
        """Seconds before and after the BMC looks or acts."""
        slow = self._room.machines[name].faults and self._room.fault(name, "slow")
        most = timeout_s * 0.7 if slow else 0.3
        return self._dice.uniform(0.01, most), self._dice.uniform(0.01, most)

    def _reading(self, name: str) -> Reading:
        room, machine = self._room, self._room.machines[name]
        seen = room.true_reading(name)
        if not machine.faults:
            return seen
        if room.fault(name, "another machine"):
            return replace(seen, identity=OTHER)
        if room.fault(name, "nobody"):
            seen = replace(seen, identity=Identity())
        if room.fault(name, "stale answers"):
            return self._cached(machine, seen)
        if room.fault(name, "answers out of order"):
            machine.past = [*machine.past[-PAST_KEPT:], seen]
            return self._dice.choice((seen, machine.past[0]))
        if machine.pretends is not None and room.fault(name, "says done"):
            # Nothing but the power is known of such a machine.
            return Reading(power=machine.pretends, identity=seen.identity)
        return seen

    def _cached(self, machine: Machine, seen: Reading) -> Reading:
        """What a BMC shows that looks at its machine now and then only."""
        now = self._room.time.now_s
        if machine.cached is None or not 0 <= now - machine.cached[0] < CACHE_S:
            machine.cached = (now, seen)
        return machine.cached[1]


class _Session:
    """One place at the BMCs' gateway, for the length of a call."""

    def __init__(self, driver: SimDriver) -> None:
        self._driver = driver

    def __enter__(self) -> None:
        self._driver._calls += 1

    def __exit__(self, *_error: object) -> None:
        self._driver._calls -= 1


def _late(room: MachineRoom, log: CallLog) -> None:
    try:
        room.act(log)
    except (TemporaryError, PermanentError):
        room.met["acted late on nothing"] += 1  # a wipe that met a machine that is on again


def _time_out(timeout_s: float) -> None:
    raise TemporaryError(f"no answer within {timeout_s:g} s") from TimeoutError()
