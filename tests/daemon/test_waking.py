"""Drivers that only wake machines, in a fleet with a boot service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from metalwright.daemon.laying import Laying
from metalwright.daemon.waking import waking
from metalwright.drivers.fake import FakeDriver
from metalwright.drivers.wol import WolDriver
from metalwright.model.boots import Heard
from metalwright.model.documents import Metadata, Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Nic, NodeSpec
from metalwright.model.inventory import Commit, Inventory
from metalwright.model.observed import Observation, Observed, Power, Reading
from metalwright.model.operation import EffectKind, Memory
from metalwright.model.report import Phase, Report
from metalwright.model.waking import REPORT_LIFE_S

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
NODE = Node(
    metadata=Metadata(name="n1"),
    spec=NodeSpec(driver="wol", nics=(Nic(mac="52:54:00:00:00:01", boot=True),)),
)
INVENTORY = Inventory(
    revision=Commit(id="c" * 40, author="Ada <ada@lab.example>", subject="All", at=NOW),
    nodes=FrozenDict(n1=NODE),
)


def test_the_readings_of_wake_on_lan_say_that_it_may_be_woken() -> None:
    plain = WolDriver(network_first=True)
    fake = FakeDriver(None, seed=1, clock=lambda: NOW)
    drivers = waking({"wol": plain, "fake": fake})
    assert drivers["fake"] is fake
    assert drivers["wol"].observe(NODE, 1.0) == Reading(wakes=True)
    assert plain.observe(NODE, 1.0) == Reading()
    assert drivers["wol"].capabilities == {EffectKind.POWER_ON, EffectKind.SET_BOOT_DEVICE}
    drivers["wol"].close()
    fake.close()


def test_a_report_turns_old_although_the_driver_answers_as_ever() -> None:
    laying = Laying()
    report = Report(node="n1", at=NOW, boot_id="b", phase=Phase.RUNNING, template_digest="d" * 64)
    heard = {"n1": Heard(report=report)}
    found = []
    for seconds in (1.0, REPORT_LIFE_S / 2, REPORT_LIFE_S + 1):
        seen = Observation(
            node="n1", at=NOW + timedelta(seconds=seconds), reading=Reading(wakes=True)
        )
        observed = Observed(nodes=FrozenDict(n1=seen))
        made, ended = laying.over(observed, Memory(), INVENTORY, heard, ())
        assert ended == []
        found.append(made.nodes["n1"].power)
    assert found == [Power.ON, Power.ON, Power.UNKNOWN]
