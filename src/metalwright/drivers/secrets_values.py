"""What every provider of secrets shares: what it promises, its errors, and what a value may be.

A secret is either a user name and a password, or one value. A provider is asked for the parts it
needs and never for a list of what it has. No error carries a value.
"""

from __future__ import annotations

from typing import Final, Protocol

from metalwright.errors import SettingsError

VALUE_BYTES_MAX = 4_096
"""Of a user name or a password; one of `VALUE` may be longer, such as a key."""

TEXT_BYTES_MAX = 65_536

LOGIN: Final = ("username", "password")
VALUE: Final = ("value",)


class SecretError(SettingsError):
    """A provider has no usable secret of a name; says why, without the name and the value."""


class SecretsDownError(SettingsError):
    """A provider cannot be asked now; what it has is not known. Worth another try."""


class Provider(Protocol):
    """One place where secrets are kept. Called from many threads at once."""

    @property
    def name(self) -> str:
        """As it stands in the settings, and before the colon of a reference."""

    def find(self, ref: str, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """The parts of a secret, or `None` where there is none of that name.

        Raises:
            SecretError: there is one, and it is not fit for use.
            SecretsDownError: nobody can tell now.
        """

    def peek(self, ref: str, parts: tuple[str, ...]) -> tuple[str, ...] | None:
        """What `find` would say as far as it is known without waiting for a network."""

    def place(self, ref: str, parts: tuple[str, ...]) -> str:
        """Where the secret would be, for people."""


def checked(raw: bytes, part: str, place: str) -> str:
    """The text of one part, without the end of its last line, from what stood in `place`.

    A user name or a password is one line; a value may have several.

    Raises:
        SecretError: empty, too long, no UTF-8, or with control characters.
    """
    limit = TEXT_BYTES_MAX if part in VALUE else VALUE_BYTES_MAX
    if len(raw) > limit:
        raise SecretError(f"{place} has more than {limit} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        # no cause: it would carry the bytes
        raise SecretError(f"{place} is not UTF-8 text") from None
    text = text.removesuffix("\n").removesuffix("\r")
    allowed = "\t\r\n" if part in VALUE else ""
    if not text or any(each < " " and each not in allowed for each in text):
        what = "text" if part in VALUE else "one line of text"
        raise SecretError(f"{place} should be {what}")
    return text
