"""Every text of the table can come from pyghmi, and what pyghmi can say is in the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pyghmi.ipmi.private import constants, session

from metalwright.drivers.credentials import Credentials
from metalwright.drivers.ipmi_answers import translated
from metalwright.drivers.ipmi_errors import SILENCE, TABLE, meaning_of
from metalwright.errors import (
    CredentialsError,
    NotSupportedError,
    PermanentError,
    TemporaryError,
)

CHASSIS_ANSWER, APPLICATION_ANSWER = 1, 7
ASKED = {(CHASSIS_ANSWER, 1), (CHASSIS_ANSWER, 2), (CHASSIS_ANSWER, 8), (CHASSIS_ANSWER, 9)}
ASKED |= {(APPLICATION_ANSWER, 0x37), (APPLICATION_ANSWER, 0x38), (APPLICATION_ANSWER, 0x3B)}

NOT_AN_ERROR = {"Success", "Timeout"}
SESSIONLESS = {"Cannot return number of requested data bytes"}
SENSORS_ONLY = {
    "Invalid command for given LUN",
    "Reservation canceled or invalid reservation ID",
    "Requested sensor, data, or record not present",
    "Command illegal for specified sensor or record type",
    "Internal destination unavailable",
    "Cannot disable user level authentication",
}


def said_by_pyghmi() -> set[str]:
    """Every text that an `IpmiException` of a session of ours can begin with."""
    texts = set(constants.rmcp_codes.values()) | set(constants.ipmi_completion_codes.values())
    for command in ASKED:
        texts |= set(constants.command_completion_codes.get(command, {}).values())
    source = Path(session.__file__).read_text()
    literals = re.findall(r'"((?:[^"\\\n]|\\.)+)"|\'((?:[^\'\\\n]|\\.)+)\'', source)
    return texts | {double or single for double, single in literals} | {"None"}


@pytest.mark.parametrize("beginning", TABLE)
def test_every_entry_is_a_text_of_pyghmi(beginning: str) -> None:
    assert any(text.startswith(beginning) for text in said_by_pyghmi())


def test_every_rmcp_status_and_completion_code_has_a_meaning() -> None:
    codes = set(constants.rmcp_codes.values()) | set(constants.ipmi_completion_codes.values())
    for command in ASKED:
        codes |= set(constants.command_completion_codes.get(command, {}).values())
    untold = {text for text in codes if "pyghmi says" in meaning_of(text)[1]}
    assert untold <= NOT_AN_ERROR | SESSIONLESS | SENSORS_ONLY


def test_a_session_that_times_out_is_raised_as_the_text_none() -> None:
    source = Path(session.__file__).read_text()
    assert "raise exc.IpmiException(self.errormsg)" in source
    assert "self.errormsg = error" in source
    assert meaning_of("None")[0] is TemporaryError


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Unauthorized name in RAKP2", CredentialsError),
        ("Invalid integrity check value reported in RAKP4", CredentialsError),
        ("Incorrect password provided", CredentialsError),
        ("User is not allowed requested privilege level while requesting x", CredentialsError),
        (constants.rmcp_codes[1], TemporaryError),
        (constants.rmcp_codes[0xB], TemporaryError),
        (constants.rmcp_codes[0x11], PermanentError),
        ("Invalid command", NotSupportedError),
        ("Invalid command for given LUN", NotSupportedError),
        ("Invalid data field in request", NotSupportedError),
        ("Command not supported in present state", TemporaryError),
        ("Node Busy", TemporaryError),
    ],
)
def test_texts_with_something_behind_them_are_understood(text: str, kind: type) -> None:
    assert meaning_of(text)[0] is kind


def test_an_unknown_text_is_temporary_and_kept() -> None:
    kind, words = meaning_of("The flux capacitor is empty")
    assert kind is TemporaryError
    assert "The flux capacitor is empty" in words
    assert len(meaning_of("x" * 10_000)[1]) < 300


def test_only_what_needs_other_credentials_is_a_matter_of_credentials() -> None:
    """A node is not asked again after such an error, so it must not come from a busy BMC."""
    told = {beginning for beginning, (kind, _words) in TABLE.items() if kind is CredentialsError}
    words = ("name", "password", "privilege", "role", "integrity", "Kg")
    assert all(any(word in beginning for word in words) for beginning in told)
    assert not told & SILENCE


def test_what_a_bmc_does_not_know_at_the_login_says_nothing_of_what_was_asked_for() -> None:
    login = Credentials(username="ada-lovelace", password="calvin-42", version="1")
    answer = {"error": "ipmi", "text": "Invalid command", "login": True}
    assert type(translated("BMC x", answer, login)) is PermanentError
    assert type(translated("BMC x", answer | {"login": False}, login)) is NotSupportedError
