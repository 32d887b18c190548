"""A boot service on a real socket, with a real store: one node, one operation, three images."""

from __future__ import annotations

import functools
import hashlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from metalwright.boot.images import ImageCache
from metalwright.boot.limits import BootLimits
from metalwright.boot.server import BootServer, bind
from metalwright.errors import SettingsError
from metalwright.model.checks import Check, Command
from metalwright.model.desired import Holder, Target
from metalwright.model.documents import Image, Metadata, Node, Policy
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Disk, Nic, NodeSpec, Properties
from metalwright.model.inventory import Commit, Inventory, ResolvedTemplate, Source
from metalwright.model.operation import (
    Applied,
    Effect,
    EffectKind,
    Operation,
    OperationState,
    Stage,
    Verb,
)
from metalwright.model.policy import PolicySpec
from metalwright.model.template import Artifact, ImageSpec, Method, WipePolicy
from metalwright.model.tenancy import PowerState
from metalwright.store import Store

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
MAC, OTHER_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"
UUID = "11111111-1111-1111-1111-000000000001"
COMMIT = Commit(id="c" * 40, author="Ada <ada@lab.example>", subject="Give ci a node", at=NOW)
SOURCE = Source(path="pools/ci.yaml", line=3)
HOLDER = Holder(kind="Pool", name="ci", owner="lab")
BOOT_ID = "6f0d7a52-0000-4000-8000-000000000001"
SECRET = "correct horse battery staple"

DISK = {
    "name": "vda",
    "serial": "DISK1",
    "bytes": 1_000_000_000,
    "rotational": False,
    "transport": "local",
}
FACTS = {
    "serial": "SN1",
    "system_uuid": UUID,
    "cpus": 1,
    "memory_mib": 200,
    "disks": [DISK],
    "nics": [{"name": "eth0", "mac": MAC, "link": True}],
}
EVIDENCE = {
    "name": "vda",
    "serial": "DISK1",
    "bytes": 1_000_000_000,
    "method": "blkdiscard",
    "verified": True,
}


def a_node(name: str = "n1", mac: str = MAC, serial: str = "SN1", **spec: Any) -> Node:
    values: dict[str, Any] = {
        "driver": "ipmi",
        "serial": serial,
        "nics": (Nic(mac=mac, boot=True),),
        "properties": Properties(disks=(Disk(serial="DISK1"),)),
    }
    return Node(
        apiVersion="metalwright/v1",
        kind="Node",
        metadata=Metadata(name=name, labels={"rack": "a1"}),
        spec=NodeSpec(**(values | spec)),
    )


