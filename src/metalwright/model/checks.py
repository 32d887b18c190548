"""Validation checks: what a machine has to pass before it counts as what git wants, and what was
found.

A check is declared by a boot template or a pool. It is made on the machine that was just booted,
from outside (ping, SSH, HTTP) or by what the machine itself reports (facts, links, SMART, a
command); nothing on the machine is changed by it. What is not known has not passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass as plain
from dataclasses import fields
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field, Strict, StringConstraints
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticCustomError

from metalwright.model.fields import Duration, Name
from metalwright.model.grammar import CONFIG

CHECKS_MAX: Final = 32
"""Checks of one template with those of its parents, and of one pool."""

CHECK_TIMEOUT_MAX_S: Final = 600

Port = Annotated[int, Field(strict=True, ge=1, le=65_535)]
HttpPath = Annotated[str, Strict(), StringConstraints(pattern=r"^/[!-~]{0,1023}$")]
CommandLine = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=r"^[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,1023}$"),
    Field(description="One line for the machine's own shell."),
]


class Scheme(StrEnum):
    """How a web server is spoken to; the certificate of one with `https` is not verified."""

    HTTP = "http"
    HTTPS = "https"


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class PhoneHome:
    """The booted system reported that it runs this template."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class FactsMatch:
    """The hardware that the machine reported is what git declares."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Links:
    """Every interface that git declares is there, and has link."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class SmartPassed:
    """Every disk says that it is well (SMART overall health PASSED)."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Ping:
    """The node's address answers `count` ICMP echo requests, one after the other."""

    count: Annotated[int, Field(strict=True, ge=1, le=20)] = 1


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Ssh:
    """A SSH server answers with its banner (RFC 4253, section 4.2); nobody logs in."""

    port: Port = 22


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Http:
    """A web server answers a GET with this status; redirects are not followed."""

    port: Port | None = None
    path: HttpPath = "/"
    status: Annotated[int, Field(strict=True, ge=100, le=599)] = 200
    scheme: Scheme = Scheme.HTTP


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Command:
    """A command, run by the agent on the booted machine, ends with this status."""

    run: CommandLine
    exit_status: Annotated[int, Field(strict=True, ge=0, le=255)] = 0


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Check:
    """One check: a name, how long one try of it may take, and exactly one kind."""

    name: Name
    timeout: Duration = 10
    phone_home: PhoneHome | None = None
    facts: FactsMatch | None = None
    ping: Ping | None = None
    ssh: Ssh | None = None
    http: Http | None = None
    links: Links | None = None
    smart: SmartPassed | None = None
    command: Command | None = None

    def __post_init__(self) -> None:
        given = [name for name in KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise PydanticCustomError(
                "check",
                "should give one of phoneHome, facts, ping, ssh, http, links, smart and command",
            )
        if not 1 <= self.timeout <= CHECK_TIMEOUT_MAX_S:
            raise PydanticCustomError("check", "should have a timeout from 1s to 10m")

    @property
    def probe(self) -> Ping | Ssh | Http | None:
        """What is asked over the network, for a check that is made from outside."""
        return self.ping or self.ssh or self.http


KINDS: Final = tuple(field.name for field in fields(Check) if field.name not in ("name", "timeout"))
"""The fields of which a check has exactly one."""


def _named_once(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    names = [check.name for check in checks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PydanticCustomError(
            "checks",
            "should have each name once; there twice: {names}",
            {"names": ", ".join(twice)},
        )
    return checks


Checks = Annotated[tuple[Check, ...], Field(max_length=CHECKS_MAX), AfterValidator(_named_once)]


@plain(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one try of a check came to, and when it began.

    `message` says why it has not passed; it is empty when it has.
    """

    at: datetime
    passed: bool
    message: str = ""


NO_RESULT: Final = "no result yet"


def joined(*layers: Iterable[Check]) -> tuple[Check, ...]:
    """Checks of several layers, the farthest first: a nearer one takes the place of one of the
    same name.
    """
    found: dict[str, Check] = {}
    for layer in layers:
        for check in layer:
            found[check.name] = check
    return tuple(found.values())
