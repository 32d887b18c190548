"""The machines of the week: the simulated ones of the `fake` driver, one in twenty with a fault.

They keep their own pace and are asked at any instant. What is wrong with one follows from the seed
and its name, but for an answer that is lost, which is drawn.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from week_fleet import T0

from metalwright.drivers.fake_node import Call, FakeNode, Pace, carry_out, fraction, reading_at
from metalwright.errors import TemporaryError
from metalwright.model.desired import Desired
from metalwright.model.inventory import Inventory
from metalwright.model.observed import ErrorKind, Identity, Observation, ObservationError
from metalwright.model.operation import Operation

SILENT, SLOW, HANGS, FORGETS = "silent", "slow", "never boots", "loses answers"
FAULTS = (SILENT, SLOW, HANGS, HANGS, FORGETS)
"""One per cent of the machines each."""

SLOW_S = 20.0
"""How much later a slow BMC shows what has happened."""

SILENT_EVERY, SILENT_HOUR = 4, 3
"""In which hours those that are silent are so: the last of four."""

HOUR = timedelta(hours=1)
SILENCE = ObservationError(kind=ErrorKind.TIMEOUT, message="no answer within 5s")


class Machines:
    """Ten thousand machines as values, and what their BMCs say."""

    def __init__(self, inventory: Inventory, seed: int, dice: random.Random) -> None:
        self._seed, self._dice, self._pace = seed, dice, Pace(seed=seed)
        self._states: dict[str, FakeNode] = {}
        self.fault_of = {name: self._fault(name) for name in inventory.nodes}
        self._identities = {
            name: Identity(serial=node.spec.serial, macs=tuple(n.mac for n in node.spec.nics))
            for name, node in inventory.nodes.items()
        }

    def _fault(self, name: str) -> str:
        share = int(100 * fraction(self._seed, name, "fault"))
        return FAULTS[share] if share < len(FAULTS) else ""

    def switch_on(self, wanted: Desired, now: datetime) -> None:
        """All of them have long been what is wanted of them."""
        epoch = now.timestamp()
        for name, node in wanted.nodes.items():
            template = node.target.template
            self._states[name] = FakeNode(
                boot_device="pxe",
                on_at=epoch - 900,
                post_at=epoch - 600,
                loader_at=epoch - 500,
                running_at=epoch - 400,
                digest=template.digest if template is not None else "",
                power_ons=1,
            )

    def observe(self, name: str, now: datetime) -> Observation:
        """What the BMC of a machine says at an instant."""
        if self.fault_of[name] == SILENT and _silent(now):
            return Observation(node=name, at=now, error=SILENCE, failures=1)
        reading = reading_at(self._states[name], now.timestamp(), self._identities[name])
        return Observation(node=name, at=now, reading=reading)

    def observe_all(self, now: datetime) -> dict[str, Observation]:
        """What all of them say."""
        return {name: self.observe(name, now) for name in self._states}

    def observe_silent(self, now: datetime) -> dict[str, Observation]:
        """What those say that are silent at times."""
        return {
            name: self.observe(name, now)
            for name, fault in self.fault_of.items()
            if fault == SILENT
        }

    def carry_out(self, operation: Operation, now: datetime, hangs: bool) -> TemporaryError | None:
        """Do what an operation intends; the error says that the answer was lost.

        With `hangs` those that never boot do not this time.
        """
        name, effect = operation.node, operation.intent
        assert effect is not None
        fault = self.fault_of[name]
        boot_hangs = hangs and fault == HANGS
        call = Call(node=name, now=now.timestamp(), pace=self._pace, boot_hangs=boot_hangs)
        self._states[name] = carry_out(self._states[name], effect, call)
        lost = fault == FORGETS and self._dice.random() < 0.3
        return TemporaryError("no answer within 20s") if lost else None

    def shows_at(self, name: str, now: datetime) -> datetime | None:
        """When there is something new to be seen of a machine, if nobody touches it."""
        state, epoch = self._states[name], now.timestamp()
        instants = (state.off_at, state.on_at, state.running_at, state.installed_at)
        after = [each for each in instants if each is not None and each > epoch]
        if not after:
            return None
        late_s = SLOW_S if self.fault_of[name] == SLOW else 0.0
        return now + timedelta(seconds=min(after) - epoch + late_s)


def _silent(now: datetime) -> bool:
    return (now - T0) // HOUR % SILENT_EVERY == SILENT_HOUR


def next_silence(now: datetime) -> datetime:
    """The next instant at which those that are silent at times begin or cease to be so."""
    hours = (now - T0) // HOUR
    since = hours % SILENT_EVERY
    return T0 + HOUR * (hours + (1 if since == SILENT_HOUR else SILENT_HOUR - since))
