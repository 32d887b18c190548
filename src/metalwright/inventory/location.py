"""Where an inventory repository is: a directory of this machine, or a URL that git may fetch from.

Only `https`, `ssh` and `file` are spoken. `ext::` and its like run commands, `git://` and `http`
can be changed on the way. Nothing here touches a disk or a socket but one look at a directory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from metalwright.errors import RepositoryError

SCHEMES: Final = ("file", "https", "ssh")
LOCATION_LENGTH_MAX: Final = 2_048
BRANCH_LENGTH_MAX: Final = 256

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_SCP_LIKE = re.compile(
    r"^(?:([A-Za-z0-9_][A-Za-z0-9._-]*)@)?([A-Za-z0-9][A-Za-z0-9.-]*):(?!:)(.+)$"
)
_USERINFO = re.compile(r"(?<=://)[^/\s'\"@]*@")
_SCP_PASSWORD = re.compile(r"(?<=[A-Za-z0-9._-]):[^\s:/@]+(?=@)")


@dataclass(frozen=True, slots=True)
class Location:
    """Either `directory` (read straight from its objects) or `url` (fetched into a mirror)."""

    shown: str
    directory: Path | None = None
    url: str | None = None


def parse_location(text: str) -> Location:
    """The location that `text` spells.

    Raises:
        RepositoryError: a scheme that is not spoken, or text that git could take for an option.
    """
    if not text or len(text) > LOCATION_LENGTH_MAX or not text.isprintable():
        raise RepositoryError(
            "the location of the repository should be a directory or a URL in printable characters"
        )
    if text.startswith("-"):
        raise RepositoryError("the location of the repository begins with '-'")
    scheme = _SCHEME.match(text)
    if scheme is not None:
        return _url(text, scheme[1].lower())
    if "::" in text and not Path(text).exists():
        raise RepositoryError(
            f"{without_secrets(text)} names a remote helper of git, which could run commands;"
            f" use one of {', '.join(SCHEMES)}"
        )
    scp_like = _SCP_LIKE.match(text)
    if scp_like is not None and "/" not in text.partition(":")[0] and not Path(text).exists():
        return Location(shown=without_secrets(text), url=text)
    return Location(shown=text, directory=Path(text).expanduser())


def _url(text: str, scheme: str) -> Location:
    shown = without_secrets(text)
    if scheme not in SCHEMES:
        raise RepositoryError(
            f"{shown}: the scheme {scheme!r} is not spoken; use one of {', '.join(SCHEMES)}"
        )
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError as error:
        raise RepositoryError(f"{shown} is not a URL: {error}") from None
    if scheme == "file":
        if host or not parts.path.startswith("/"):
            raise RepositoryError(f"{shown} should have three slashes and an absolute path")
    elif not host or host.startswith("-") or not parts.path.strip("/"):
        raise RepositoryError(f"{shown} should name a host and a repository")
    elif (parts.username or "").startswith("-"):
        raise RepositoryError(f"{shown} has a user name that begins with '-'")
    return Location(shown=shown, url=text)


def without_secrets(text: str) -> str:
    """The text with the user and password of every URL in it taken out."""
    return _SCP_PASSWORD.sub(":***", _USERINFO.sub("***@", text))


def checked_branch(branch: str) -> str:
    """A branch name that git allows (the rules of `git check-ref-format`).

    Raises:
        RepositoryError: it is none.
    """
    bad = (
        not branch
        or len(branch) > BRANCH_LENGTH_MAX
        or branch[0] in "-/."
        or branch.endswith(("/", ".", ".lock"))
        or any(part in branch for part in ("..", "//", "@{", "/.", ".lock/"))
        or re.search(r"[\x00-\x20\x7f~^:?*\[\\]", branch) is not None
        or branch == "@"
    )
    if bad:
        raise RepositoryError(f"{branch[:BRANCH_LENGTH_MAX]!r} is not the name of a branch")
    return branch
