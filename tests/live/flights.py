"""When each operation was in flight: by the clocks of the machines themselves, and by the journal.

A machine's log says what reached it and when, and the journal which operation meant it. The two are
written by different processes, and neither by the one that counts slots.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from metalwright.model.operation import EffectKind, JournalEntry

from .bmc_farm import Command

ENDS = frozenset({"active", "failed", "cancelled", "superseded", "retry"})
"""The events that give the slots of an operation back."""

_MEANT: dict[str, EffectKind] = {
    "shutdown": EffectKind.SOFT_POWER_OFF,
    "power 0": EffectKind.POWER_OFF,
    "power 1": EffectKind.POWER_ON,
    "boot": EffectKind.SET_BOOT_DEVICE,
}


@dataclass
class Flight:
    """One operation on one machine: what of it reached the machine, by the machine's clock.

    `power_on_s` is for how long the machine shows "off" after it was told to power on.
    """

    node: str
    operation: str
    power_on_s: int = 0
    commands: list[Command] = field(default_factory=list)

    @property
    def span(self) -> tuple[float, float]:
        """From its first command until the machine is on, or to the last command where none was to
        power on; Unix time in seconds. The machine counts whole seconds (chassis.sh).
        """
        last = self.commands[-1]
        until_on = self.power_on_s if last.words == "power 1" else 0
        return self.commands[0].at, max(last.at, int(last.at) + until_on)

    @property
    def words(self) -> list[str]:
        """Its commands, oldest first."""
        return [command.words for command in self.commands]


def kind_of(command: Command) -> EffectKind:
    """What a command of a machine's log is to bring about."""
    words = command.words.split()
    return _MEANT[command.words if words[0] == "power" else words[0]]


def flights(
    node: str, log: Iterable[Command], entries: Iterable[JournalEntry], power_on_s: int = 0
) -> tuple[list[Flight], list[Command]]:
    """The flights of a node, oldest first, and the commands that nobody had journalled before.

    A command belongs to the latest intent of its kind from before it.
    """
    intents = [
        (entry.at.timestamp(), entry.effect.kind, entry.operation_id)
        for entry in entries
        if entry.node == node and entry.event == "intent" and entry.effect is not None
    ]
    found: dict[str, Flight] = {}
    stray: list[Command] = []
    for command in log:
        kind = kind_of(command)
        meant = [each for at, wanted, each in intents if wanted is kind and at <= command.at]
        if not meant or meant[-1] is None:
            stray.append(command)
            continue
        flight = found.setdefault(meant[-1], Flight(node, meant[-1], power_on_s))
        flight.commands.append(command)
    return list(found.values()), stray


def held_max(
    entries: Iterable[JournalEntry], scope_of: Callable[[str], str]
) -> tuple[Counter[str], int]:
    """The most operations that held slots at once in each scope, and how often one was admitted.

    By the journal's own order: what ends and what begins in one transaction is in this order.
    """
    holders: dict[str, str] = {}
    now: Counter[str] = Counter()
    most: Counter[str] = Counter()
    admitted = 0
    for entry in entries:
        name, scope = entry.operation_id, scope_of(entry.node)
        if name is None:
            continue
        if entry.event == "admitted":
            assert name not in holders, f"{name} holds slots already"
            holders[name] = scope
            now[scope] += 1
            admitted += 1
            most[scope] = max(most[scope], now[scope])
        elif entry.event in ENDS and name in holders:
            now[holders.pop(name)] -= 1
    return most, admitted
