"""What the worker says to a BMC, and what the driver reads from its bytes. No BMC needed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from metalwright.drivers import ipmi_worker
from metalwright.drivers.ipmi_answers import boot_device_of, health_of
from metalwright.drivers.ipmi_identity import guids_of, system_uuid_of
from metalwright.model.observed import BootDevice, Health

REFUSED = -1
CONTROL, GET_STATUS = (0, 2), (0, 1)
SET_BOOT, GET_BOOT = (0, 8), (0, 9)


class ChassisBmc(ipmi_worker.Ask):
    """A BMC as `ask` sees it: a power state, boot flags, and commands that it refuses."""

    def __init__(self, *, on: bool = False, flags: bytes = bytes(5), refuses: Sequence = ()):
        self.on, self.flags, self.refuses = on, flags, list(refuses)
        self.asked: list[tuple[int, ...]] = []

    def __call__(self, netfn: int, command: int, *data: int) -> bytes:
        self.asked.append((netfn, command, *data))
        for refused in self.refuses:
            if (netfn, command, *data)[: len(refused)] == tuple(refused):
                raise ipmi_worker.RefusedError("no")
        if (netfn, command) == GET_STATUS:
            return bytes((0x60 | self.on, 0, 0))
        if (netfn, command) == CONTROL:
            self.on = data[0] == 1
        if (netfn, command) == GET_BOOT:
            return bytes((1, 5)) + self.flags
        if (netfn, command) == SET_BOOT and data[0] == 5:
            self.flags = bytes(data[1:])
        return b""

    def written(self) -> list[tuple[int, ...]]:
        return [each for each in self.asked if each[:2] in (CONTROL, SET_BOOT)]


class SessionBmc:
    """A session whose BMC answers every command with one completion code."""

    def __init__(self, code: int) -> None:
        self.code = code

    def raw_command(self, **_asked: object) -> dict[str, object]:
        return {"error": "no", "code": self.code} if self.code else {"data": b""}


def test_busy_is_told_from_refused() -> None:
    assert ipmi_worker.Ask(SessionBmc(0xC1)).unless_busy(0x0A, 0x11) == b""
    assert ipmi_worker.Ask(SessionBmc(0)).unless_busy(0x0A, 0x11) == b""
    for code in ipmi_worker.BUSY_CODES:
        busy = ipmi_worker.Ask(SessionBmc(code))
        with pytest.raises(ipmi_worker.BusyError):
            busy.unless_busy(0x0A, 0x11)
        assert busy.if_known(0x0A, 0x11) == b""


def test_a_serial_number_that_cannot_be_read_now_hides_no_power() -> None:
    class Busy(ChassisBmc):
        def __call__(self, netfn: int, command: int, *data: int) -> bytes:
            if netfn == 0x0A:
                raise ipmi_worker.BusyError("FRU busy")
            return super().__call__(netfn, command, *data)

    answer = ipmi_worker.observe(Busy(on=True), "never")
    assert answer["status"] == "610000"
    assert "fru" not in answer


@pytest.mark.parametrize(("level", "byte"), [("on", 1), ("off", 0), ("soft", 5)])
def test_power_is_one_level_and_one_command(level: str, byte: int) -> None:
    bmc = ChassisBmc(on=level != "on")
    assert ipmi_worker.set_power(bmc, level) == {"already": False}
    assert bmc.written() == [(*CONTROL, byte)]


@pytest.mark.parametrize("level", ["on", "off", "soft"])
def test_power_that_is_there_is_not_commanded(level: str) -> None:
    bmc = ChassisBmc(on=level == "on")
    assert ipmi_worker.set_power(bmc, level) == {"already": True}
    assert bmc.written() == []


def test_a_refusal_stands_unless_the_power_is_there_now() -> None:
    with pytest.raises(ipmi_worker.RefusedError):
        ipmi_worker.set_power(ChassisBmc(refuses=[CONTROL]), "on")

    class Overtaken(ChassisBmc):
        def __call__(self, netfn: int, command: int, *data: int) -> bytes:
            try:
                return super().__call__(netfn, command, *data)
            finally:
                self.on = self.on or (netfn, command) == CONTROL

    assert ipmi_worker.set_power(Overtaken(refuses=[CONTROL]), "on") == {"already": True}


@pytest.mark.parametrize(
    ("device", "uefi", "flags"),
    [
        ("pxe", True, b"\xe0\x04\0\0\0"),
        ("pxe", False, b"\xc0\x04\0\0\0"),
        ("disk", True, b"\xe0\x08\0\0\0"),
        ("disk", False, b"\xc0\x08\0\0\0"),
    ],
)
def test_a_boot_device_is_valid_persistent_and_for_the_firmware(
    device: str, uefi: bool, flags: bytes
) -> None:
    bmc = ChassisBmc()
    answer = ipmi_worker.set_boot_device(bmc, device, uefi=uefi)
    assert bmc.flags == flags
    assert bmc.written() == [(*SET_BOOT, 3, 8), (*SET_BOOT, 5, *flags)]
    assert answer == {"already": False, "boot_flags": (b"\1\5" + flags).hex()}
    assert boot_device_of(bytes.fromhex(answer["boot_flags"])) is BootDevice(device)
    bmc.asked.clear()
    assert ipmi_worker.set_boot_device(bmc, device, uefi=uefi)["already"]
    assert bmc.written() == [], "flash is not written for nothing"


@pytest.mark.parametrize(("uefi", "flags"), [(True, b"\xa0\x04\0\0\0"), (False, b"\x80\x04\0\0\0")])
def test_a_boot_device_for_the_next_boot_only_is_not_persistent(uefi: bool, flags: bytes) -> None:
    bmc = ChassisBmc(flags=b"\xc0\x08\0\0\0")
    ipmi_worker.set_boot_device(bmc, "pxe", uefi=uefi, once=True)
    assert bmc.written() == [(*SET_BOOT, 3, 8), (*SET_BOOT, 5, *flags)]
    bmc.asked.clear()
    assert ipmi_worker.set_boot_device(bmc, "pxe", uefi=uefi, once=True)["already"]
    assert bmc.written() == []
    ipmi_worker.set_boot_device(bmc, "pxe", uefi=uefi)
    assert bmc.flags[0] & 0x40, "persistent differs from once"


@pytest.mark.parametrize("flags", [b"\xa0\x04", b"\xc0\x04", b"\x60\x04", b"\xe0\x08"])
def test_flags_that_differ_in_anything_are_written(flags: bytes) -> None:
    bmc = ChassisBmc(flags=flags + bytes(3))
    assert not ipmi_worker.set_boot_device(bmc, "pxe", uefi=True)["already"]
    assert bmc.flags == b"\xe0\x04\0\0\0"


def test_a_bmc_that_lacks_the_timer_or_cannot_be_read_is_set_all_the_same() -> None:
    bmc = ChassisBmc(refuses=[(*SET_BOOT, 3), GET_BOOT])
    assert ipmi_worker.set_boot_device(bmc, "pxe", uefi=True) == {
        "already": False,
        "boot_flags": "",
    }
    assert bmc.flags == b"\xe0\x04\0\0\0"
    with pytest.raises(ipmi_worker.RefusedError):
        ipmi_worker.set_boot_device(ChassisBmc(refuses=[(*SET_BOOT, 5)]), "pxe", uefi=True)


def test_observing_writes_nothing_and_needs_only_the_power() -> None:
    bmc = ChassisBmc(on=True, flags=b"\xe0\x04\0\0\0", refuses=[(6, 0x37)])
    told = {"status": "610000", "boot_flags": "0105e004000000", "guid": ""}
    assert ipmi_worker.observe(bmc, None) == told
    assert bmc.written() == []
    with pytest.raises(ipmi_worker.RefusedError):
        ipmi_worker.observe(ChassisBmc(refuses=[GET_STATUS]), None)


@pytest.mark.parametrize(
    ("flags", "device"),
    [
        ("", None),
        ("0105", None),
        ("0105e004000000", BootDevice.PXE),
        ("01058004000000", BootDevice.PXE),
        ("0105c008000000", BootDevice.DISK),
        ("0105c088000000", BootDevice.DISK),
        ("0105c014000000", None),
        ("01050004000000", None),
        ("0185c004000000", None),
    ],
    ids=["none", "short", "pxe", "once", "disk", "lock", "cd", "invalid", "locked"],
)
def test_boot_flags_are_read_only_where_they_are_valid(
    flags: str, device: BootDevice | None
) -> None:
    assert boot_device_of(bytes.fromhex(flags)) is device


WIRE = bytes.fromhex("00112233445566778899aabbccddeeff")
SMBIOS = "33221100-5544-7766-8899-aabbccddeeff"
RFC4122 = "00112233-4455-6677-8899-aabbccddeeff"
REVERSED = "ffeeddcc-bbaa-9988-7766-554433221100"


@pytest.mark.parametrize("declared", [SMBIOS, RFC4122, REVERSED])
def test_a_guid_that_git_declares_in_any_order_is_the_machines(declared: str) -> None:
    assert system_uuid_of(WIRE, declared) == declared


@pytest.mark.parametrize("declared", [None, SMBIOS.replace("3", "4"), RFC4122.upper()])
def test_any_other_guid_is_told_in_the_order_of_smbios(declared: str | None) -> None:
    assert system_uuid_of(WIRE, declared) == SMBIOS


@pytest.mark.parametrize("guid", [b"", WIRE[:15], WIRE + b"\0", bytes(16), b"\xff" * 16])
def test_a_guid_that_nobody_set_is_none(guid: bytes) -> None:
    assert system_uuid_of(guid, None) is None


def test_the_daemons_process_never_loads_pyghmi() -> None:
    code = (
        "import sys, metalwright.drivers.ipmi, metalwright.drivers.ipmi_worker\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('pyghmi', 'cryptography')])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ("610000", Health.OK),
        ("690000", Health.CRITICAL),
        ("710000", Health.WARNING),
        ("630000", Health.WARNING),
        ("610008", Health.WARNING),
        ("610004", Health.WARNING),
        ("610003", Health.OK),
        ("65", None),
    ],
    ids=["well", "power", "control", "overload", "cooling", "drive", "opened", "short"],
)
def test_health_is_what_the_chassis_status_says(status: str, health: Health | None) -> None:
    assert health_of(bytes.fromhex(status)) is health


def test_a_change_is_for_the_declared_machine_only() -> None:
    class Guided(ChassisBmc):
        guid = WIRE

        def __call__(self, netfn: int, command: int, *data: int) -> bytes:
            if (netfn, command) == (6, 0x37):
                return self.guid
            return super().__call__(netfn, command, *data)

    def asked(bmc: Guided, own: dict | None) -> dict:
        request = {"do": "power", "level": "on", "own": own}
        return ipmi_worker.carried_out(bmc, request, os.getppid())

    for declared in (SMBIOS, RFC4122, REVERSED):
        own = {"guids": [each.hex() for each in guids_of(declared)], "fru_unless": None}
        assert asked(Guided(), own) == {"already": False}
    other = {"guids": [bytes(range(16)).hex()], "fru_unless": None}
    bmc = Guided()
    assert asked(bmc, other) == {"stranger": WIRE.hex()}
    assert bmc.written() == []
    bmc.guid = bytes(16)  # one that tells nothing cannot be another
    assert asked(bmc, other) == {"already": False}
    bmc = Guided()
    own = {"guids": [], "fru_unless": "-"}
    assert asked(bmc, own) == {"unsure": True, "guid": WIRE.hex(), "fru": ""}
    assert bmc.written() == []
    assert asked(bmc, {"guids": [], "fru_unless": WIRE.hex()}) == {"already": False}
