"""The settings of each driver, `[drivers.NAME]`. Never a secret."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

BaseUrl = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+$", max_length=200)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FakeSettings(_Section):
    """The simulated fleet: its seed, how many times faster than life it runs, its faults."""

    seed: int = 0
    speed: Annotated[float, Field(gt=0, le=1_000_000)] = 1.0
    faults: tuple[dict[str, Any], ...] = ()


class IpmiSettings(_Section):
    """How many worker processes speak IPMI, and for how long former credentials stand in."""

    workers_max: Annotated[int, Field(ge=3, le=64)] = 8
    former_credentials_s: Annotated[float, Field(ge=0, le=2_592_000)] = 86_400.0


class RedfishSettings(_Section):
    """Whom to trust, and for how many boots a boot device is chosen."""

    ca_file: Path | None = None
    boot_override: Literal["Once", "Continuous"] = "Once"


class WolSettings(_Section):
    """Where packets that wake machines are sent, and whether those boot from the network first."""

    addresses: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)] = ("255.255.255.255",)
    port: Annotated[int, Field(ge=1, le=65_535)] = 9
    network_first: bool = False


class IronicSettings(_Section):
    """Where Ironic is: an `endpoint` without Keystone, or a `cloud` of `clouds_file`; which secret
    opens it; which of its deploy interfaces netboot and disk templates take ("" leaves the node's);
    for how many seconds one list of its nodes serves them all; and where it finds the boot service,
    if that is elsewhere than for the machines.
    """

    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s@]+$")] | None = None
    cloud: str | None = None
    clouds_file: Path | None = None
    credentials: str | None = None
    netboot_interface: str = "ramdisk"
    disk_interface: str = "direct"
    list_max_age_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    boot_url: BaseUrl | None = None


class DriverSettings(_Section):
    """What belongs to one driver; a table of another name is that of a driver beside ours."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, dict[str, Any]]

    fake: FakeSettings = FakeSettings()
    ipmi: IpmiSettings = IpmiSettings()
    redfish: RedfishSettings = RedfishSettings()
    ironic: IronicSettings = IronicSettings()
    wol: WolSettings = WolSettings()
