"""The eight kinds of document that an inventory repository holds, as frozen values.

These types are the grammar of the inventory: the loader validates with them, `schemas/` is
generated from them and `docs/inventory.md` explains them. They check one document by itself; what
needs two documents to be seen (references, overlaps, duplicates) is the loader's.

Names in YAML are camelCase, as Kubernetes users know them; the words are Ironic's and Redfish's.

"""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from metalwright.model.fields import Annotations, Labels, Name
from metalwright.model.frozen import FrozenDict
from metalwright.model.grammar import CONFIG
from metalwright.model.hardware import NodeSpec
from metalwright.model.policy import FreezeSpec, PolicySpec, ScheduleSpec
from metalwright.model.template import BootTemplateSpec, ImageSpec
from metalwright.model.tenancy import AssignmentSpec, PoolSpec

API_VERSION: Final = "metalwright/v1"


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Metadata:
    """The name by which other documents refer to this one, and free labels."""

    name: Name
    labels: Labels = Field(default_factory=FrozenDict)
    annotations: Annotations = Field(default_factory=FrozenDict)


ApiVersion = Literal["metalwright/v1"]


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Node:
    """One machine: its driver, BMC, identity, interfaces, hardware facts and lifecycle."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Node"] = "Node"
    metadata: Metadata
    spec: NodeSpec


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Image:
    """A named artifact set."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Image"] = "Image"
    metadata: Metadata
    spec: ImageSpec


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class BootTemplate:
    """How a node boots."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["BootTemplate"] = "BootTemplate"
    metadata: Metadata
    spec: BootTemplateSpec


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Pool:
    """A set of nodes and what they are when nobody holds them."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Pool"] = "Pool"
    metadata: Metadata
    spec: PoolSpec


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Assignment:
    """Nodes given to an owner."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Assignment"] = "Assignment"
    metadata: Metadata
    spec: AssignmentSpec


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Schedule:
    """Named time."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Schedule"] = "Schedule"
    metadata: Metadata
    spec: ScheduleSpec


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Policy:
    """The fleet's limits."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Policy"] = "Policy"
    metadata: Metadata
    spec: PolicySpec


@dataclass(frozen=True, slots=True, kw_only=True, config=CONFIG)
class Freeze:
    """A time in which nothing is started."""

    api_version: ApiVersion = API_VERSION
    kind: Literal["Freeze"] = "Freeze"
    metadata: Metadata
    spec: FreezeSpec


Document = Node | Image | BootTemplate | Pool | Assignment | Schedule | Policy | Freeze

KINDS: dict[str, type[Document]] = {
    "Node": Node,
    "Image": Image,
    "BootTemplate": BootTemplate,
    "Pool": Pool,
    "Assignment": Assignment,
    "Schedule": Schedule,
    "Policy": Policy,
    "Freeze": Freeze,
}
