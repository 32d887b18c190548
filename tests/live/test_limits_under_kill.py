"""Limits that hold while the daemon is killed every few seconds: forty real BMCs, by their clocks.

Forty machines in eight racks are turned over from tenant to tenant, seven at once in the fleet and
three in a rack, so that work is always waiting; meanwhile the daemon is killed with SIGKILL again
and again, and most times in the worst moment: a machine was told to power on, and the journal does
not know yet. The machines show "off" for seconds after that, so that whoever tells them again
without waiting for what becomes of it is found out. What they wrote down themselves is the witness.
"""

from __future__ import annotations

import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

from metalwright.model.observed import BootDevice, Power
from metalwright.model.operation import EffectKind, JournalEntry, Operation

from .bmc_farm import BmcFarm
from .flights import Flight, flights, held_max
from .lab import SETTINGS, Lab, document, overlap_max

KILLING_S = 180.0
"""For how long the daemon is killed again and again."""

LIFE_S = (0.5, 3.5)
"""How long each daemon lives at least, drawn anew for each: from when it says that it has started,
so that a slow machine does real work too."""

AIM_S = 4.0
"""For so long after that, the kill waits for a machine that is told to power on."""

STILLBORN = 5
"""Every so many of them are killed that long after their process began, started or not, and without
aim."""

UNANSWERED_MIN = 1 / 3
"""The least share of the kills that has to leave a power-on without an answer in the journal."""

POWER_ON_S = 3
"""For how long a machine shows "off" after a power-on: less than the daemon gives it."""

START_MAX_S = 30.0
TURN_MAX_S = 40.0
"""After so long the next commit comes, however many machines are left to turn over."""

CONVERGE_S = 240.0
SEED = 20_261_121
MACHINES = 40
RACK_MACHINES = 5
FLEET_LIMIT = 7
RACK_LIMIT = 3
BACKLOG_MIN = 15
"""With fewer machines left to turn over, the next commit comes."""

pytestmark = [pytest.mark.live, pytest.mark.timeout(int(KILLING_S + CONVERGE_S) + 240)]

QUICK = SETTINGS.replace("[log]", "[drivers.ipmi]\nworkers_max = 4\n\n[log]")
POLICY = {
    "limits": {"fleet": FLEET_LIMIT, "labels": {"rack": RACK_LIMIT}},
    "observationTtl": "60s",
    "retries": {"attemptsMax": 5, "backoffMin": "1s", "backoffMax": "3s"},
    "timeouts": {"softPowerOff": "60s", "powerOff": "60s", "boot": "120s"},
}


@dataclass
class Turns:
    """The commits that turn every machine over, and the order in which they came."""

    lab: Lab
    dice: random.Random
    made: int = 0
    current: str = ""
    order: list[str] = field(default_factory=list)
    reverts: int = 0
    turned_at: float = 0.0

    def next(self) -> None:
        """The next tenant, or, one time in three, back to the one before by `git revert`."""
        if len(self.order) % 3 == 2:
            self.lab.git("revert", "--no-edit", "HEAD")
            (kept,) = (self.lab.inventory / "assignments").glob("*.yaml")
            self.current = kept.stem
            self.reverts += 1
        else:
            self.made += 1
            if self.current:
                (self.lab.inventory / "assignments" / f"{self.current}.yaml").unlink()
            self.current = f"tenant-{self.made:02}"
            spec = {"pool": "lab", "nodes": ["n[01-40]"], "template": "live", "owner": self.current}
            assignment = document("Assignment", self.current, spec)
            self.lab.write(f"assignments/{self.current}.yaml", assignment)
            self.lab.commit(f"Turn all over to {self.current}")
        self.order.append(self.lab.git("rev-parse", "HEAD"))
        self.turned_at = time.monotonic()

    def due(self) -> bool:
        """Whether work would soon be lacking, or the last commit is long ago."""
        late = time.monotonic() - self.turned_at > TURN_MAX_S
        return not self.made or late or self.left() < BACKLOG_MIN

    def left(self) -> int:
        """How many machines are not yet their present tenant's."""
        nodes = self.lab.memory().nodes.values()
        return sum(
            node.applied is None or node.applied.holder.name != self.current for node in nodes
        )


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with BmcFarm(MACHINES, tmp_path / "farm") as farm:
        for index in farm:
            farm.set_soft_power_off_delay(index, 1)
            farm.set_power_on_delay(index, POWER_ON_S)
        lab = Lab(tmp_path / "lab", farm, settings=QUICK, policy=POLICY, rack_nodes=RACK_MACHINES)
        try:
            yield lab
        finally:
            lab.close()


