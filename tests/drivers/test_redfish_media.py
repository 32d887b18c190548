"""Virtual media of Redfish services that do what the emulator never does: older ones, ones that
acknowledge what they do not do, and ones that refuse.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.live.redfish_farm import write_secret

from metalwright.drivers.contract import VirtualMedia
from metalwright.drivers.credentials import Secrets
from metalwright.drivers.redfish import RedfishDriver
from metalwright.drivers.redfish_media import DRIVELESS_KEPT, Media
from metalwright.errors import PermanentError, TemporaryError
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Bmc, BmcProtocol, BootInterface, BootMode, NodeSpec
from metalwright.model.observed import BootDevice, Power

from .contract import BOOT_FROM
from .redfish_bmc import PASSWORD, USERNAME, Answer, RedfishBmc, Request, refusal

TIMEOUT_S = 20.0
MANAGER = "/redfish/v1/Managers/m"
DISC, OTHER = "http://boot.lab:8800/media/a.iso", "http://files.lab/rescue.iso"
INSERT, EJECT = f"{MANAGER}/insert", f"{MANAGER}/eject"


class Drive:
    """The virtual CD drive of a service, below its manager. `deaf` are the commands that it
    acknowledges and does not carry out; `refuses` answers some of them instead.
    """

    def __init__(self, bmc: RedfishBmc, image: str | None = None) -> None:
        self.bmc, self.deaf, self.refuses = bmc, set[str](), dict[str, Answer]()
        self.shown: dict[str, Any] = {
            "@odata.id": f"{MANAGER}/VirtualMedia/CD1",
            "Id": "CD1",
            "Name": "Virtual CD",
            "MediaTypes": ["CD", "DVD"],
            "Inserted": image is not None,
            "Image": image,
            "Actions": {
                "#VirtualMedia.InsertMedia": {"target": INSERT},
                "#VirtualMedia.EjectMedia": {"target": EJECT},
            },
        }
        floppy = {"Id": "F", "Name": "Floppy", "MediaTypes": ["Floppy"], "Inserted": False}
        media = {"@odata.id": f"{MANAGER}/VirtualMedia"}
        members = [{"@odata.id": f"{MANAGER}/VirtualMedia/{name}"} for name in ("F", "CD1")]
        bmc.systems["1"]["Links"] = {"ManagedBy": [{"@odata.id": MANAGER}]}
        self.parts: dict[str, Any] = {
            MANAGER: {"Id": "m", "VirtualMedia": media},
            f"{MANAGER}/VirtualMedia": {"Members": members},
            f"{MANAGER}/VirtualMedia/F": floppy,
            f"{MANAGER}/VirtualMedia/CD1": self.shown,
        }
        bmc.rules.append(self.answer)

    def answer(self, request: Request) -> Answer | None:
        if request.path in self.refuses:
            return self.refuses[request.path]
        if request.method == "GET":
            found = self.parts.get(request.path)
            return Answer(body=found) if found is not None else None
        if request.path not in (INSERT, EJECT):
            return None
        if request.path not in self.deaf:
            image = request.body["Image"] if request.path == INSERT else None
            self.shown.update(Inserted=image is not None, Image=image)
        return Answer(204)

    @property
    def commands(self) -> list[str]:
        """What it was told to do, in order."""
        return [
            each.path.rpartition("/")[2]
            for each in self.bmc.requests
            if each.method == "POST" and each.path in (INSERT, EJECT)
        ]


@pytest.fixture
def bmc() -> Iterator[RedfishBmc]:
    with RedfishBmc() as running:
        yield running


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[RedfishDriver]:
    found = RedfishDriver(Secrets(write_secret(tmp_path / "secrets", USERNAME, PASSWORD), {}))
    yield found
    found.close()


@pytest.fixture
def node(bmc: RedfishBmc) -> Node:
    place = Bmc(
        address="127.0.0.1",
        port=bmc.port,
        credentials="bmc/redfish",
        protocol=BmcProtocol.HTTP,
    )
    spec = NodeSpec(driver="redfish", bmc=place, boot_interface=BootInterface.VIRTUAL_MEDIA)
    return Node(metadata=Metadata(name="n1"), spec=spec)


def ignore(_image: str) -> None:
    """Nobody wants to know."""


def any_image(_image: str) -> bool:
    return True


def test_an_older_service_has_its_drives_below_the_manager(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node
) -> None:
    drive = Drive(bmc)
    assert driver.media(node, TIMEOUT_S) == Media(inserted=False)
    driver.insert_media(node, DISC, TIMEOUT_S, ignore)
    assert driver.media(node, TIMEOUT_S) == Media(inserted=True, image=DISC)
    driver.insert_media(node, DISC, TIMEOUT_S, ignore)
    assert drive.commands == ["insert"], "what is there is not inserted again"


def test_the_driver_is_one_with_virtual_media(driver: RedfishDriver) -> None:
    assert isinstance(driver, VirtualMedia)


def test_a_service_without_a_drive_says_so(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node
) -> None:
    assert driver.media(node, TIMEOUT_S) is None
    assert not driver.eject_media(node, TIMEOUT_S, any_image)
    with pytest.raises(PermanentError, match="no virtual CD drive"):
        driver.insert_media(node, DISC, TIMEOUT_S, ignore)
    readings = [driver.observe(node, TIMEOUT_S) for _ in range(DRIVELESS_KEPT)]
    assert {each.media for each in readings} == {None}
    Drive(bmc)
    assert driver.observe(node, TIMEOUT_S).media == "", "it is asked for one anew in the end"


def test_another_disc_is_replaced_and_told_of_without_its_secrets(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node
) -> None:
    drive = Drive(bmc, "http://ada:pass-word@files.lab/rescue.iso?token=abc")
    others: list[str] = []
    driver.insert_media(node, DISC, TIMEOUT_S, others.append)
    assert drive.commands == ["eject", "insert"]
    assert others == [OTHER]
    assert drive.shown["Image"] == DISC


def test_a_disc_that_the_service_keeps_is_a_passing_fault(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node
) -> None:
    drive, others = Drive(bmc, OTHER), list[str]()
    drive.deaf.add(EJECT)
    with pytest.raises(TemporaryError, match=r"does not let go of .*rescue"):
        driver.insert_media(node, DISC, TIMEOUT_S, others.append)
    with pytest.raises(TemporaryError, match="does not let go"):
        driver.eject_media(node, TIMEOUT_S, any_image)
    assert drive.commands == ["eject", "eject"]
    assert others == []


@pytest.mark.parametrize("status", [409, 500, 503])
def test_a_refused_eject_is_no_success(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node, status: int
) -> None:
    drive = Drive(bmc, DISC)
    drive.refuses[EJECT] = refusal(status, "not now")
    with pytest.raises(TemporaryError):
        driver.eject_media(node, TIMEOUT_S, any_image)


@pytest.mark.parametrize(
    ("status", "kind"), [(409, TemporaryError), (503, TemporaryError), (400, PermanentError)]
)
def test_a_refused_image_is_told_with_its_reason(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node, status: int, kind: type[Exception]
) -> None:
    drive = Drive(bmc)
    drive.refuses[INSERT] = refusal(status, "the licence is missing")
    with pytest.raises(kind, match="the licence is missing"):
        driver.insert_media(node, DISC, TIMEOUT_S, ignore)
    assert driver.media(node, TIMEOUT_S) == Media(inserted=False)


def test_an_image_that_is_acknowledged_and_not_shown_is_waited_for(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node
) -> None:
    drive = Drive(bmc)
    drive.deaf.add(INSERT)
    with pytest.raises(TemporaryError, match=r"does not show the disc .* yet"):
        driver.insert_media(node, DISC, TIMEOUT_S, ignore)
    drive.shown.update(Inserted=True, Image=DISC)  # it has fetched it meanwhile
    driver.insert_media(node, DISC, TIMEOUT_S, ignore)
    assert drive.commands == ["insert"]


def test_a_service_that_shows_something_else_than_it_was_given_is_not_believed(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node
) -> None:
    drive = Drive(bmc)
    drive.deaf.add(INSERT)
    drive.refuses[INSERT] = Answer(204)
    drive.shown.update(Inserted=False, Image=None)

    def somebody(request: Request) -> Answer | None:
        if request.path == INSERT:
            drive.shown.update(Inserted=True, Image=OTHER)
        return None

    bmc.rules.insert(0, somebody)
    with pytest.raises(TemporaryError, match=r"shows another disc .*rescue\.iso"):
        driver.insert_media(node, DISC, TIMEOUT_S, ignore)


def test_a_service_that_shows_only_the_name_of_an_image_has_it(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node
) -> None:
    drive = Drive(bmc, "a.iso")
    driver.insert_media(node, DISC, TIMEOUT_S, ignore)
    assert drive.commands == []


def test_a_service_without_inserted_shows_it_by_the_image(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node
) -> None:
    drive = Drive(bmc)
    del drive.shown["Inserted"]
    assert driver.observe(node, TIMEOUT_S).media == ""
    drive.shown["Image"] = DISC
    assert driver.observe(node, TIMEOUT_S).media == DISC


def test_only_what_is_ours_is_ejected(bmc: RedfishBmc, driver: RedfishDriver, node: Node) -> None:
    drive = Drive(bmc, OTHER)
    assert not driver.eject_media(node, TIMEOUT_S, lambda image: image == DISC)
    assert drive.commands == []


def test_a_drive_that_cannot_be_read_leaves_the_reading(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node
) -> None:
    drive = Drive(bmc, DISC)
    assert driver.observe(node, TIMEOUT_S).media == DISC
    drive.refuses[f"{MANAGER}/VirtualMedia/CD1"] = refusal(503, "busy")
    found = driver.observe(node, TIMEOUT_S)
    assert (found.power, found.media) == (Power.OFF, None)
    drive.refuses.clear()
    assert driver.observe(node, TIMEOUT_S).media == DISC


@pytest.mark.parametrize(
    ("offered", "told"),
    [(["None", "Pxe", "Cd", "UsbCd"], "Cd"), (["None", "Pxe", "UsbCd"], "UsbCd"), (None, "Cd")],
)
def test_the_next_boot_only_is_from_the_drive(
    bmc: RedfishBmc, tmp_path: Path, node: Node, offered: list[str] | None, told: str
) -> None:
    driver = RedfishDriver(
        Secrets(write_secret(tmp_path / "secrets", USERNAME, PASSWORD), {}),
        boot_override="Continuous",
    )
    boot = bmc.systems["1"]["Boot"]
    boot["BootSourceOverrideTarget@Redfish.AllowableValues"] = offered
    bios = replace(node, spec=replace(node.spec, boot_mode=BootMode.BIOS))
    driver.boot_from_media(bios, TIMEOUT_S)
    assert boot["BootSourceOverrideTarget"] == told
    assert boot["BootSourceOverrideEnabled"] == "Once"
    assert boot["BootSourceOverrideMode"] == "Legacy"
    driver.close()


def test_without_a_disc_such_a_machine_is_not_sent_to_the_network(
    bmc: RedfishBmc, driver: RedfishDriver, node: Node
) -> None:
    with pytest.raises(PermanentError, match=r"boot\.listen"):
        driver.apply(node, BOOT_FROM[BootDevice.PXE], TIMEOUT_S)
    assert bmc.count("PATCH") == 0
    driver.apply(node, BOOT_FROM[BootDevice.DISK], TIMEOUT_S)
    assert bmc.systems["1"]["Boot"]["BootSourceOverrideTarget"] == "Hdd"
