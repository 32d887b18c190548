"""The scalar types of the documents: names, addresses, durations, instants.

Each refuses what it cannot mean and says what would be right, because its message is what an author
of a pull request reads. Scalars are strict: a number is never taken for a string.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    Strict,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from metalwright.model.frozen import FrozenDict

NAME_PATTERN = r"^[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?$"
MAC_PATTERN = r"^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$"
SHA256_PATTERN = r"^[0-9a-f]{64}$"
UUID_PATTERN = r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
LABEL_KEY_PATTERN = r"^[a-zA-Z0-9]([a-zA-Z0-9._/-]{0,251}[a-zA-Z0-9])?$"
CREDENTIALS_PATTERN = (
    r"^((age|directory|environment|vault):)?[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$"
)
HOST_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$"
HOST_PORT_PATTERN = r"^[a-z0-9\[]([a-z0-9.:\[\]-]{0,257}[a-z0-9\]])?$"

_DURATION = re.compile(r"(?:([0-9]{1,5})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,7})m)?(?:([0-9]{1,9})s)?")
_INSTANT_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})$"
)
WRITTEN: Final = FrozenDict({"written": True})
"""The validation context of a document that a person wrote, as opposed to values built in code."""

_DURATION_MAX_S = 10 * 366 * 86_400


def parse_duration(value: Any) -> int:
    """Seconds of a duration such as `90s`, `5m`, `1h30m` or `2d`.

    Raises:
        PydanticCustomError: not a duration, or longer than ten years.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value  # already validated: a value built in code, in seconds
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise PydanticCustomError("duration", "should be a duration such as 90s, 5m, 1h30m or 2d")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    total = days * 86_400 + hours * 3_600 + minutes * 60 + seconds
    if total > _DURATION_MAX_S:
        raise PydanticCustomError("duration", "should be ten years at most")
    return total


def _read_duration(value: Any, info: ValidationInfo) -> int:
    # "boot: 20" is twenty of what? Only code, whose unit is seconds, may give a bare number.
    if info.context is WRITTEN and not isinstance(value, str):
        raise PydanticCustomError("duration", "should be a duration such as 90s, 5m, 1h30m or 2d")
    return parse_duration(value)


def format_duration(seconds: int) -> str:
    """The shortest spelling of a whole number of seconds: `5400` is `1h30m`, `0` is `0s`."""
    rest, parts = int(seconds), []
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_instant(value: Any) -> datetime:
    """An instant in UTC from RFC 3339 text with a zone, such as `2026-11-20T08:00:00+01:00`.

    Raises:
        PydanticCustomError: not a string, not such a text, no zone, or no such date.
    """
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    if not isinstance(value, str) or not re.fullmatch(_INSTANT_PATTERN, value):
        raise PydanticCustomError(
            "instant", "should be an instant with a zone, such as 2026-11-20T08:00:00+01:00"
        )
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise PydanticCustomError(
            "instant", "is not a date of the calendar: {error}", {"error": str(error)}
        ) from error


def format_instant(value: datetime) -> str:
    """RFC 3339 in UTC with a `Z`, to the second unless it has a fraction."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _address(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    if not re.fullmatch(HOST_PATTERN, value) or re.fullmatch(r"[0-9.]+", value):
        raise PydanticCustomError(
            "address", "should be an IP address or a host name, without scheme, port or path"
        )
    return value.lower()


Text = Annotated[str, Strict(), StringConstraints(min_length=1, max_length=4_096)]
LongText = Annotated[str, Strict(), StringConstraints(max_length=262_144)]
Name = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=NAME_PATTERN),
    Field(description="Lower-case letters, digits, '.', '_' and '-', as a host name."),
]
Mac = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=MAC_PATTERN, to_lower=True),
    Field(description="Six pairs of hexadecimal digits with colons."),
]
Sha256 = Annotated[str, Strict(), StringConstraints(pattern=SHA256_PATTERN)]
SystemUuid = Annotated[str, Strict(), StringConstraints(pattern=UUID_PATTERN, to_lower=True)]
Address = Annotated[str, Strict(), StringConstraints(max_length=253), AfterValidator(_address)]
CredentialsRef = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=CREDENTIALS_PATTERN, max_length=253),
    Field(description="A reference such as bmc/rack-a; the secret itself is never in git."),
]
Url = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=r"^(https?|file)://[^\s]+$", max_length=2_048),
]
Bool = Annotated[bool, Strict()]
Count = Annotated[int, Strict(), Field(ge=1, le=100_000)]
Percent = Annotated[int, Strict(), Field(ge=0, le=100)]
Priority = Annotated[int, Strict(), Field(ge=0, le=1_000)]
Duration = Annotated[
    int,
    BeforeValidator(_read_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": r"^([0-9]{1,5}d)?([0-9]{1,6}h)?([0-9]{1,7}m)?([0-9]{1,9}s)?$",
            "minLength": 2,
            "examples": ["90s", "5m", "1h30m", "2d"],
        }
    ),
]
Instant = Annotated[
    datetime,
    BeforeValidator(parse_instant),
    PlainSerializer(format_instant, return_type=str, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": _INSTANT_PATTERN,
            "examples": ["2026-11-20T08:00:00+01:00"],
        }
    ),
]
LabelKey = Annotated[str, Strict(), StringConstraints(pattern=LABEL_KEY_PATTERN)]
LabelValue = Annotated[str, Strict(), StringConstraints(max_length=253)]
Labels = Annotated[dict[LabelKey, LabelValue], AfterValidator(FrozenDict)]
Annotations = Annotated[
    dict[LabelKey, Annotated[str, Strict(), StringConstraints(max_length=4_096)]],
    AfterValidator(FrozenDict),
]