def test_no_limit_is_exceeded_and_nothing_is_done_twice_under_kill_9(lab: Lab) -> None:
    done = lab.mw("adopt", "*")
    assert done.returncode == 0, done.stderr
    turns = Turns(lab, random.Random(SEED))
    kills = kill_again_and_again(lab, turns)
    lab.start()
    everything = {lab.name(index) for index in lab.farm}

    def converged() -> bool:
        return turns.left() == 0 and lab.idle() and lab.on() == everything

    lab.wait(converged, CONVERGE_S, "all machines turned over to the last tenant")
    assert lab.plan()[0] == 0
    assert lab.end() == 0
    for index in lab.farm:
        assert lab.farm.ipmitool_power(index) is Power.ON
        assert lab.farm.ipmitool_boot_device(index) is BootDevice.PXE

    entries = lab.journal()
    flown = assert_every_command_was_journalled_first(lab, entries)
    fleet, rack, finished = assert_within_limits(lab, entries, flown)
    assert_nothing_twice(lab, entries, flown, turns)
    print(
        f"{kills.count} kills, {kills.in_mid_operation} of them in mid-operation, "
        f"{kills.unanswered} between a power-on and its answer; {turns.made} turn-overs and "
        f"{turns.reverts} reverts; {len(flown)} operations reached machines, {finished} finished; "
        f"by the machines' clocks at most {fleet} of {FLEET_LIMIT} at once in the fleet and "
        f"{rack} of {RACK_LIMIT} in a rack, by the slots {kills.held_max}; overshoot 0"
    )
    # The proof is one of work under way, not of a daemon that never came to anything.
    assert turns.reverts > 0
    assert finished > MACHINES
    assert kills.in_mid_operation > kills.count / 2
    assert kills.unanswered > kills.count * UNANSWERED_MIN
    assert kills.held_max == FLEET_LIMIT
    assert fleet == FLEET_LIMIT


@dataclass
class Kills:
    """How many daemons were killed, how many of them while operations held slots, and how many
    after a machine had been told to power on and before the journal knew; and the most slots of
    the fleet that one left behind.
    """

    count: int = 0
    in_mid_operation: int = 0
    unanswered: int = 0
    held_max: int = 0


def kill_again_and_again(lab: Lab, turns: Turns) -> Kills:
    """Kill one daemon after the other, and look at what each leaves behind."""
    kills = Kills()
    until = time.monotonic() + KILLING_S
    while time.monotonic() < until:
        lab.start()
        aimed = kills.count % STILLBORN != STILLBORN - 1
        if aimed:
            lab.wait(lab.started, START_MAX_S, "the daemon has started")
        life_s = turns.dice.uniform(*LIFE_S)
        before_s = turns.dice.uniform(0, life_s)
        time.sleep(before_s)
        if turns.due():
            turns.next()
        time.sleep(life_s - before_s)
        if aimed:
            lab.farm.await_command("power 1", AIM_S)
        assert lab.daemon is not None
        assert lab.daemon.poll() is None, lab.log()[-3000:]
        lab.end(signal.SIGKILL)
        kills.count += 1
        memory = lab.memory()
        held = memory.slots
        kills.in_mid_operation += held.get("fleet", 0) > 0
        kills.held_max = max(kills.held_max, held.get("fleet", 0))
        kills.unanswered += any(
            unanswered(lab, index, memory.nodes[lab.name(index)].operation) for index in lab.farm
        )
        assert held.get("fleet", 0) <= FLEET_LIMIT
        assert all(
            count <= RACK_LIMIT for scope, count in held.items() if scope.startswith("label/rack=")
        ), held
    return kills


