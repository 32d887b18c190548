"""Drivers by name: ours, those of others, and what happens when one of those is no good.

The others' are real distributions: a module and its metadata in a directory on the path.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metalwright.drivers.contract import VirtualMedia
from metalwright.drivers.credentials import Secrets
from metalwright.drivers.registry import BUILT_IN, GROUP, driver_names, open_drivers
from metalwright.errors import PermanentError, SettingsError, TemporaryError
from metalwright.model.checks import Check, Ping
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import DRIVERS, NodeSpec
from metalwright.model.observed import Power
from metalwright.model.operation import Effect, EffectKind
from metalwright.observe import Checker

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
SECRETS = Secrets(None, {})
POWER_ON = Effect(kind=EffectKind.POWER_ON)

ACME = """
import asyncio

from metalwright.drivers.credentials import SecretsDownError
from metalwright.errors import TemporaryError
from metalwright.model.observed import Power, Reading
from metalwright.model.operation import EffectKind

closed = []

class Acme:
    capabilities = frozenset({EffectKind.POWER_ON})

    def __init__(self, settings, secrets, clock):
        self.settings, self.secrets, self.clock = settings, secrets, clock

    def observe(self, node, timeout_s):
        if self.settings.get("does") == "time out":
            raise TemporaryError("no answer within 1 s")
        if self.settings.get("does") == "leak":
            raise RuntimeError("the password is hunter2")
        if self.settings.get("does") == "be cancelled":
            raise asyncio.CancelledError
        if self.settings.get("does") == "secret":
            self.secrets.get("../x")
        if self.settings.get("does") == "no vault":
            raise SecretsDownError("credentials bmc/a (vault): it is too slow")
        if self.settings.get("does") == "nonsense":
            return "on"
        return Reading(power=Power.ON)

    def apply(self, node, effect, timeout_s):
        if self.settings.get("does") == "leak":
            raise RuntimeError("the password is hunter2")

    def close(self):
        closed.append(self)
        raise RuntimeError("the password is hunter2")
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a distribution with one module and one entry point."""

    def installed(name: str, driver: str, target: str, text: str = "") -> Path:
        site = tmp_path / f"site-{name}"
        metadata = site / f"{name}-1.0.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (metadata / "entry_points.txt").write_text(f"[{GROUP}]\n{driver} = {target}\n")
        if text:
            (site / f"{target.partition(':')[0]}.py").write_text(text)
        monkeypatch.syspath_prepend(site)
        return site

    return installed


def node(driver: str) -> Node:
    return Node(metadata=Metadata(name="n1"), spec=NodeSpec(driver=driver))


def test_every_driver_that_comes_with_it_can_be_opened_and_closed() -> None:
    drivers = open_drivers({}, SECRETS, lambda: NOW)
    assert set(drivers) == set(BUILT_IN) == DRIVERS
    for driver in drivers.values():
        assert driver.capabilities <= set(EffectKind)
        driver.close()


def test_the_tables_of_the_settings_reach_their_drivers(tmp_path: Path) -> None:
    table = {
        "state": tmp_path / "fleet.db",
        "seed": 3,
        "faults": [{"node": "n1", "fault": "silent"}],
    }
    fake = open_drivers({"fake": table}, SECRETS, lambda: NOW)["fake"]
    with pytest.raises(TemporaryError):
        fake.observe(node("fake"), 0.1)
    fake.close()
    assert (tmp_path / "fleet.db").exists()


def test_a_table_of_no_driver_is_a_wrong_setting_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match=r"drivers\.ipmii: .*nearest one is ipmi"):
        open_drivers({"ipmii": {}}, SECRETS, lambda: NOW)


def test_wrong_settings_of_our_own_driver_are_raised() -> None:
    with pytest.raises(SettingsError, match="speed"):
        open_drivers({"fake": {"speed": -1}}, SECRETS, lambda: NOW)


def test_an_entry_point_is_a_driver_with_its_own_table(install: Install) -> None:
    install("acme_bmc", "acme", "acme_one:Acme", ACME)
    assert driver_names() == DRIVERS | {"acme"}
    acme = open_drivers({"acme": {"url": "x"}}, SECRETS, lambda: NOW)["acme"]
    assert acme.capabilities == {EffectKind.POWER_ON}
    assert acme.observe(node("acme"), 1.0).power is Power.ON
    acme.apply(node("acme"), POWER_ON, 1.0)
    acme.close()


@pytest.mark.parametrize(
    ("does", "error", "text"),
    [
        ("time out", TemporaryError, "no answer within 1 s"),
        ("leak", PermanentError, "the driver acme failed with RuntimeError"),
        ("be cancelled", PermanentError, "the driver acme failed with CancelledError"),
        ("no vault", TemporaryError, "credentials bmc/a (vault): it is too slow"),
        ("nonsense", PermanentError, "the driver acme gave a str"),
        ("secret", PermanentError, "'../x' is not a credentials reference such as bmc/rack-a"),
    ],
)
def test_a_driver_of_others_is_held_to_the_contract(
    install: Install, does: str, error: type[Exception], text: str
) -> None:
    install("acme_bmc", "acme", "acme_two:Acme", ACME)
    acme = open_drivers({"acme": {"does": does}}, SECRETS, lambda: NOW)["acme"]
    with pytest.raises(error) as caught:
        acme.observe(node("acme"), 1.0)
    assert str(caught.value) == text
    assert caught.value.__cause__ is None, "a cause could carry anything"
    if does == "leak":
        with pytest.raises(PermanentError, match=r"failed with RuntimeError$"):
            acme.apply(node("acme"), POWER_ON, 1.0)


@pytest.mark.parametrize(
    ("target", "text", "reason"),
    [
        ("acme_gone:Acme", "", r"acme_bmc.*ModuleNotFoundError \(acme_gone is missing\)"),
        ("acme_extra:Acme", "import no_such_library", r"\(no_such_library is missing\)"),
        ("acme_syntax:Acme", "def", "SyntaxError"),
        ("acme_name:Acme", "x = 1", "AttributeError"),
        ("acme_call:Acme", "Acme = 7", "TypeError"),
        ("acme_half:Acme", "Acme = lambda *a: object()", "AttributeError"),
        (
            "acme_set:Acme",
            """
