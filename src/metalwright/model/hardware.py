"""The `Node`: one physical machine as git declares it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, Strict, StringConstraints
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
from metalwright.model.frozen import FrozenDict
from metalwright.model.grammar import CONFIG

DRIVER_PATTERN: Final = r"^[a-z][a-z0-9_-]{0,62}$"

DRIVERS: Final = frozenset({"fake", "ipmi", "redfish", "ironic", "wol"})
"""The drivers that come with Metalwright; others are installed beside it."""

DriverName = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=DRIVER_PATTERN),
    Field(
        description="fake, ipmi, redfish, ironic, wol, or a driver that is installed beside them.",
        examples=sorted(DRIVERS),
    ),
]
IronicNode = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=r"^[A-Za-z0-9._~-]{1,255}$"),
    Field(description="The UUID or the name of a node in Ironic."),
]
SystemId = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=r"^[^/?#%\s\x00-\x1f]{1,255}$"),
    Field(description="The Id of a Redfish ComputerSystem, the last part of its address."),
]


class Lifecycle(StrEnum):
    """What Metalwright may do with a node. Only `managed` nodes are ever changed."""

    MANAGED = "managed"
    OBSERVED = "observed"
    BROKEN = "broken"
    RETIRED = "retired"


OBSERVED_LIFECYCLES = frozenset({Lifecycle.MANAGED, Lifecycle.OBSERVED})
"""The nodes that are asked how they are."""


class BootMode(StrEnum):
    """The firmware's way to boot (Ironic's `boot_mode`)."""

    BIOS = "bios"
    UEFI = "uefi"


class BootInterface(StrEnum):
    """How a machine is made to reach what it is to boot (Ironic's `boot_interface`): through its
    network card's own firmware, or by a boot disc that its BMC shows to it (Redfish's virtual
    media).
    """

    NETWORK = "network"
    VIRTUAL_MEDIA = "virtual-media"


class BmcProtocol(StrEnum):
    """How a Redfish service is spoken to."""

    HTTPS = "https"
    HTTP = "http"


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Bmc:
    """The management controller: where it answers, and which secret opens it.

    `port` is the driver's own where it is not given (`port_of`). `protocol`, `system` and
    `verify_ca` are Redfish's: how it is spoken to, which of its systems the node is (the only one,
    where it is not given), and whether its certificate has to be one of a known authority.
    """

    address: Address
    port: Annotated[int, Field(strict=True, ge=1, le=65_535)] | None = None
    credentials: CredentialsRef | None = None
    protocol: BmcProtocol = BmcProtocol.HTTPS
    system: SystemId | None = None
    verify_ca: Bool = True


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


CPU_ARCH: Final = "x86_64"
"""The architecture of a node that declares none, for those who choose between nodes."""


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Properties:
    """Hardware facts for selection (Ironic's `properties`).

    Where the architecture is left out, selectors take it for x86_64; a machine is compared with
    what was given only.
    """

    vendor: Text | None = None
    model: Text | None = None
    cpu_arch: Text | None = None
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
    """One physical machine. `conductor_group` (Ironic's word) names the backend that serves it.

    `address` is where the machine's own system answers, for the checks that validate it; without it
    the node's name is looked up. `ironic_node` is its UUID or name in Ironic; without it, Ironic
    knows it by the node's name.
    """

    driver: DriverName
    lifecycle: Lifecycle = Lifecycle.MANAGED
    bmc: Bmc | None = None
    boot_mode: BootMode = BootMode.UEFI
    boot_interface: BootInterface = BootInterface.NETWORK
    serial: Text | None = None
    system_uuid: SystemUuid | None = None
    nics: Annotated[tuple[Nic, ...], Field(max_length=64)] = ()
    properties: Properties = Field(default_factory=Properties)
    address: Address | None = None
    conductor_group: Name | None = None
    ironic_node: IronicNode | None = None
    hold: Hold | None = None


_PORTS: Final[Mapping[tuple[str, BmcProtocol], int]] = FrozenDict(
    {
        ("redfish", BmcProtocol.HTTPS): 443,
        ("redfish", BmcProtocol.HTTP): 80,
        **{(driver, protocol): 623 for driver in ("ipmi", "fake") for protocol in BmcProtocol},
    }
)


def place_of(spec: NodeSpec) -> str:
    """What a node's driver is told to: the BMC and the system behind it, or the node of Ironic's.
    Another one is another machine, for all that anybody knows.
    """
    bmc = spec.bmc
    parts = [spec.driver, spec.ironic_node or ""]
    if bmc is not None:
        parts += [bmc.address, str(port_of(spec.driver, bmc) or ""), bmc.system or ""]
    return " ".join(part for part in parts if part)


def port_of(driver: str, bmc: Bmc) -> int | None:
    """The port that a BMC is asked at: its own, else the driver's; `None` where that is unknown."""
    return bmc.port if bmc.port is not None else _PORTS.get((driver, bmc.protocol))
