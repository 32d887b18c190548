"""An inventory: what one revision of the repository declares, checked, with its references
resolved.

It is made by the loader and read by everybody else. A value of this type has no error in it: every
reference exists, every template has a method, no node is in two pools or two assignments at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Final

from pydantic import AfterValidator

from metalwright.model.checks import Check, joined
from metalwright.model.documents import (
    Assignment,
    Freeze,
    Image,
    Node,
    Policy,
    Pool,
    Schedule,
)
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import CPU_ARCH
from metalwright.model.policy import PolicySpec
from metalwright.model.template import ImageSpec, Method, Timeouts, WipePolicy

DEFAULT_RULES: Final = PolicySpec()
"""The rules of an inventory that declares no policy."""

Ref = tuple[str, str]
"""(kind, name) of a document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit: its full id, author as `Name <email>`, subject line and author time in UTC."""

    id: str
    author: str
    subject: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where in the repository something is said: path, line from 1, and the field below the
    document.

    `field` is dotted YAML (`spec.template`); `line` is the document's first line until it is
    located more closely (see `metalwright.inventory`).
    """

    path: str
    line: int
    field: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedTemplate:
    """A boot template with its parents folded in and its image looked up.

    `name` is for people; `digest` (64 hexadecimal digits) covers what the node would boot and
    nothing else, so that a rename, a comment, a check or another time-out is not a change. `chain`
    has the names of this template and its parents, nearest first. `phone_home` says that the booted
    system reports to the boot service, where there is one.
    """

    name: str
    chain: tuple[str, ...]
    method: Method
    image: ImageSpec | None = None
    kernel_args: tuple[str, ...] = ()
    user_data: str | None = None
    vendor_data: str | None = None
    files: Annotated[Mapping[str, str], AfterValidator(FrozenDict)] = field(
        default_factory=FrozenDict
    )
    wipe: WipePolicy = WipePolicy.NONE
    timeouts: Timeouts = field(default_factory=Timeouts)
    validation: tuple[Check, ...] = ()
    phone_home: bool = False
    digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Everything that one revision declares, by name, with its references resolved.

    `pool_of` maps a node to its pool; `assigned` an assignment to its node names in written order;
    `resolved` a template's name to it with parents and image folded in.
    """

    revision: Commit
    nodes: Mapping[str, Node] = field(default_factory=FrozenDict)
    images: Mapping[str, Image] = field(default_factory=FrozenDict)
    pools: Mapping[str, Pool] = field(default_factory=FrozenDict)
    assignments: Mapping[str, Assignment] = field(default_factory=FrozenDict)
    schedules: Mapping[str, Schedule] = field(default_factory=FrozenDict)
    freezes: Mapping[str, Freeze] = field(default_factory=FrozenDict)
    policy: Policy | None = None
    sources: Mapping[Ref, Source] = field(default_factory=FrozenDict)
    pool_of: Mapping[str, str] = field(default_factory=FrozenDict)
    assigned: Mapping[str, tuple[str, ...]] = field(default_factory=FrozenDict)
    resolved: Mapping[str, ResolvedTemplate] = field(default_factory=FrozenDict)

    @property
    def rules(self) -> PolicySpec:
        """The policy in force: the declared one, or the defaults."""
        return self.policy.spec if self.policy is not None else DEFAULT_RULES


def checks_of(
    inventory: Inventory, pool: str, template: ResolvedTemplate | None
) -> tuple[Check, ...]:
    """The checks that a node of this pool has to pass when it was brought to this template.

    Those of the revision count, also for what an older one began: a check that was wrong is mended
    by a commit. Where the revision has another template of this name, or none, the given one's do.
    """
    declared = inventory.pools.get(pool)
    beside = declared.spec.validation if declared is not None else ()
    if template is None:
        return beside
    current = inventory.resolved.get(template.name)
    if current is None or current.digest != template.digest:
        current = template
    return joined(current.validation, beside) if beside else current.validation


def attributes(node: Node, pool: str | None = None) -> dict[str, str | int]:
    """What a selector may ask of a node: its own words over its labels over its properties."""
    properties = node.spec.properties
    facts: dict[str, str | int | None] = {
        "vendor": properties.vendor,
        "model": properties.model,
        "cpuArch": properties.cpu_arch or CPU_ARCH,
        "cpus": properties.cpus,
        "memoryGib": properties.memory_gib,
        "gpus": properties.gpus,
        "bootMode": node.spec.boot_mode.value,
    }
    own: dict[str, str | int | None] = {
        "name": node.metadata.name,
        "driver": node.spec.driver,
        "lifecycle": node.spec.lifecycle.value,
        "pool": pool,
    }
    return {
        key: value
        for key, value in (facts | node.metadata.labels | own).items()
        if value is not None
    }
