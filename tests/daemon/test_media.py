"""Machines that boot by a disc: what their BMCs are told instead of "boot from the network", and
when the disc is taken out again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.boot.boot_world import empty_store

from metalwright.boot.media import Disc
from metalwright.daemon.booting import RamdiskWipe
from metalwright.daemon.media import EJECT_PAUSE, EJECT_TRIES_MAX, BootDiscs, DiscBoot
from metalwright.errors import PermanentError, TemporaryError
from metalwright.model.desired import Holder, Target
from metalwright.model.documents import Metadata, Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import BootInterface, BootMode, Lifecycle, NodeSpec
from metalwright.model.inventory import Commit, Inventory, Source
from metalwright.model.observed import BootDevice, Observation, Observed, Power, Reading
from metalwright.model.operation import (
    Effect,
    EffectKind,
    LocalHold,
    Memory,
    NodeMemory,
    Operation,
    OperationState,
    Quarantined,
    Verb,
)
from metalwright.model.template import Artifact
from metalwright.model.tenancy import PowerState
from metalwright.store import Store

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
URL = "http://boot.lab:8800"
NAME, OLDER = "metalwright-0123456789ab.iso", "metalwright-ba9876543210.iso"
OTHER = "http://files.lab/rescue.iso"
DISC = Disc(artifact=Artifact(url="file:///boot.iso", sha256="0" * 64), name=NAME, uefi=True)
PXE = Effect(kind=EffectKind.SET_BOOT_DEVICE, argument=BootDevice.PXE.value, operation_id="o1")
DISK = replace(PXE, argument=BootDevice.DISK.value)
EVERYTHING = frozenset(EffectKind) - {EffectKind.WIPE}
COMMIT = Commit(id="c" * 40, author="Ada <ada@lab.example>", subject="x", at=NOW)
WAIT_S = 30.0


class Bmc:
    """A driver of one machine with a virtual drive, and all that it was told."""

    capabilities = EVERYTHING

    def __init__(self, image: str = "") -> None:
        self.image, self.told = image, list[str]()
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.ejecting = threading.Event()

    def observe(self, node: Node, timeout_s: float) -> Reading:
        del node, timeout_s
        return Reading(power=Power.OFF, media=self.image)

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        del node
        assert timeout_s > 0
        self.told.append(f"{effect.kind.value} {effect.argument}".rstrip())

    def close(self) -> None:
        self.told.append("close")

    def insert_media(
        self, node: Node, url: str, timeout_s: float, replaced: Callable[[str], None]
    ) -> None:
        del node
        assert timeout_s > 0
        self.told.append(f"insert {url.rpartition('/')[2]}")
        if self.image not in ("", url):
            replaced(self.image)
            self.image = ""
        if self.error is not None:
            raise self.error
        self.image = url

    def boot_from_media(self, node: Node, timeout_s: float) -> None:
        del node
        assert timeout_s > 0
        self.told.append("boot from disc")

    def eject_media(self, node: Node, timeout_s: float, ours: Callable[[str], bool]) -> bool:
        del node
        assert timeout_s > 0
        self.ejecting.set()
        assert self.gate.wait(WAIT_S)
        self.told.append("eject")
        if self.error is not None:
            raise self.error
        if not self.image or not ours(self.image):
            return False
        self.image = ""
        return True


class Plain:
    """A driver that knows nothing of discs."""

    capabilities = EVERYTHING

    def observe(self, node: Node, timeout_s: float) -> Reading:
        raise AssertionError((node, timeout_s))

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        raise AssertionError((node, effect, timeout_s))

    def close(self) -> None:
        """Nothing is open."""


class Rig:
    """One node `n1` behind `bmc`; `now` is the time of the fleet."""

    def __init__(self, store: Store, executor: ThreadPoolExecutor, disc: Disc | None) -> None:
        self.store, self.executor, self.now, self.bmc = store, executor, NOW, Bmc()
        self.discs = BootDiscs(disc, URL, store, lambda: self.now, executor, 20.0)
        drivers = self.discs.drivers({"boards": self.bmc, "plain": Plain()})
        self.driver, self.plain = drivers["boards"], drivers["plain"]
        self.inventory = Inventory(revision=COMMIT, nodes=FrozenDict({"n1": node()}))

    def tidy(self, mine: NodeMemory | None = None, **spec: Any) -> None:
        """One cycle that sees the drive as it is, and everything that follows from it."""
        self.now += timedelta(seconds=1)
        if spec:
            self.inventory = replace(self.inventory, nodes=FrozenDict({"n1": node(**spec)}))
        seen = Observation(node="n1", at=self.now, reading=self.bmc.observe(node(), 1.0))
        memory = Memory(nodes=FrozenDict({"n1": mine} if mine is not None else {}))
        self.now += timedelta(seconds=1)
        self.discs.tidy(Observed(nodes=FrozenDict({"n1": seen})), memory, self.inventory)

    def settle(self) -> None:
        """Wait until nothing is under way."""
        self.executor.submit(lambda: None).result(WAIT_S)

    def said(self) -> list[str]:
        """What the journal has of discs, oldest first."""
        lines = self.store.journal(None, 100)
        return [line.detail for line in reversed(lines) if line.event == "media"]


def node(driver: str = "boards", **spec: Any) -> Node:
    values = {"driver": driver, "boot_interface": BootInterface.VIRTUAL_MEDIA} | spec
    return Node(metadata=Metadata(name="n1"), spec=NodeSpec(**values))


def remembered(**changes: Any) -> NodeMemory:
    return NodeMemory(node="n1", adopted_at=NOW, adopted_by="ada", **changes)


def an_operation() -> Operation:
    return Operation(
        id="o1",
        node="n1",
        verb=Verb.DEPLOY,
        state=OperationState.PENDING,
        target=Target(power=PowerState.ON, digest="d" * 64),
        holder=Holder(kind="Pool", name="ci", owner="lab"),
        pool="ci",
        priority=100,
        stages=(),
        commit=COMMIT,
        source=Source(path="pools/ci.yaml", line=3),
        created_at=NOW,
    )


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    path = tmp_path / "store.sqlite"
    path.write_bytes(empty_store())
    with (
        Store.open(f"sqlite:///{path}") as store,
        ThreadPoolExecutor(1) as executor,
    ):
        store.claim("the test", NOW)
        yield lambda disc=DISC: Rig(store, executor, disc)


@pytest.fixture
def rig(make: Callable[..., Rig]) -> Rig:
    return make()


def test_such_a_machine_is_shown_the_disc_instead_of_the_network(rig: Rig) -> None:
    rig.driver.apply(node(), PXE, 20.0)
    rig.driver.apply(node(), DISK, 20.0)
    rig.driver.apply(node(boot_interface=BootInterface.NETWORK), PXE, 20.0)
    assert rig.bmc.told == [
        f"insert {NAME}", "boot from disc", "set boot device disk", "set boot device pxe"
    ]  # fmt: skip
    assert rig.bmc.image == f"{URL}/media/{NAME}"
    assert rig.said() == []


def test_a_wipe_by_the_ramdisk_boots_by_the_disc_too(rig: Rig) -> None:
    driver = RamdiskWipe(rig.driver, lambda: True)
    assert EffectKind.WIPE in driver.capabilities
    driver.apply(node(), Effect(kind=EffectKind.WIPE, operation_id="o1"), 20.0)
    assert rig.bmc.told == [f"insert {NAME}", "boot from disc", "power on"]


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (OTHER, ["its virtual CD drive had another disc, which was taken out: " + OTHER]),
        (f"{URL}/media/{OLDER}", []),
    ],
)
def test_the_disc_of_somebody_else_is_replaced_and_written_down(
    rig: Rig, before: str, said: list[str]
) -> None:
    rig.bmc.image = before
    rig.driver.apply(node(), PXE, 20.0)
    assert rig.bmc.image == f"{URL}/media/{NAME}"
    assert rig.said() == said


def test_a_disc_that_was_taken_out_is_written_down_even_if_ours_does_not_go_in(rig: Rig) -> None:
    rig.bmc.image, rig.bmc.error = OTHER, TemporaryError("it is busy")
    with pytest.raises(TemporaryError, match="it is busy"):
        rig.driver.apply(node(), PXE, 20.0)
    assert len(rig.said()) == 1
    assert "boot from disc" not in rig.bmc.told


def test_what_cannot_be_is_told_before_anything_is_done(make: Callable[..., Rig]) -> None:
    rig = make()
    with pytest.raises(PermanentError, match=r"the driver plain .*spec\.bootInterface"):
        rig.plain.apply(node("plain"), PXE, 20.0)
    with pytest.raises(PermanentError, match=r"mw boot-media makes one for boot\.media"):
        make(None).driver.apply(node(), PXE, 20.0)
    bios = make(replace(DISC, uefi=False))
    with pytest.raises(PermanentError, match="BIOS mode only"):
        bios.driver.apply(node(), PXE, 20.0)
    assert bios.bmc.told == []
    bios.driver.apply(node(boot_mode=BootMode.BIOS), PXE, 20.0)
    assert bios.bmc.told == [f"insert {NAME}", "boot from disc"]


def test_a_driver_keeps_what_else_it_has(rig: Rig) -> None:
    assert isinstance(rig.driver, DiscBoot)
    assert rig.driver.capabilities == EVERYTHING
    assert rig.driver.observe(node(), 1.0).power is Power.OFF
    assert rig.driver.ejecting is rig.bmc.ejecting
    rig.driver.close()
    assert rig.bmc.told == ["close"]


def test_the_disc_is_taken_out_when_no_operation_needs_it(rig: Rig) -> None:
    rig.driver.apply(node(), PXE, 20.0)
    rig.tidy(remembered(operation=an_operation()))
    rig.settle()
    assert "eject" not in rig.bmc.told
    rig.tidy(remembered())
    rig.settle()
    assert rig.bmc.image == ""
    assert rig.said() == ["its boot disc was taken out of its virtual CD drive"]
    rig.tidy(remembered())
    rig.settle()
    assert rig.bmc.told.count("eject") == 1


@pytest.mark.parametrize(
    ("mine", "spec"),
    [
        (None, {}),
        (remembered(hold=LocalHold(reason="x", by="ada", at=NOW)), {}),
        (remembered(quarantine=Quarantined(reason="x", at=NOW)), {}),
        (remembered(), {"hold": {"reason": "x"}}),
        (remembered(), {"lifecycle": Lifecycle.OBSERVED}),
        (remembered(), {"boot_interface": BootInterface.NETWORK}),
        (remembered(), {"driver": "plain"}),
    ],
)
def test_a_machine_that_is_not_ours_to_touch_keeps_its_disc(
    rig: Rig, mine: NodeMemory | None, spec: dict[str, Any]
) -> None:
    rig.bmc.image = f"{URL}/media/{NAME}"
    rig.tidy(mine, **spec)
    rig.settle()
    assert rig.bmc.told == []


@pytest.mark.parametrize("image", ["", OTHER, f"{URL}/media/metalwright.iso"])
def test_only_our_discs_are_taken_out(rig: Rig, image: str) -> None:
    rig.bmc.image = image
    rig.tidy(remembered())
    rig.settle()
    assert rig.bmc.told == []


def test_what_was_seen_before_the_last_try_is_no_reason_for_another(rig: Rig) -> None:
    rig.bmc.image = f"{URL}/media/{OLDER}"
    seen = Observation(node="n1", at=NOW, reading=rig.bmc.observe(node(), 1.0))
    observed = Observed(nodes=FrozenDict({"n1": seen}))
    memory = Memory(nodes=FrozenDict({"n1": remembered()}))
    for _ in range(3):
        rig.discs.tidy(observed, memory, rig.inventory)
        rig.settle()
    assert rig.bmc.told == ["eject"]


def test_a_bmc_that_does_not_let_go_is_not_asked_again_at_once(rig: Rig) -> None:
    rig.bmc.image, rig.bmc.error = f"{URL}/media/{NAME}", TemporaryError("it is busy")
    for _ in range(3):
        rig.tidy(remembered())
        rig.settle()
    assert rig.bmc.told == ["eject"]
    assert rig.said() == []
    for _ in range(2 * EJECT_TRIES_MAX):
        rig.now += EJECT_PAUSE
        rig.tidy(remembered())
        rig.settle()
    assert rig.bmc.told == ["eject"] * EJECT_TRIES_MAX
    assert rig.said() == ["its boot disc stays in its virtual CD drive: it is busy"]

    rig.bmc.error, rig.bmc.image = None, ""  # somebody took it out
    rig.tidy(remembered())
    rig.bmc.image = f"{URL}/media/{NAME}"
    rig.tidy(remembered())
    rig.settle()
    assert rig.bmc.image == "", "and another one is another matter"


def test_a_disc_that_is_wanted_again_meanwhile_stays(rig: Rig) -> None:
    rig.driver.apply(node(), PXE, 20.0)
    held = threading.Event()
    rig.executor.submit(held.wait, WAIT_S)  # the only thread is busy, so this one waits
    rig.tidy(remembered())
    rig.driver.apply(node(), PXE, 20.0)
    held.set()
    rig.settle()
    assert "eject" not in rig.bmc.told
    assert rig.bmc.image == f"{URL}/media/{NAME}"


def test_an_effect_waits_for_a_disc_that_is_being_taken_out(rig: Rig) -> None:
    rig.bmc.image = f"{URL}/media/{NAME}"
    rig.bmc.gate.clear()
    rig.tidy(remembered())
    assert rig.bmc.ejecting.wait(WAIT_S)
    with pytest.raises(TemporaryError, match="being changed"):
        rig.driver.apply(node(), PXE, 0.2)
    with ThreadPoolExecutor(1) as other:
        applied = other.submit(rig.driver.apply, node(), PXE, WAIT_S)
        rig.bmc.gate.set()
        applied.result(WAIT_S)
    assert rig.bmc.told == ["eject", f"insert {NAME}", "boot from disc"]
    assert rig.bmc.image == f"{URL}/media/{NAME}"
