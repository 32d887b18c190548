"""What goes wrong, in our words: every exception of sushy has a meaning, and no secret shows."""

from __future__ import annotations

import inspect
import json
from email.message import Message

import pytest
from sushy import exceptions

from metalwright.drivers.credentials import Credentials
from metalwright.drivers.redfish_errors import CLASSES, STATUSES, TEXT_MAX, meaning_of, translated
from metalwright.drivers.redfish_http import (
    ExchangeError,
    Response,
    SilenceError,
    UntrustedError,
)
from metalwright.errors import CredentialsError, PermanentError, TemporaryError

LOGIN = Credentials(username="ada-lovelace", password="calvin-42", version="v1")


def refused(status: int, message: str = "", code: str = "Base.1.0.GeneralError") -> Exception:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    try:
        exceptions.raise_for_response("POST", "/x", Response(status, Message(), body))
    except exceptions.HTTPError as error:
        return error
    raise AssertionError("not refused")


def test_every_exception_of_sushy_has_a_meaning() -> None:
    classes = [each for _, each in inspect.getmembers(exceptions, inspect.isclass)]
    ours = {each.__name__ for each in classes if issubclass(each, exceptions.SushyError)}
    by_status = {each.__name__ for each in classes if issubclass(each, exceptions.HTTPError)} - {
        "MissingXAuthToken"
    }
    assert ours - by_status - {"SushyError"} == set(CLASSES)


@pytest.mark.parametrize("status", range(400, 600))
def test_every_status_has_a_meaning(status: int) -> None:
    kind, words = meaning_of(refused(status, "because"))
    expected = STATUSES.get(status, (TemporaryError if status >= 500 else PermanentError, ""))[0]
    assert kind is expected
    assert words.endswith(f"(HTTP {status}: because)")
    assert (kind is CredentialsError) == (status in (401, 403))


@pytest.mark.parametrize(
    "said", ["SYS518: iDRAC is not ready", "iLO.InvalidOperationForSystemState"]
)
def test_a_wrong_status_for_not_ready_is_seen_through(said: str) -> None:
    assert meaning_of(refused(400, said))[0] is TemporaryError


def test_other_exceptions_show_their_name_only() -> None:
    kind, words = meaning_of(KeyError("the password is hunter2"))
    assert (kind, words) == (TemporaryError, "its answer cannot be understood (KeyError)")


def test_a_time_out_is_told_as_one() -> None:
    found = translated(SilenceError("it did not answer in time"), "BMC x:443", LOGIN)
    assert isinstance(found, TemporaryError)
    assert isinstance(found.__cause__, TimeoutError)
    assert str(found) == "BMC x:443: it did not answer in time"


def test_an_untrusted_certificate_says_what_to_do() -> None:
    found = translated(UntrustedError("its certificate is not to be trusted: x"), "BMC x", LOGIN)
    assert type(found) is PermanentError
    assert "drivers.redfish.ca_file" in str(found)


@pytest.mark.parametrize(
    "error",
    [
        refused(400, "ada-lovelace may not calvin-42"),
        ExchangeError("calvin-42"),
        PermanentError("ada-lovelace calvin-42"),
        exceptions.MissingAttributeError(attribute="calvin-42", resource="x"),
    ],
)
def test_credentials_are_never_shown(error: Exception) -> None:
    shown = translated(error, "BMC x", LOGIN)
    assert "calvin-42" not in f"{shown} {shown!r}"
    assert "ada-lovelace" not in f"{shown} {shown!r}"
    assert shown.__cause__ is None


def test_long_texts_are_cut() -> None:
    assert len(str(translated(refused(500, "long " * 10_000), "BMC x", None))) < TEXT_MAX + 100
