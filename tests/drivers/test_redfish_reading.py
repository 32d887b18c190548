"""Readings of what services say: the recorded answers that sushy is tested with, and others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sushy
from hypothesis import given
from hypothesis import strategies as st

from metalwright.drivers.redfish_reading import (
    boot_device_of,
    health_of,
    mac_of,
    power_of,
    reading_of,
)
from metalwright.errors import TemporaryError
from metalwright.model.observed import BootDevice, Health, Identity, Power, Reading

SAMPLES = Path(sushy.__file__).parent / "tests" / "unit" / "json_samples"
PARTS = ("PowerState", "Boot", "Status", "SerialNumber", "UUID")


def sample(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SAMPLES / name).read_text())
    return found


def test_a_recorded_system() -> None:
    assert reading_of(sample("system.json"), ["52:54:00:00:00:01"]) == Reading(
        power=Power.ON,
        boot_device=BootDevice.PXE,
        health=Health.OK,
        identity=Identity(
            serial="437XR1138R2",
            system_uuid="38947555-7742-3448-3784-823347823834",
            macs=("52:54:00:00:00:01",),
        ),
    )


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("system*.json")), ids=lambda path: path.name)
def test_every_recorded_system_is_read_or_refused_in_our_words(path: Path) -> None:
    found = json.loads(path.read_text())
    if "PowerState" in found:
        assert reading_of(found, ()).power in (Power.ON, Power.OFF)


def test_what_is_no_system_is_refused() -> None:
    with pytest.raises(TemporaryError, match="is no system"):
        reading_of({}, ())


@given(
    st.fixed_dictionaries(
        {},
        optional={
            name: st.none()
            | st.integers()
            | st.text()
            | st.lists(st.text())
            | st.dictionaries(
                st.sampled_from(["HealthRollup", "Health", "BootSourceOverrideTarget"]),
                st.none() | st.text() | st.lists(st.integers()),
            )
            for name in PARTS
        },
    )
)
def test_nonsense_in_a_part_is_a_part_that_is_not_known(system: dict[str, Any]) -> None:
    reading = reading_of({"Id": "1", **system}, ())
    assert reading.power in Power
    assert reading.boot_device is None


@pytest.mark.parametrize(
    ("uuid", "told"),
    [
        ("4C4C4544-0042-3510-8054-B4C04F4E5331", "4C4C4544-0042-3510-8054-B4C04F4E5331"),
        ("00000000-0000-0000-0000-000000000000", None),
        ("FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", None),
        ("none", None),
    ],
)
def test_a_uuid_that_nobody_set_is_none(uuid: str, told: str | None) -> None:
    assert reading_of({"Id": "1", "UUID": uuid}, ()).identity.system_uuid == told


@pytest.mark.parametrize(
    ("status", "health"),
    [
        ({"HealthRollup": "Critical", "Health": "OK"}, Health.CRITICAL),
        ({"Health": "Warning"}, Health.WARNING),
        ({"HealthRollup": None, "Health": "OK"}, Health.OK),
        ({"Health": "fine"}, None),
        (None, None),
    ],
)
def test_health_is_that_of_all_parts(status: object, health: Health | None) -> None:
    assert health_of({"Status": status}) is health


@pytest.mark.parametrize(
    ("enabled", "target", "device"),
    [
        ("Once", "Pxe", BootDevice.PXE),
        ("Continuous", "Hdd", BootDevice.DISK),
        ("Disabled", "Pxe", None),
        ("Once", "UefiHttp", None),
        (None, "Pxe", None),
    ],
)
def test_a_boot_device_is_one_that_is_in_force(
    enabled: str | None, target: str, device: BootDevice | None
) -> None:
    boot = {"BootSourceOverrideEnabled": enabled, "BootSourceOverrideTarget": target}
    assert boot_device_of({"Boot": boot}) is device


def test_power_that_is_not_told_is_unknown() -> None:
    assert power_of({}) is Power.UNKNOWN
    assert power_of({"PowerState": ["On"]}) is Power.UNKNOWN


def test_the_mac_address_is_the_permanent_one() -> None:
    both = {"PermanentMACAddress": "52-54-00-AA-00-02", "MACAddress": "52:54:00:AA:00:01"}
    assert mac_of(both) == "52:54:00:aa:00:02"
    assert mac_of({"PermanentMACAddress": "", "MACAddress": "52:54:00:AA:00:01"}) == (
        "52:54:00:aa:00:01"
    )
    assert mac_of({"MACAddress": "FE:ED:00:00:00:00:00:01"}) is None
