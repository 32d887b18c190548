"""What goes wrong with a Redfish service, in our words: worth another try, not worth one, or wrong
credentials.

One table for sushy's exceptions, one for the statuses of HTTP. What a service says of itself is
shown as it is, up to a length, without the credentials that it may repeat.
"""

from __future__ import annotations

from typing import Any, Final

from metalwright.drivers.credentials import Credentials
from metalwright.drivers.redfish_http import ExchangeError, SilenceError, UntrustedError
from metalwright.errors import CredentialsError, DriverError, PermanentError, TemporaryError

Meaning = tuple[type[DriverError], str]

TEXT_MAX: Final = 200

STATUSES: Final[dict[int, Meaning]] = {
    400: (PermanentError, "it refused a value"),
    401: (CredentialsError, "it refused the user name or the password"),
    403: (CredentialsError, "the account may not do this"),
    404: (PermanentError, "it does not have what was asked for"),
    405: (PermanentError, "it does not know how to do this"),
    408: (TemporaryError, "it timed out within itself"),
    409: (TemporaryError, "it cannot do this in its present state"),
    412: (TemporaryError, "somebody else is changing this"),
    423: (TemporaryError, "somebody else has locked this"),
    425: (TemporaryError, "it is not ready yet"),
    428: (TemporaryError, "it wants an ETag and gave none"),
    429: (TemporaryError, "it is asked too often"),
    500: (TemporaryError, "it failed within itself"),
    501: (PermanentError, "it does not know how to do this"),
    502: (TemporaryError, "it failed within itself"),
    503: (TemporaryError, "it is busy or starting"),
    504: (TemporaryError, "it timed out within itself"),
}

CLASSES: Final[dict[str, Meaning]] = {
    "ConnectionError": (TemporaryError, "it did not answer"),
    "MissingAttributeError": (TemporaryError, "its answer lacks a part"),
    "MalformedAttributeError": (TemporaryError, "its answer cannot be understood"),
    "MissingHeaderError": (TemporaryError, "its answer lacks a part"),
    "MissingXAuthToken": (TemporaryError, "its answer lacks a part"),
    "MissingActionError": (PermanentError, "it does not know how to do this"),
    "InvalidParameterValueError": (PermanentError, "it does not offer this"),
    "ArchiveParsingError": (TemporaryError, "its answer cannot be understood"),
    "UnknownDefaultError": (PermanentError, "it has more than one of what should be one"),
    "ExtensionError": (PermanentError, "sushy failed"),
    "OEMExtensionNotFoundError": (PermanentError, "sushy failed"),
}
"""sushy's exceptions that are no status, by the name of their class."""

_PASSING: Final = (
    "SYS518",
    "InvalidOperationForSystemState",
    "ResourceInUse",
    "NotReady",
    "SYS446",
)
"""In a refusal (400) that will pass: iDRAC, iLO and others are not ready for a time after a power
change and say it with the wrong status.
"""

_LOGIN: Final = (
    "UnauthorizedLogin",
    "NoValidSession",
    "InvalidCredential",
    "AuthenticationFailure",
)
"""In a refusal of a login with another status than 401: iLO answers 400."""

_SLOTS: Final = ("SessionLimitExceeded", "MaximumNumberOfSessions", "SYS415", "RAC0218")


def meaning_of(error: Exception) -> Meaning:
    """What an exception of a call means, and our words for it, which follow "the BMC ...: "."""
    if isinstance(error, UntrustedError):
        hint = "name its authority in drivers.redfish.ca_file, or set spec.bmc.verifyCa: false"
        return PermanentError, f"{error}; {hint}"
    if isinstance(error, ExchangeError):
        return TemporaryError, str(error)
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _meaning_of_status(status, error)
    found = CLASSES.get(type(error).__name__)
    if found is not None and type(error).__module__ == "sushy.exceptions":
        return found[0], f"{found[1]}: {_short(str(error))}"
    # KeyError, TypeError, AttributeError: sushy reads answers without looking. Only the name: the
    # text of such an error can carry anything.
    return TemporaryError, f"its answer cannot be understood ({type(error).__name__})"


def _meaning_of_status(status: int, error: Exception) -> Meaning:
    kind, words = STATUSES.get(
        status, (TemporaryError if status >= 500 else PermanentError, "it refused")
    )
    said = said_by(error)
    if any(word in said for word in _SLOTS):
        kind, words = TemporaryError, "all its session slots are taken"
    elif kind is PermanentError and any(word in said for word in _PASSING):
        kind = TemporaryError
    detail = getattr(error, "detail", None)
    told = f": {_short(detail)}" if isinstance(detail, str) and detail else ""
    return kind, f"{words} (HTTP {status}{told})"


def refuses_login(error: Exception) -> bool:
    """Whether this answer to a login means wrong credentials."""
    status = getattr(error, "status_code", None)
    return status in (401, 403) or (
        status == 400 and any(word in said_by(error) for word in _LOGIN)
    )


def said_by(error: Exception) -> str:
    """All that the service said with a refusal, for looking up words in."""
    body: Any = getattr(error, "body", None)
    return str(body) if body else ""


def translated(error: Exception, name: str, credentials: Credentials | None) -> DriverError:
    """`error` as one of ours. It is no cause of it: its text could carry credentials."""
    kind, words = (type(error), str(error)) if isinstance(error, DriverError) else meaning_of(error)
    if credentials is not None:
        for secret in (credentials.password, credentials.username):
            words = words.replace(secret, "***")
    found = kind(f"{name}: {words}")
    if isinstance(error, SilenceError):
        found.__cause__ = TimeoutError("no answer in time")
    return found


def _short(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= TEXT_MAX else f"{plain[:TEXT_MAX]}..."
