"""What pyghmi's error texts mean: worth another try, not worth one, or wrong credentials.

pyghmi 1.6.19 has one exception for nearly everything, `IpmiException`, and tells cases apart by its
text only: its own sentences, the RMCP+ status codes (IPMI 2.0, table 13-15) and the completion
codes (table 5-2). A text that is not in the table is worth another try and is shown as it is.
"""

from __future__ import annotations

from metalwright.errors import (
    CredentialsError,
    DriverError,
    NotSupportedError,
    PermanentError,
    TemporaryError,
)

Meaning = tuple[type[DriverError], str]

TABLE: dict[str, Meaning] = {
    # Silence. A login that times out is raised with the text "None", a command with "timeout".
    "None": (TemporaryError, "it did not answer"),
    "timeout": (TemporaryError, "it stopped answering"),
    "Session no longer connected": (TemporaryError, "it stopped answering in mid-session"),
    # Credentials.
    "Incorrect password provided": (CredentialsError, "it refused the password"),
    "Unauthorized name": (CredentialsError, "it does not know the user name"),
    "Invalid username length": (CredentialsError, "it refused the length of the user name"),
    "Invalid integrity check value": (CredentialsError, "it refused the password"),
    "Invalid RAKP4 integrity code (wrong Kg?)": (
        CredentialsError,
        "it has a BMC key (K_g) set, which is not supported",
    ),
    "Invalid role": (CredentialsError, "the account may not have operator privilege"),
    "Unauthorized role or privilege level requested": (
        CredentialsError,
        "the account may not have operator privilege",
    ),
    "User is not allowed requested privilege level": (
        CredentialsError,
        "the account may not have operator privilege",
    ),
    "Requested privilege level is not allowed over this channel": (
        CredentialsError,
        "operator privilege is not allowed over its network channel",
    ),
    "Insufficient privilege level or firmware firewall": (
        CredentialsError,
        "the account may not do this",
    ),
    # It will pass.
    "Insufficient resources to create": (TemporaryError, "all its session slots are taken"),
    "Invalid Session ID": (TemporaryError, "it forgot the session"),
    "Inactive Session ID": (TemporaryError, "it forgot the session"),
    "Node Busy": (TemporaryError, "it is busy"),
    "Timeout while processing command": (TemporaryError, "it timed out within itself"),
    "Out of storage space on BMC": (TemporaryError, "it is out of storage space"),
    "SDR repository in update mode": (TemporaryError, "it is being updated"),
    "Device in firmware update mode": (TemporaryError, "it is being updated"),
    "BMC initialization in progress": (TemporaryError, "it is starting"),
    "Command response could not be provided": (TemporaryError, "it could not answer"),
    "Cannot execute duplicated request": (TemporaryError, "it took the request for a repeat"),
    "Command not supported in present state": (
        TemporaryError,
        "it cannot do this in its present state",
    ),
    "Attempt to set set 'set in progress'": (
        TemporaryError,
        "somebody else is changing its boot options",
    ),
    "Unspecified": (TemporaryError, "it failed without a reason (completion code 0xff)"),
    # It will not pass.
    "Invalid payload type": (PermanentError, "it does not speak RMCP+ rightly"),
    "Illegal or unrecognized parameter": (PermanentError, "it does not speak RMCP+ rightly"),
    "Unauthorized GUID": (PermanentError, "it does not speak RMCP+ rightly"),
    "Invalid authentication algorithm": (PermanentError, "it has no cipher suite 3 or 17"),
    "Invalid integrity algorithm": (PermanentError, "it has no cipher suite 3 or 17"),
    "Invalid confidentiality algorithm": (PermanentError, "it has no cipher suite 3 or 17"),
    "No matching integrity payload": (PermanentError, "it has no cipher suite 3 or 17"),
    "No Cipher suite match with proposed security algorithms": (
        PermanentError,
        "it has no cipher suite 3 or 17",
    ),
    "MD5 required but not enabled/available on target BMC": (
        PermanentError,
        "it has no IPMI 2.0 over LAN",
    ),
    "Unable to transmit to specified address": (TemporaryError, "its address does not resolve"),
    "Invalid command": (NotSupportedError, "it does not know the command"),
    "Request data": (PermanentError, "it refused the length of the request"),
    "Parameter out of range": (NotSupportedError, "it refused a value"),
    "Parameter not supported": (PermanentError, "it has no boot flags"),
    "Attempt to write read-only parameter": (PermanentError, "its boot flags are read-only"),
    "Invalid data field in request": (NotSupportedError, "it refused a value"),
    "Cannot execute command because subfunction disabled": (
        NotSupportedError,
        "the function is switched off in it",
    ),
}
"""The beginning of pyghmi's text, what it means, and our words for it, which follow "the BMC ...:".
"""

NO_SLOT = "Insufficient resources to create"
"""How the text begins with which a BMC says that it has no session slot left."""

SILENCE = frozenset({"None", "timeout", "Session no longer connected"})
"""The texts that mean a time-out."""

_BY_LENGTH = sorted(TABLE, key=len, reverse=True)


def meaning_of(text: str) -> Meaning:
    """What an `IpmiException` with this text means; the longest entry that it begins with wins."""
    for beginning in _BY_LENGTH:
        if text.startswith(beginning):
            return TABLE[beginning]
    return TemporaryError, f"pyghmi says {text[:200]!r}"