def unanswered(lab: Lab, index: int, operation: Operation | None) -> bool:
    """Whether a machine was told to power on, and its operation only knows that it was meant to."""
    if operation is None or operation.intent is None or operation.intent_at is None:
        return False
    if operation.intent.kind is not EffectKind.POWER_ON or operation.acknowledged_at is not None:
        return False
    since = operation.intent_at.timestamp()
    return any(each.words == "power 1" and each.at >= since for each in lab.farm.log(index))


def assert_every_command_was_journalled_first(
    lab: Lab, entries: tuple[JournalEntry, ...]
) -> list[Flight]:
    """What reached a machine is what the journal had meant to do; all of it, by operation."""
    found: list[Flight] = []
    for index in lab.farm:
        flown, stray = flights(lab.name(index), lab.farm.log(index), entries, POWER_ON_S)
        assert stray == [], lab.name(index)
        found += flown
    return found


def assert_within_limits(
    lab: Lab, entries: tuple[JournalEntry, ...], flown: list[Flight]
) -> tuple[int, int, int]:
    """By the machines' clocks and by the journal; the most at once in the fleet and in a rack, by
    the clocks, and how many operations reached their end.
    """
    racks = {lab.name(index): lab.rack(index) for index in lab.farm}
    fleet = overlap_max(flight.span for flight in flown)
    in_racks = {
        rack: overlap_max(flight.span for flight in flown if racks[flight.node] == rack)
        for rack in set(racks.values())
    }
    assert fleet <= FLEET_LIMIT
    assert max(in_racks.values()) <= RACK_LIMIT, in_racks
    assert held_max(entries, lambda _node: "fleet")[0]["fleet"] <= FLEET_LIMIT
    by_rack, _admitted = held_max(entries, racks.__getitem__)
    assert max(by_rack.values()) <= RACK_LIMIT, by_rack
    assert len(by_rack) == MACHINES // RACK_MACHINES
    return fleet, max(in_racks.values()), sum(entry.event == "active" for entry in entries)


def assert_nothing_twice(
    lab: Lab, entries: tuple[JournalEntry, ...], flown: list[Flight], turns: Turns
) -> None:
    """No machine is told to power on twice without having been switched off, by its own log; nor
    more often than it was meant to be; nor is it switched off again for the same wish, neither
    within an operation nor by another one of the same commit.
    """
    meant = Counter(
        entry.node
        for entry in entries
        if entry.event == "intent"
        and entry.effect is not None
        and entry.effect.kind is EffectKind.POWER_ON
    )
    for index in lab.farm:
        log = [each.words for each in lab.farm.log(index)]
        switching = [words for words in log if not words.startswith("boot")]
        for before, after in pairwise(switching):
            assert (before, after) != ("power 1", "power 1"), (lab.name(index), log)
        assert switching.count("power 1") <= meant[lab.name(index)], lab.name(index)
    wishes = {each.id: each.commit.id for each in lab.operations()}
    assert set(wishes.values()) <= set(turns.order)
    told: dict[tuple[str, str], list[str]] = {}
    for flight in flown:
        told.setdefault((flight.node, wishes[flight.operation]), []).extend(flight.words)
    for wish, words in told.items():
        assert re.fullmatch(ONE_TURN, " ".join(f"{each};" for each in words)), (wish, words)


ONE_TURN = r"(shutdown 1; ?)*(boot pxe; ?)*(power 1;)?"
"""What one wish may tell a machine, in this order: off by the soft way, the boot device, on. A
level may be set again when its answer was lost, but no machine is switched off after on."""
