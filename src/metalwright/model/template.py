"""`Image` and `BootTemplate`: what a node boots, and how."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import AfterValidator, Field, Strict, StringConstraints
from pydantic.dataclasses import dataclass

from metalwright.model.checks import Checks
from metalwright.model.fields import Bool, Duration, LongText, Name, Sha256, Text, Url
from metalwright.model.frozen import FrozenDict
from metalwright.model.grammar import CONFIG

FILES_MAX: Final = 32
"""Files of one template with those of its parents."""

FileName = Annotated[
    str,
    Strict(),
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"),
    Field(description="The last part of the address that the file is served at."),
]
Files = Annotated[dict[FileName, LongText], Field(max_length=FILES_MAX), AfterValidator(FrozenDict)]


class Method(StrEnum):
    """How a node comes up: over the network from RAM, from an installed disk, or from what is
    there.
    """

    NETBOOT = "netboot"
    DISK = "disk"
    LOCAL = "local"


class WipePolicy(StrEnum):
    """How thoroughly the disks are erased before the node boots; each level destroys data but
    `none`.
    """

    NONE = "none"
    METADATA = "metadata"
    DISCARD = "discard"
    FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Artifact:
    """One file: where it is, and the digest that makes it this file and no other."""

    url: Url
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class ImageSpec:
    """A named set of artifacts: kernel and initrd (and rootfs) to boot from, or a disk image."""

    kernel: Artifact | None = None
    initrd: Artifact | None = None
    rootfs: Artifact | None = None
    disk: Artifact | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Timeouts:
    """How long each stage may take before the attempt has failed; what is not given is the
    policy's.
    """

    soft_power_off: Duration | None = None
    power_off: Duration | None = None
    wipe: Duration | None = None
    boot: Duration | None = None
    install: Duration | None = None
    validate: Duration | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class BootTemplateSpec:
    """How a node boots. With `extends`, what is absent is the parent's; kernel arguments, files and
    checks add up.

    `phone_home` says whether the booted system reports to the boot service, which is then what ends
    the boot. `files` are texts for installers (kickstart, preseed, Ignition), by name.
    """

    extends: Name | None = None
    method: Method | None = None
    image: Name | None = None
    kernel_args: Annotated[tuple[Text, ...], Field(max_length=256)] = ()
    user_data: LongText | None = None
    vendor_data: LongText | None = None
    files: Files = Field(default_factory=FrozenDict)
    wipe: WipePolicy | None = None
    phone_home: Bool | None = None
    timeouts: Timeouts = Field(default_factory=Timeouts)
    validation: Checks = ()
