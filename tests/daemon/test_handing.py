"""A fleet's Ironic is told rendered templates, also where no boot service is on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.drivers.test_ironic_handover import ASKED, PATIENCE_S, Double, intended
from tests.drivers.test_ironic_steps import NODE

from metalwright.daemon.handing import hand_over
from metalwright.drivers.contract import Driver
from metalwright.drivers.credentials import Secrets
from metalwright.drivers.fake import FakeDriver
from metalwright.drivers.ironic import IronicDriver, Place
from metalwright.errors import PermanentError
from metalwright.model.operation import Operation
from metalwright.settings import Settings
from metalwright.store import Store


@pytest.fixture
def ironic() -> Iterator[Double]:
    double = Double()
    double.node["boot_interface"] = "redfish-virtual-media"
    yield double
    double.shutdown()
    double.server_close()


@pytest.fixture
def driver(ironic: Double, tmp_path: Path) -> Iterator[Driver]:
    """The driver of a fleet without a boot service, and with the secret `app/token`."""
    place = Place(endpoint=f"http://127.0.0.1:{ironic.server_address[1]}")
    secrets = Secrets(None, {"METALWRIGHT_SECRET_APP_TOKEN_VALUE": "a-canary"})
    opened = IronicDriver(place, secrets, lambda: datetime.now(UTC), list_max_age_s=0)
    with (
        Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store,
        ExitStack() as stack,
    ):
        found = hand_over({"ironic": opened}, None, (Settings(), store, secrets), stack)
        yield found["ironic"]
        opened.close()


def asking(user_data: str) -> Operation:
    asked = intended(ASKED)
    template = asked.target.template
    assert template is not None
    raw = replace(template, user_data=user_data, kernel_args=("name={{ node.name }}",))
    return replace(asked, target=replace(asked.target, template=raw))


def test_ironic_is_told_text(ironic: Double, driver: IronicDriver) -> None:
    driver.carry_out(NODE, asking("{{ pool }} {{ secret('app/token') }}"), PATIENCE_S)
    patch, order = ironic.orders
    info = next(each["value"] for each in patch[2] if each["path"] == "/instance_info")
    assert info["kernel_append_params"] == "name=n1"
    assert info["kernel"] == "https://images.example/disk.qcow2", "the image's own address"
    assert order[2]["configdrive"]["user_data"] == "lab a-canary"


@pytest.mark.parametrize("text", ["{{ boot.url }}", "{{ node.nmae }}", "{{ secret('no/such') }}"])
def test_ironic_is_told_nothing_of_what_is_no_text(
    ironic: Double, driver: IronicDriver, text: str
) -> None:
    with pytest.raises(PermanentError, match="user-data of template live"):
        driver.carry_out(NODE, asking(text), PATIENCE_S)
    assert ironic.orders == []


def test_other_drivers_stay_as_they_are(tmp_path: Path) -> None:
    fake = FakeDriver(None, seed=0, clock=lambda: datetime.now(UTC))
    with (
        Store.open(f"sqlite:///{tmp_path / 'store.sqlite'}") as store,
        ExitStack() as stack,
    ):
        parts = (Settings(), store, Secrets(None, {}))
        assert hand_over({"fake": fake}, None, parts, stack) == {"fake": fake}
