"""A fleet written in a few words, for tests: what the loader would make of the same documents."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from metalwright.model.digest import digest_of
from metalwright.model.documents import (
    Assignment,
    Freeze,
    Metadata,
    Node,
    Policy,
    Pool,
    Schedule,
)
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Lifecycle, Nic, NodeSpec
from metalwright.model.inventory import Commit, Inventory, ResolvedTemplate, Source
from metalwright.model.noderange import unfold
from metalwright.model.policy import FreezeSpec, PolicySpec, ScheduleSpec, Window
from metalwright.model.template import Artifact, ImageSpec, Method, WipePolicy
from metalwright.model.tenancy import AssignmentSpec, PoolSpec, Resting, When

T0 = datetime(2026, 11, 20, 8, tzinfo=UTC)


def hours(count: float) -> timedelta:
    return timedelta(hours=count)


def commit_of(number: int, subject: str = "Change the fleet") -> Commit:
    return Commit(
        id=f"{number:040x}", author="Ada <ada@lab.example>", subject=subject, at=T0 - hours(1)
    )


def image_of(name: str, *, disk: bool = False) -> ImageSpec:
    def artifact(part: str) -> Artifact:
        return Artifact(url=f"https://images.example/{name}/{part}", sha256=digest_of([name, part]))

    if disk:
        return ImageSpec(disk=artifact("disk.raw"))
    return ImageSpec(kernel=artifact("vmlinuz"), initrd=artifact("initrd"))


@dataclass
class Fleet:
    """Declared documents by name; `build` makes the inventory of one revision of them."""

    nodes: dict[str, Node] = field(default_factory=dict)
    pools: dict[str, Pool] = field(default_factory=dict)
    assignments: dict[str, Assignment] = field(default_factory=dict)
    schedules: dict[str, Schedule] = field(default_factory=dict)
    freezes: dict[str, Freeze] = field(default_factory=dict)
    templates: dict[str, ResolvedTemplate] = field(default_factory=dict)
    policy: PolicySpec | None = None

    def node(self, names: str, **spec: Any) -> None:
        """Declare nodes: `labels` apart, the words of `NodeSpec`."""
        labels = spec.pop("labels", {})
        for name in unfold(names):
            number = int("".join(letter for letter in name if letter.isdigit()) or "0")
            given: dict[str, Any] = {
                "driver": "fake",
                "serial": f"S-{name}",
                "nics": (
                    Nic(mac=f"52:54:00:00:{number // 256:02x}:{number % 256:02x}", boot=True),
                ),
            } | spec
            metadata = Metadata(name=name, labels={"rack": "a01"} | labels)
            self.nodes[name] = Node(metadata=metadata, spec=NodeSpec(**given))

    def lifecycle(self, name: str, lifecycle: Lifecycle) -> None:
        node = self.nodes[name]
        self.nodes[name] = replace(node, spec=replace(node.spec, lifecycle=lifecycle))

    def template(
        self, name: str, *parents: str, method: str = "netboot", **fields: Any
    ) -> ResolvedTemplate:
        fields.setdefault("image", image_of("rocky"))
        wipe = WipePolicy(fields.pop("wipe", "none"))
        made = ResolvedTemplate(
            name=name, chain=(name, *parents), method=Method(method), wipe=wipe, **fields
        )
        boots = [
            made.method.value,
            repr(made.image),
            list(made.kernel_args),
            made.user_data,
            made.vendor_data,
        ]
        self.templates[name] = replace(made, digest=digest_of(boots))
        return self.templates[name]

    def pool(self, name: str, nodes: str, *, template: str = "", power: str = "", **spec: Any):
        resting = Resting(template=template) if template else Resting(power=power or "off")
        given: dict[str, Any] = {"owner": "lab"} | spec
        self.pools[name] = Pool(
            metadata=Metadata(name=name),
            spec=PoolSpec(nodes=(nodes,), resting=resting, **given),
        )

    def assignment(self, name: str, pool: str, nodes: str, template: str, **spec: Any) -> None:
        when = When(**spec.pop("when")) if "when" in spec else None
        given: dict[str, Any] = {"owner": "alice"} | spec
        self.assignments[name] = Assignment(
            metadata=Metadata(name=name),
            spec=AssignmentSpec(
                pool=pool, nodes=tuple(nodes.split()), template=template, when=when, **given
            ),
        )

    def schedule(self, name: str, *windows: tuple[datetime, datetime]) -> None:
        self.schedules[name] = Schedule(
            metadata=Metadata(name=name),
            spec=ScheduleSpec(windows=tuple(Window(start=a, end=b) for a, b in windows)),
        )

    def freeze(self, name: str, **spec: Any) -> None:
        given: dict[str, Any] = {"reason": f"because of {name}"} | spec
        self.freezes[name] = Freeze(metadata=Metadata(name=name), spec=FreezeSpec(**given))

    def rules(self, **spec: Any) -> None:
        self.policy = PolicySpec(**spec)

    def build(self, revision: int = 1, shuffle: int | None = None) -> Inventory:
        """The inventory of these documents, in their order or in a shuffled one."""

        def ordered(mapping: dict[Any, Any]) -> FrozenDict[Any, Any]:
            items = list(mapping.items())
            if shuffle is not None:
                random.Random(shuffle).shuffle(items)
            return FrozenDict(items)

        kinds = {
            "Node": self.nodes,
            "Pool": self.pools,
            "Assignment": self.assignments,
            "Schedule": self.schedules,
            "Freeze": self.freezes,
            "BootTemplate": self.templates,
        }
        sources = {
            (kind, name): Source(path=f"{kind.lower()}s/{name}.yaml", line=1)
            for kind, documents in kinds.items()
            for name in documents
        }
        return Inventory(
            revision=commit_of(revision),
            nodes=ordered(self.nodes),
            pools=ordered(self.pools),
            assignments=ordered(self.assignments),
            schedules=ordered(self.schedules),
            freezes=ordered(self.freezes),
            policy=Policy(metadata=Metadata(name="fleet"), spec=self.policy)
            if self.policy
            else None,
            sources=ordered(sources),
            pool_of=ordered(
                {
                    node: name
                    for name, pool in self.pools.items()
                    for text in pool.spec.nodes
                    for node in unfold(text)
                }
            ),
            assigned=ordered(
                {
                    name: tuple(node for text in one.spec.nodes for node in unfold(text))
                    for name, one in self.assignments.items()
                }
            ),
            resolved=ordered(self.templates),
        )
