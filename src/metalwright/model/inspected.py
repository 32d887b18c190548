"""Who a machine is and what it has, as it says itself (Ironic's inspection). Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the machine says it is; what it did not say is `None` or empty."""

    serial: str | None = None
    system_uuid: str | None = None
    macs: tuple[str, ...] = ()


class Smart(StrEnum):
    """A disk's own verdict about itself (SMART overall health)."""

    PASSED = "PASSED"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskFact:
    """One disk that the machine has; what it does not tell is `None`.

    `transport` is how it is attached: `local`, or what leads to it, as `fc` and `iscsi`.
    """

    name: str
    serial: str | None = None
    bytes: int | None = None
    rotational: bool | None = None
    smart: Smart | None = None
    transport: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NicFact:
    """One network interface that the machine has; `link` is whether its cable carries one."""

    name: str
    mac: str
    link: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The hardware as the machine's own system sees it; what it does not tell is `None`."""

    vendor: str | None = None
    model: str | None = None
    serial: str | None = None
    system_uuid: str | None = None
    cpu_arch: str | None = None
    cpus: int | None = None
    memory_mib: int | None = None
    disks: tuple[DiskFact, ...] = ()
    nics: tuple[NicFact, ...] = ()

    @property
    def identity(self) -> Identity:
        """Who the machine says it is."""
        return Identity(
            serial=self.serial,
            system_uuid=self.system_uuid,
            macs=tuple(nic.mac for nic in self.nics),
        )