@dataclass
class World:
    """What the service serves from; `client` speaks to it."""

    store: Store
    directory: Path
    client: httpx.Client = field(init=False)
    server: BootServer = field(init=False)
    url: str = ""
    now: datetime = NOW
    told: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    inventory: Inventory = field(init=False)

    def artifact(self, name: str, content: bytes) -> Artifact:
        path = self.directory / name
        path.write_bytes(content)
        return Artifact(url=path.as_uri(), sha256=hashlib.sha256(content).hexdigest())

    def template(self, method: Method = Method.NETBOOT, **changes: Any) -> ResolvedTemplate:
        image = ImageSpec(
            kernel=self.artifact("kernel", b"KERNEL" * 100),
            initrd=self.artifact("initrd", b"INITRD" * 100),
            rootfs=self.artifact("rootfs", b"0123456789"),
            disk=self.artifact("disk", b"DISK" * 1_000),
        )
        values: dict[str, Any] = {
            "name": "ci",
            "chain": ("ci",),
            "method": method,
            "image": image,
            "kernel_args": ("quiet", "name={{ node.name }}"),
            "user_data": "#cloud-config\nhostname: {{ node.name }}\n{{ secret('app/token') }}\n",
            "files": FrozenDict({"ks.cfg": "text for {{ node.labels.rack }}"}),
            "wipe": WipePolicy.DISCARD,
            "phone_home": True,
            "digest": "d" * 64,
            "validation": (Check(name="disk", command=Command(run="test -b /dev/vda")),),
        }
        return ResolvedTemplate(**(values | changes))

    def follow(self, *nodes: Node, ramdisk: bool = True) -> None:
        image = ImageSpec(
            kernel=self.artifact("rk", b"RAMKERNEL"), initrd=self.artifact("ri", b"RAMINITRD")
        )
        head = {"apiVersion": "metalwright/v1"}
        policy = PolicySpec(ramdisk="wiper") if ramdisk else PolicySpec()
        self.inventory = Inventory(
            revision=COMMIT,
            nodes=FrozenDict({node.metadata.name: node for node in nodes or (a_node(),)}),
            images=FrozenDict(
                {"wiper": Image(**head, kind="Image", metadata=Metadata(name="wiper"), spec=image)}
            ),
            policy=Policy(**head, kind="Policy", metadata=Metadata(name="p"), spec=policy),
            pool_of=FrozenDict({"n1": "ci"}),
        )
        self.server.follow(self.inventory)

    def adopt(self, template: ResolvedTemplate | None = None, name: str = "n1") -> None:
        applied = None
        if template is not None:
            target = Target(power=PowerState.ON, template=template, digest=template.digest)
            applied = Applied(
                target=target, holder=HOLDER, revision=COMMIT.id, source=SOURCE, at=NOW
            )
        self.store.adopt({name: applied}, "ada", NOW)

    def operate(
        self,
        template: ResolvedTemplate,
        stage: Stage = Stage.BOOT,
        kind: EffectKind = EffectKind.POWER_ON,
        argument: str = "",
        **changes: Any,
    ) -> Operation:
        """An operation of n1 that runs, at this stage, its effect journalled."""
        values: dict[str, Any] = {
            "id": "o1",
            "node": "n1",
            "verb": Verb.DEPLOY,
            "state": OperationState.PENDING,
            "target": Target(power=PowerState.ON, template=template, digest=template.digest),
            "holder": HOLDER,
            "pool": "ci",
            "priority": 100,
            "stages": (Stage.POWER_OFF, Stage.WIPE, Stage.BOOT),
            "commit": COMMIT,
            "source": SOURCE,
            "created_at": NOW,
        }
        pending = Operation(**(values | changes))
        assert self.store.create([pending], NOW, COMMIT.id)
        running = replace(
            pending,
            state=OperationState.RUNNING,
            fence=pending.fence + 1,
            stage=stage,
            intent=Effect(kind=kind, argument=argument, operation_id=pending.id),
            intent_at=NOW,
        )
        assert self.store.admit(running, {}, NOW)
        return running

    def move(self, operation: Operation, **changes: Any) -> Operation:
        """The operation at its next step, as its engine would write it."""
        moved = replace(operation, **changes)
        assert self.store.save(moved, "stage", self.now)
        return moved

    def adopt_after(self, operation: Operation, template: ResolvedTemplate) -> None:
        """End an operation well, and remember what its node was brought to."""
        target = Target(power=PowerState.ON, template=template, digest=template.digest)
        applied = Applied(target=target, holder=HOLDER, revision=COMMIT.id, source=SOURCE, at=NOW)
        ended = replace(operation, state=OperationState.ACTIVE, ended_at=self.now)
        assert self.store.finish(ended, applied, self.now)

    def script(self, **query: str) -> str:
        asked = {"mac": MAC.replace(":", "-"), "serial": "SN1", "uuid": UUID} | query
        answer = self.client.get("/ipxe", params={"platform": "pcbios", "n": "0"} | asked)
        assert answer.status_code == 200, answer.text
        return answer.text

    def boot(self, **query: str) -> str:
        """Ask for a script that boots; the path of the boot, with its token."""
        text = self.script(**query)
        words = [word for word in text.split() if word.startswith("mw.url=")]
        assert words, text
        return words[0].removeprefix("mw.url=").removeprefix(self.url)

    def report(self, path: str, phase: str, **body: Any) -> httpx.Response:
        self.now += timedelta(seconds=1)
        given = {"phase": phase, "boot_id": BOOT_ID} | body
        return self.client.post(f"{path}/report", json=given)

    def events(self, event: str) -> list[str]:
        lines = self.store.journal(None, 1_000)
        return [line.detail for line in reversed(lines) if line.event == event]


@functools.cache
def empty_store() -> bytes:
    """The file of a store with nothing in it: to migrate one for each test takes half a second."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "store.sqlite"
        with Store.open(f"sqlite:///{path}"):
            pass
        return path.read_bytes()


@contextmanager
def world(directory: Path, *, port: int = 0, follow: bool = True, **limits: Any) -> Iterator[World]:
    path = directory / "store.sqlite"
    if not path.exists():
        path.write_bytes(empty_store())
    with Store.open(f"sqlite:///{path}") as store:
        store.claim("the test", NOW)
        made = World(store=store, directory=directory)
        with bind(f"127.0.0.1:{port}") as listening:
            made.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            with BootServer(
                made.url,
                store,
                ImageCache(directory / "cache"),
                _secret,
                lambda: made.now,
                BootLimits(**limits),
            ) as server:
                made.server = server
                if follow:
                    made.follow()
                server.start(listening, made.told.append, made.trouble.append)
                none = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # reads no certificates from disk
                with httpx.Client(base_url=made.url, timeout=30.0, verify=none) as client:
                    made.client = client
                    yield made


def _secret(reference: str) -> str:
    if reference == "app/token":
        return SECRET
    raise SettingsError(f"there is no secret {reference}")


def hang_up(*sockets: socket.socket) -> None:
    for each in sockets:
        each.close()


def in_threads(count: int, work: Any) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