from metalwright.errors import SettingsError
def Acme(*a): raise SettingsError("url is missing")
""",
            "url is missing",
        ),
    ],
)
def test_one_that_cannot_be_opened_says_why_and_stops_nobody(
    install: Install, target: str, text: str, reason: str
) -> None:
    install("acme_bmc", "acme", target, text)
    drivers = open_drivers({}, SECRETS, lambda: NOW)
    with pytest.raises(PermanentError, match=reason):
        drivers["acme"].observe(node("acme"), 1.0)
    with pytest.raises(PermanentError, match=reason):
        drivers["acme"].apply(node("acme"), POWER_ON, 1.0)
    assert drivers["fake"].observe(node("fake"), 1.0).power is Power.OFF
    for driver in drivers.values():
        driver.close()


def test_one_name_from_two_distributions_is_nobodys(install: Install) -> None:
    install("acme_bmc", "acme", "acme_three:Acme", ACME)
    install("other_bmc", "acme", "acme_four:Acme", ACME)
    acme = open_drivers({}, SECRETS, lambda: NOW)["acme"]
    with pytest.raises(PermanentError, match="more than once: acme_bmc, other_bmc"):
        acme.observe(node("acme"), 1.0)


def test_nobody_takes_the_place_of_our_own_or_a_name_that_cannot_be_given(
    install: Install,
) -> None:
    install("acme_bmc", "ipmi", "acme_five:Acme", ACME)
    install("odd_bmc", "Odd Name", "acme_six:Acme", ACME)
    assert driver_names() == DRIVERS
    ipmi = open_drivers({}, SECRETS, lambda: NOW)["ipmi"]
    assert type(ipmi).__name__ == "IpmiDriver"
    ipmi.close()


MORE = (
    ACME
    + """

class More(Acme):
    def check(self, node, check, timeout_s):
        if self.settings.get("does") == "leak":
            raise RuntimeError("the password is hunter2")
        return "too warm"

    def insert_media(self, node, url, timeout_s, replaced):
        replaced("http://elsewhere/other.iso")

    def boot_from_media(self, node, timeout_s):
        raise TemporaryError("busy")

    def eject_media(self, node, timeout_s, ours):
        return ours("x")
"""
)


def test_what_a_driver_has_beside_the_contract_is_there_and_held_to_it_too(
    install: Install,
) -> None:
    install("acme_more_dist", "more", "acme_more:More", MORE)
    install("acme_plain_dist", "plain", "acme_plain:Acme", ACME)
    ping = Check(name="ping", ping=Ping())
    opened = open_drivers({"more": {}, "plain": {}}, SECRETS, lambda: NOW)
    more, plain = opened["more"], opened["plain"]
    assert not isinstance(plain, VirtualMedia)
    assert not hasattr(plain, "check")
    assert isinstance(more, VirtualMedia)
    assert isinstance(more, Checker)
    assert more.check(node("more"), ping, 1.0) == "too warm"
    others: list[str] = []
    more.insert_media(node("more"), "http://boot/disc.iso", 1.0, others.append)
    assert others == ["http://elsewhere/other.iso"]
    with pytest.raises(TemporaryError, match="busy"):
        more.boot_from_media(node("more"), 1.0)
    assert more.eject_media(node("more"), 1.0, lambda image: image == "x")
    leaks = open_drivers({"more": {"does": "leak"}}, SECRETS, lambda: NOW)["more"]
    with pytest.raises(PermanentError, match=r"failed with RuntimeError$"):
        leaks.check(node("more"), ping, 1.0)  # type: ignore[attr-defined]
