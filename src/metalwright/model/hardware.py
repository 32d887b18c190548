"""The `Node`: one physical machine as git declares it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from metalwright.model.fields import (
    Address,
    Bool,
    Count,
    CredentialsRef,
    Instant,
    Mac,
    Name,
    SystemUuid,
    Text,
)
from metalwright.model.grammar import CONFIG


class Lifecycle(StrEnum):
    """What Metalwright may do with a node. Only `managed` nodes are ever changed."""

    MANAGED = "managed"
    OBSERVED = "observed"
    BROKEN = "broken"
    RETIRED = "retired"


class BootMode(StrEnum):
    """The firmware's way to boot (Ironic's `boot_mode`)."""

    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Bmc:
    """The management controller: where it answers, and which secret opens it."""

    address: Address
    port: Annotated[int, Field(strict=True, ge=1, le=65_535)] = 623
    credentials: CredentialsRef | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Nic:
    """One network interface; the node network-boots from the one marked `boot`."""

    mac: Mac
    name: Text | None = None
    boot: Bool = False
    switch_port: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Disk:
    """One disk, as it is to be found in the machine."""

    serial: Text | None = None
    size_gb: Annotated[int, Field(strict=True, ge=1, le=10_000_000)] | None = None
    rotational: Bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Properties:
    """Hardware facts for selection (Ironic's `properties`)."""

    vendor: Text | None = None
    model: Text | None = None
    cpu_arch: Text = "x86_64"
    cpus: Count | None = None
    memory_gib: Count | None = None
    gpus: Annotated[int, Field(strict=True, ge=0, le=1_000)] = 0
    disks: tuple[Disk, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Hold:
    """A brake: nothing is started on the node, until an instant or until it is taken out of git."""

    reason: Text
    until: Instant | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class NodeSpec:
    """One physical machine. `conductor_group` (Ironic's word) names the backend that serves it."""

    driver: Literal["fake", "ipmi"]
    lifecycle: Lifecycle = Lifecycle.MANAGED
    bmc: Bmc | None = None
    boot_mode: BootMode = BootMode.UEFI
    serial: Text | None = None
    system_uuid: SystemUuid | None = None
    nics: Annotated[tuple[Nic, ...], Field(max_length=64)] = ()
    properties: Properties = Field(default_factory=Properties)
    conductor_group: Name | None = None
    hold: Hold | None = None
