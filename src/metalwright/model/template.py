"""`Image` and `BootTemplate`: what a node boots, and how."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from metalwright.model.checks import Checks
from metalwright.model.fields import Duration, LongText, Name, Sha256, Text, Url
from metalwright.model.grammar import CONFIG


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
    """How a node boots. With `extends`, what is absent is the parent's; kernel arguments and
    checks add up.
    """

    extends: Name | None = None
    method: Method | None = None
    image: Name | None = None
    kernel_args: Annotated[tuple[Text, ...], Field(max_length=256)] = ()
    user_data: LongText | None = None
    vendor_data: LongText | None = None
    wipe: WipePolicy | None = None
    timeouts: Timeouts = Field(default_factory=Timeouts)
    validation: Checks = ()
