"""What was refused is remembered by version, bounded, and told by its reference."""

from __future__ import annotations

import pytest

from metalwright.drivers.credentials import Credentials
from metalwright.drivers.redfish_refusals import REFUSALS_MAX, SHOWN_MAX, Login, Refusals
from metalwright.errors import CredentialsError


def login(bmc: str, version: str = "v1") -> Login:
    credentials = Credentials(username="canary-u", password="canary-p", version=version)
    return Login(f"BMC {bmc}:443", "bmc/a", credentials)


def test_another_version_is_tried_and_the_one_that_is_taken_ends_the_alert() -> None:
    refusals = Refusals()
    refusals.refused(login("a"))
    with pytest.raises(CredentialsError, match=r"bmc/a.*SIGHUP"):
        refusals.stop_if_refused(login("a"))
    refusals.stop_if_refused(login("b"))
    refusals.stop_if_refused(login("a", "v2"))
    assert refusals.alerts(), "nobody has taken anything yet"
    refusals.accepted(login("a", "v2"))
    assert refusals.alerts() == ()


def test_a_few_bmcs_are_named_and_the_others_counted_without_any_secret() -> None:
    refusals = Refusals()
    for number in range(SHOWN_MAX + 2):
        refusals.refused(login(f"10.0.0.{number}"))
    (alert,) = refusals.alerts()
    assert "bmc/a were refused by BMC 10.0.0.0:443, " in alert
    assert "and 2 more" in alert
    assert "canary" not in alert


def test_so_many_are_remembered_and_no_more() -> None:
    refusals = Refusals()
    for number in range(REFUSALS_MAX + 1):
        refusals.refused(login(str(number)))
    refusals.stop_if_refused(login("0"))
    with pytest.raises(CredentialsError):
        refusals.stop_if_refused(login("1"))
