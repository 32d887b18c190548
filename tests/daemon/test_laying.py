"""The overlay of reports: what is kept from cycle to cycle is what would be made anew."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metalwright.daemon.booting import Booting
from metalwright.daemon.laying import Laying, changed
from metalwright.errors import StoreError
from metalwright.model.boot import Served
from metalwright.model.boots import Heard, IssuedBoot
from metalwright.model.desired import Holder, Target
from metalwright.model.documents import Metadata, Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import NodeSpec
from metalwright.model.inventory import Commit, Inventory, Source
from metalwright.model.observed import BootProgress, Observation, Observed, Power, Reading
from metalwright.model.operation import (
    Memory,
    NodeMemory,
    Operation,
    OperationState,
    Stage,
    Verb,
)
from metalwright.model.report import Phase, Report
from metalwright.model.tenancy import PowerState
from metalwright.store import Store

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
NAMES = [f"n{number}" for number in range(12)]
COMMIT = Commit(id="c" * 40, author="Ada <ada@lab.example>", subject="All", at=NOW)
ENGINE = "ironic"


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def inventory(names: list[str], engines: Collection[str] = ()) -> Inventory:
    def node(name: str) -> Node:
        driver = ENGINE if name in engines else "ipmi"
        return Node(
            apiVersion="metalwright/v1",
            kind="Node",
            metadata=Metadata(name=name),
            spec=NodeSpec(driver=driver),
        )

    return Inventory(revision=COMMIT, nodes=FrozenDict({name: node(name) for name in names}))


def heard(name: str, second: float, **changes: Any) -> Heard:
    values: dict[str, Any] = {"phase": Phase.RUNNING, "boot_id": "b", "template_digest": "d" * 64}
    report = Report(node=name, at=at(second), **(values | changes))
    return Heard(report=report)


def seen(name: str, second: float, power: Power = Power.ON) -> Observation:
    return Observation(node=name, at=at(second), reading=Reading(power=power))


def remembered(name: str, operation: Operation | None = None) -> NodeMemory:
    return NodeMemory(node=name, adopted_at=NOW, adopted_by="ada", operation=operation)


def an_operation(name: str, number: int) -> Operation:
    return Operation(
        id=f"o{number}",
        node=name,
        verb=Verb.DEPLOY,
        state=OperationState.RUNNING,
        target=Target(power=PowerState.ON, template=None, digest="d" * 64),
        holder=Holder(kind="Pool", name="ci", owner="lab"),
        pool="ci",
        priority=1,
        stages=(Stage.BOOT,),
        commit=COMMIT,
        source=Source(path="p", line=1),
        created_at=NOW,
        stage=Stage.BOOT,
        fence=1,
    )


class Fleet:
    """A fleet to which things happen at random."""

    def __init__(self, seed: int) -> None:
        self.random, self.second = random.Random(seed), 0
        self.observations: dict[str, Observation] = {}
        self.heard: dict[str, Heard] = {}
        self.memory: dict[str, NodeMemory] = {}
        self.inventory = inventory(NAMES)
        self.news: set[str] = set()

    def happens(self) -> None:
        name, self.second = self.random.choice(NAMES), self.second + 1
        what = self.random.choice(["on", "on", "off", "gone", "says", "says", "works", "rests"])
        if what in ("on", "off"):
            power = Power.ON if what == "on" else Power.OFF
            self.observations[name] = seen(name, self.second, power)
        elif what == "gone":
            self.observations.pop(name, None)
        elif what == "says":
            running = self.memory.get(name)
            operation = running.operation if running is not None else None
            own = {"operation_id": operation.id, "attempt": 1} if operation is not None else {}
            self.heard[name] = heard(name, self.second, **own)
            self.news.add(name)
        elif what == "works":
            self.memory[name] = remembered(name, an_operation(name, self.second))
        else:
            self.memory[name] = remembered(name)
        if self.random.random() < 0.05:
            names = self.random.sample(NAMES, 8)
            self.inventory = inventory(names, set(names[:2]))

    def over(self, laying: Laying) -> tuple[Observed, list[str]]:
        observed = Observed(nodes=FrozenDict(self.observations))
        memory = Memory(nodes=FrozenDict(self.memory))
        return laying.over(observed, memory, self.inventory, self.heard, self.news)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_kept_is_what_would_be_made_anew(seed: int) -> None:
    fleet, kept, laid = Fleet(seed), Laying([ENGINE]), 0
    for _ in range(300):
        for _ in range(fleet.random.randrange(4)):
            fleet.happens()
        made, ended = fleet.over(kept)
        assert (made, sorted(ended)) == _sorted(fleet.over(Laying([ENGINE])))
        assert list(made.nodes) == list(fleet.observations)
        laid += sum(made.nodes[name] is not one for name, one in fleet.observations.items())
        fleet.news.clear()
        for name in ended:
            fleet.heard[name] = replace(fleet.heard[name], live=False)
    assert laid > 100


def _sorted(found: tuple[Observed, list[str]]) -> tuple[Observed, list[str]]:
    return found[0], sorted(found[1])


def test_nothing_new_makes_nothing_new() -> None:
    fleet, kept = Fleet(0), Laying()
    fleet.observations = {name: seen(name, 5) for name in NAMES}
    fleet.heard = {name: heard(name, 1) for name in NAMES}
    first, _ = fleet.over(kept)
    again, _ = fleet.over(kept)
    assert again.nodes is first.nodes
    # The same answer to a later question is looked at no more than it must be.
    fleet.observations["n3"] = seen("n3", 9)
    later, _ = fleet.over(kept)
    assert [name for name in NAMES if later.nodes[name] is not first.nodes[name]] == ["n3"]
    assert later.nodes["n3"].at == at(9)
    assert later.nodes["n3"].reading is first.nodes["n3"].reading


def test_what_changed_is_found_in_any_order() -> None:
    one, two, three = object(), object(), object()
    old = {"a": one, "b": two}
    assert list(changed(old, old)) == []
    assert list(changed(old, {"a": one, "b": two})) == []
    assert list(changed(old, {"a": one, "b": three})) == ["b"]
    assert list(changed(old, {"b": two, "a": one})) == []
    assert sorted(changed(old, {"b": three, "c": one})) == ["a", "b", "c"]


@contextmanager
def booting(directory: Path) -> Iterator[tuple[Booting, Store]]:
    """A fleet of one node that reported."""
    with Store.open(f"sqlite:///{directory / 'store.sqlite'}") as store:
        store.claim("the test", NOW)
        issue(store, "1" * 64, 0)
        report = heard("n1", 1).report
        store.report(report, "1" * 64)
        yield Booting(None, store, lambda: at(20), lambda: None), store


def issue(store: Store, token_sha256: str, second: float) -> None:
    boot = IssuedBoot(
        token_sha256=token_sha256,
        node="n1",
        mode=Served.NETBOOT,
        issued_at=at(second),
        operation_id="",
        attempt=0,
        template_digest="d" * 64,
        claimed="mac=1",
    )
    store.issue_boot(boot, "a test")


def look(booting: Booting, second: float, power: Power) -> Observation:
    observed = Observed(nodes=FrozenDict({"n1": seen("n1", second, power)}))
    return booting.seen(observed, Memory(), WORLD).nodes["n1"]


WORLD = inventory(["n1"])


def test_an_end_that_cannot_be_written_is_written_by_a_later_cycle(tmp_path: Path) -> None:
    with booting(tmp_path) as (made, store):
        running = look(made, 5, Power.ON).reading
        assert running is not None
        assert running.boot_progress is BootProgress.OS_RUNNING
        with Store.open(store_url(tmp_path)) as other:
            other.claim("another", at(9))  # this one may write no more
            with pytest.raises(StoreError):
                look(made, 10, Power.OFF)
            assert other.latest_boot("n1") is not None
        store.claim("the test", at(11))
        look(made, 10, Power.OFF)
        assert store.latest_boot("n1") is None
        assert not store.heard()["n1"].live
        # And switched on again, without a boot of ours, it does not run what it ran.
        after = look(made, 15, Power.ON).reading
        assert after is not None
        assert after.boot_progress is None


def test_a_boot_that_began_since_it_was_seen_off_is_not_ended(tmp_path: Path) -> None:
    with booting(tmp_path) as (made, store):
        look(made, 5, Power.ON)
        issue(store, "2" * 64, 12)  # of which the thread of the cycles has not heard yet
        look(made, 10, Power.OFF)
        assert store.latest_boot("n1") is not None
        made.told("n1")
        look(made, 14, Power.ON)
        assert store.latest_boot("n1") is not None


def test_one_who_only_looks_ends_nothing(tmp_path: Path) -> None:
    with booting(tmp_path) as (made, store):
        for second, power, progress in (
            (5, Power.ON, BootProgress.OS_RUNNING),
            (10, Power.OFF, None),
            (15, Power.ON, BootProgress.OS_RUNNING),  # which is for the cycle to find out
        ):
            observed = Observed(nodes=FrozenDict({"n1": seen("n1", second, power)}))
            reading = made.laid(observed, Memory(), WORLD).nodes["n1"].reading
            assert reading is not None
            assert reading.boot_progress is progress
        assert store.latest_boot("n1") is not None
        assert store.heard()["n1"].live


def store_url(directory: Path) -> str:
    return f"sqlite:///{directory / 'store.sqlite'}"
