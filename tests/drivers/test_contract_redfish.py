"""The Redfish driver keeps the driver contract against a real service (sushy-tools' emulator)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.drivers.contract import DriverContract
from tests.live.redfish_farm import PASSWORD, USERNAME, RedfishFarm, write_secret

from metalwright.drivers.credentials import Secrets
from metalwright.drivers.redfish import RedfishDriver
from metalwright.errors import PermanentError, TemporaryError
from metalwright.model.documents import Node
from metalwright.model.hardware import BootInterface, BootMode
from metalwright.model.observed import BootDevice, Health, Power
from metalwright.model.operation import Effect, EffectKind

pytestmark = pytest.mark.live

OTHER_PASSWORD = "Other-pass-2"


class RedfishRig:
    """Four machines behind the emulator and one driver."""

    timeout_s = 20.0
    patience_s = 3.0
    secrets = (PASSWORD, OTHER_PASSWORD, USERNAME)

    def __init__(self, farm: RedfishFarm, secrets: Path) -> None:
        self.farm = farm
        self.driver = RedfishDriver(Secrets(write_secret(secrets), {}))
        self.nodes = [farm.node(index) for index in range(farm.count)]
        self._index = {node.metadata.name: index for index, node in enumerate(self.nodes)}

    def index(self, node: Node) -> int:
        return self._index[node.metadata.name]

    def power(self, node: Node) -> Power:
        return self.farm.power(self.index(node))

    def set_power(self, node: Node, power: Power) -> None:
        self.farm.set_power(self.index(node), power)

    def boot_device(self, node: Node) -> BootDevice | None:
        return self.farm.boot_device(self.index(node))

    def power_commands(self, node: Node) -> int:
        seen = self.farm.fronts[self.index(node)].seen
        return sum(each.path.endswith("ComputerSystem.Reset") for each in seen)

    def login_attempts(self, node: Node) -> int:
        return sum(each.login for each in self.farm.fronts[self.index(node)].seen)

    def silence(self, node: Node) -> None:
        self.farm.fall_ill(self.index(node), "silent")

    def slow(self, node: Node) -> None:
        self.farm.fall_ill(self.index(node), "slow")

    def garbage(self, node: Node) -> None:
        self.farm.fall_ill(self.index(node), "garbage")

    def wrong_password(self, node: Node) -> None:
        self.farm.set_password(OTHER_PASSWORD)

    def heal(self, node: Node) -> None:
        self.farm.heal(self.index(node))
        self.farm.set_password(PASSWORD)
        if self.driver.alerts():
            self.driver.rearm()  # the secret is as it was: only a person can say that it is right


@pytest.fixture(scope="module")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedfishFarm]:
    with RedfishFarm(4, tmp_path_factory.mktemp("redfish")) as running:
        yield running


@pytest.fixture
def rig(farm: RedfishFarm, tmp_path: Path) -> Iterator[RedfishRig]:
    farm.reset()
    found = RedfishRig(farm, tmp_path / "secrets")
    yield found
    found.driver.close()


class TestRedfishDriver(DriverContract):
    """Every promise of the contract."""


def test_it_tells_who_the_machine_is_and_how_it_is(rig: RedfishRig) -> None:
    node = rig.nodes[2]
    reading = rig.driver.observe(node, rig.timeout_s)
    assert reading.identity.system_uuid == rig.farm.uuid(2)
    assert reading.identity.macs == (rig.farm.mac(2),)
    assert reading.health is Health.OK
    assert reading.boot_progress is None, "a BMC cannot say which system runs"


def test_an_idle_machine_costs_one_request_a_reading(rig: RedfishRig) -> None:
    node = rig.nodes[0]
    rig.driver.observe(node, rig.timeout_s)
    before = len(rig.farm.fronts[0].seen)
    rig.driver.observe(node, rig.timeout_s)
    assert len(rig.farm.fronts[0].seen) == before + 1


@pytest.mark.parametrize(("mode", "told"), [(BootMode.BIOS, "Legacy"), (BootMode.UEFI, "UEFI")])
def test_the_boot_mode_goes_with_the_boot_device(
    rig: RedfishRig, mode: BootMode, told: str
) -> None:
    node = rig.farm.node(0, boot_mode=mode)
    effect = Effect(kind=EffectKind.SET_BOOT_DEVICE, argument="pxe")
    rig.driver.apply(node, effect, rig.timeout_s)
    assert rig.farm.settle(0).get("boot_mode", "UEFI") == told
    assert rig.driver.observe(node, rig.timeout_s).boot_device is BootDevice.PXE


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Silence."""


@pytest.fixture
def images(tmp_path: Path) -> Iterator[str]:
    """Where two images of discs are served."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in ("one.iso", "two.iso"):
        (folder / name).write_bytes(name.encode() * 100)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_virtual_media_are_inserted_replaced_booted_and_ejected(
    rig: RedfishRig, images: str
) -> None:
    node, driver = rig.farm.node(0, boot_interface=BootInterface.VIRTUAL_MEDIA), rig.driver
    others: list[str] = []
    before = driver.media(node, rig.timeout_s)
    assert before is not None
    assert not before.inserted
    for name in ("one.iso", "one.iso", "two.iso"):
        driver.insert_media(node, f"{images}/{name}", rig.timeout_s, others.append)
        found = driver.media(node, rig.timeout_s)
        assert found is not None
        assert found.inserted
        assert str(found.image).endswith(name)
    inserted = [each.path for each in rig.farm.fronts[0].seen if "InsertMedia" in each.path]
    assert len(inserted) == 2, "what is there is not inserted again"
    assert others == [f"{images}/one.iso"]
    assert driver.observe(node, rig.timeout_s).media == f"{images}/two.iso"
    assert driver.observe(rig.nodes[0], rig.timeout_s).media is None, "it is not asked for"
    driver.boot_from_media(node, rig.timeout_s)
    assert rig.farm.settle(0)["boot_device"] == "Cd"
    assert not driver.eject_media(node, rig.timeout_s, lambda image: image.endswith("one.iso"))
    assert driver.observe(node, rig.timeout_s).media == f"{images}/two.iso"
    for found_one in (True, False):
        assert driver.eject_media(node, rig.timeout_s, lambda _image: True) is found_one
        after = driver.media(node, rig.timeout_s)
        assert after is not None
        assert not after.inserted
        assert driver.observe(node, rig.timeout_s).media == ""


def test_an_image_that_cannot_be_fetched_is_not_inserted(rig: RedfishRig, images: str) -> None:
    node, driver = rig.nodes[1], rig.driver
    with pytest.raises((TemporaryError, PermanentError), match="HTTP"):
        driver.insert_media(node, f"{images}/none.iso", rig.timeout_s, lambda _image: None)
    found = driver.media(node, rig.timeout_s)
    assert found is not None
    assert not found.inserted


def test_a_machine_that_boots_by_a_disc_costs_one_request_more(rig: RedfishRig) -> None:
    node = rig.farm.node(0, boot_interface=BootInterface.VIRTUAL_MEDIA)
    rig.driver.observe(node, rig.timeout_s)
    before = len(rig.farm.fronts[0].seen)
    rig.driver.observe(node, rig.timeout_s)
    assert len(rig.farm.fronts[0].seen) == before + 2
