"""Scalars: what they mean, what they refuse, and that writing and reading agree."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from metalwright.model import fields
from metalwright.model.fields import (
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
)
from metalwright.model.frozen import FrozenDict


def read(scalar: Any, value: object) -> Any:
    return TypeAdapter(scalar).validate_python(value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0),
        ("90s", 90),
        ("5m", 300),
        ("1h30m", 5_400),
        ("2d", 172_800),
        ("1d2h3m4s", 93_784),
        ("3660d", 3_660 * 86_400),
    ],
)
def test_durations(text: str, seconds: int) -> None:
    assert read(fields.Duration, text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        *("", "5", "m", "5 m", "5m\n", " 5m", "-5m", "1.5h", "5M", "30m1h", "5m5m", "1w", "PT5M"),
        *("\uff15m", "3661d", "99999d", True, None, 1.5, -1, []),
    ],
)
def test_refused_durations(value: object) -> None:
    with pytest.raises(ValidationError, match="should be"):
        read(fields.Duration, value)


def test_a_bare_number_is_seconds_in_code_and_refused_where_a_person_wrote_it() -> None:
    adapter = TypeAdapter(fields.Duration)
    assert adapter.validate_python(300) == 300
    assert adapter.validate_python("5m", context=fields.WRITTEN) == 300
    with pytest.raises(ValidationError, match="such as 90s"):
        adapter.validate_python(300, context=fields.WRITTEN)


@given(st.integers(0, 3_660 * 86_400))
def test_a_duration_survives_writing_and_reading(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-20T08:00:00Z", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20T08:00Z", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20T08:00:00+01:00", datetime(2026, 11, 20, 7, tzinfo=UTC)),
        ("2026-11-20T00:30:00+05:30", datetime(2026, 11, 19, 19, tzinfo=UTC)),
        ("2026-11-20T08:00:00.250000-00:30", datetime(2026, 11, 20, 8, 30, 0, 250_000, UTC)),
        ("2028-02-29T00:00:00Z", datetime(2028, 2, 29, tzinfo=UTC)),
    ],
)
def test_instants(text: str, utc: datetime) -> None:
    read_back = read(fields.Instant, text)
    assert read_back == utc
    assert read_back.tzinfo is UTC


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-20",
        "2026-11-20T08:00:00",  # no zone: whose eight o'clock?
        "2026-11-20 08:00:00Z",
        "2026-11-20T08:00:00z",
        "2026-11-20T08:00:00Z\n",
        "2026-11-20T24:00:00Z",
        "2026-11-20T08:60:00Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-11-20T08:00:00+25:00",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "0000-01-01T00:00:00Z",
        "\uff12026-11-20T08:00:00Z",
        "20261120T080000Z",
        "",
        1_763_625_600,
        None,
        datetime(2026, 11, 20),  # noqa: DTZ001 a time without a zone is what is refused
    ],
)
def test_refused_instants(value: object) -> None:
    with pytest.raises(ValidationError):
        read(fields.Instant, value)


@given(
    st.datetimes(
        datetime(1, 1, 3),  # noqa: DTZ001 hypothesis adds the zone
        datetime(9999, 12, 28),  # noqa: DTZ001
        timezones=st.integers(-1_439, 1_439).map(lambda m: timezone(timedelta(minutes=m))),
    )
)
def test_an_instant_survives_writing_and_reading(instant: datetime) -> None:
    assert parse_instant(format_instant(instant)) == instant


@given(st.one_of(st.text(max_size=40), st.text(alphabet="0123456789-T:Z+.dhms", max_size=30)))
def test_no_text_does_anything_but_mean_a_time_or_be_refused(text: str) -> None:
    for parse in (parse_duration, parse_instant):
        with suppress(PydanticCustomError):
            parse(text)


@pytest.mark.parametrize(
    ("scalar", "value", "meaning"),
    [
        (fields.Name, "r640-01", "r640-01"),
        (fields.Name, "0", "0"),
        (fields.Name, "a" * 253, "a" * 253),
        (fields.Mac, "52:54:00:AB:cd:ef", "52:54:00:ab:cd:ef"),
        (fields.Address, "10.20.1.1", "10.20.1.1"),
        (fields.Address, "FE80::0001", "fe80::1"),
        (fields.Address, "BMC-01.Example.NET", "bmc-01.example.net"),
        (fields.CredentialsRef, "bmc/rack-a", "bmc/rack-a"),
        (fields.Url, "https://images.example.net/x?y=1", "https://images.example.net/x?y=1"),
        (fields.Url, "file:///srv/images/x", "file:///srv/images/x"),
        (fields.Sha256, "0" * 64, "0" * 64),
        (
            fields.SystemUuid,
            "4C4C4544-0042-3510-8054-B4C04F4E5331",
            "4c4c4544-0042-3510-8054-b4c04f4e5331",
        ),
        (fields.Count, 1, 1),
        (fields.Percent, 0, 0),
        (fields.Priority, 1_000, 1_000),
        (fields.Text, "\u00e9", "\u00e9"),
    ],
)
def test_accepted(scalar: Any, value: object, meaning: object) -> None:
    assert read(scalar, value) == meaning


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        (fields.Name, "R640"),
        (fields.Name, "-a"),
        (fields.Name, "a-"),
        (fields.Name, "a b"),
        (fields.Name, "a\n"),
        (fields.Name, ""),
        (fields.Name, "a" * 254),
        (fields.Name, 640),
        (fields.Mac, "52-54-00-ab-cd-ef"),
        (fields.Mac, "52:54:00:ab:cd"),
        (fields.Mac, "52:54:00:ab:cd:ef\n"),
        (fields.Mac, 41_135_085_296),  # what YAML 1.1 makes of 52:54:00:12:34:56
        (fields.Address, ""),
        (fields.Address, "https://bmc"),
        (fields.Address, "bmc:623"),
        (fields.Address, "bmc/x"),
        (fields.Address, "bmc\n"),
        (fields.Address, "10.20.1"),
        (fields.Address, "10.20.1.256"),
        (fields.Address, "user@bmc"),
        (fields.CredentialsRef, "/etc/passwd"),
        (fields.CredentialsRef, "bmc/../x"),
        (fields.CredentialsRef, "bmc//x"),
        (fields.CredentialsRef, "hunter2!"),
        (fields.Url, "ftp://x/y"),
        (fields.Url, "http://"),
        (fields.Url, "https://x/a b"),
        (fields.Sha256, "0" * 63),
        (fields.Sha256, "G" * 64),
        (fields.SystemUuid, "4c4c4544004235108054b4c04f4e5331"),
        (fields.Count, 0),
        (fields.Count, "1"),
        (fields.Count, 1.0),
        (fields.Count, True),
        (fields.Percent, 101),
        (fields.Priority, -1),
        (fields.Text, ""),
        (fields.Text, 12_000),
        (fields.Bool, "on"),
        (fields.Bool, 1),
        (fields.Labels, {"-a": "b"}),
        (fields.Labels, {"a": 1}),
    ],
)
def test_refused(scalar: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        read(scalar, value)


def test_labels_are_frozen() -> None:
    assert isinstance(read(fields.Labels, {"rack": "a01"}), FrozenDict)
