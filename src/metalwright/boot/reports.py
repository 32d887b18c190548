"""A machine's report as it comes in: JSON of a stranger, made into a value or refused.

Nothing of it is believed but that the machine says so. Every text is cut and made printable: it is
shown to people and written to the journal.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from metalwright.model.report import CheckResult, DiskFact, DiskWipe, Facts, NicFact, Phase, Smart

TEXT_MAX: Final = 200
DISKS_MAX: Final = 256
NICS_MAX: Final = 256
CHECKS_MAX: Final = 64
NUMBER_MAX: Final = 2**63 - 1


def printable(text: str, most: int = TEXT_MAX) -> str:
    """The text in printable ASCII, cut."""
    return "".join(each if " " <= each <= "~" else "?" for each in text[:most]).strip()


def _cut(most: int) -> Callable[[Any], Any]:
    return lambda value: printable(value, most) if isinstance(value, str) else value


def _uuid(value: str | None) -> str | None:
    """A UUID in its one spelling; `None` for any other text, which tells no machine apart."""
    try:
        return str(uuid.UUID(value)) if value else None
    except ValueError:
        return None


def _lower(value: str) -> str:
    return value.lower()


Said = Annotated[str, BeforeValidator(_cut(TEXT_MAX))]
Message = Annotated[str, BeforeValidator(_cut(1_000))]
Number = Annotated[int, Field(ge=0, le=NUMBER_MAX)]
Mac = Annotated[
    str, Field(pattern=r"^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5,19}$"), AfterValidator(_lower)
]
DeviceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.!:-]{0,63}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Disk(_Part):
    name: DeviceName
    serial: Said | None = None
    bytes: Number | None = None
    rotational: bool | None = None
    smart: Smart | None = None
    transport: Said | None = None


class _Nic(_Part):
    name: DeviceName
    mac: Mac
    link: bool | None = None


class _Facts(_Part):
    vendor: Said | None = None
    model: Said | None = None
    serial: Said | None = None
    system_uuid: Said | None = None
    cpu_arch: Said | None = None
    cpus: Number | None = None
    memory_mib: Number | None = None
    disks: Annotated[tuple[_Disk, ...], Field(max_length=DISKS_MAX)] = ()
    nics: Annotated[tuple[_Nic, ...], Field(max_length=NICS_MAX)] = ()


class _Wipe(_Part):
    name: DeviceName
    serial: Said | None = None
    bytes: Number
    method: Said
    verified: bool
    message: Message = ""


class _Check(_Part):
    name: Said
    exit_status: Annotated[int, Field(ge=0, le=255)]
    message: Message = ""


class ReportBody(_Part):
    """What the agent posts. See `boot/agent/mw-agent`."""

    phase: Phase
    boot_id: Annotated[str, Field(pattern=r"^[0-9A-Za-z-]{1,64}$")]
    message: Message = ""
    facts: _Facts | None = None
    wipes: Annotated[tuple[_Wipe, ...], Field(max_length=DISKS_MAX)] = ()
    checks: Annotated[tuple[_Check, ...], Field(max_length=CHECKS_MAX)] = ()

    def its_facts(self) -> Facts | None:
        """The hardware that the machine reports; an empty text is none."""
        if self.facts is None:
            return None
        values = self.facts.model_dump(exclude={"disks", "nics"})
        values["system_uuid"] = _uuid(values["system_uuid"])
        return Facts(
            **{name: None if value == "" else value for name, value in values.items()},
            disks=tuple(DiskFact(**disk.model_dump()) for disk in self.facts.disks),
            nics=tuple(NicFact(**nic.model_dump()) for nic in self.facts.nics),
        )

    def its_wipes(self) -> tuple[DiskWipe, ...]:
        """The evidence that it gives."""
        return tuple(DiskWipe(**wipe.model_dump()) for wipe in self.wipes)

    def its_checks(self) -> tuple[CheckResult, ...]:
        """What the commands that it was asked to run came to."""
        return tuple(CheckResult(**check.model_dump()) for check in self.checks)


def parse(body: bytes) -> ReportBody | str:
    """The report, or in words why it is none."""
    try:
        return ReportBody.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the body"
        return printable(f"{where}: {first['msg']}")
