"""Thousands of machines that boot at once, as ratios to plain servers of the same run.

    python benchmarks/boot.py [MACHINES]

The service answers from a process of its own, with a store on disk and MACHINES nodes (2,000 where
none is given) that each ask for their script, fetch, and report. Beside it the same clients ask
`uvicorn` with an answer that is always the same, and Python's own file server for the same file.
Absolute figures depend on the machine and its other work, clients included; read the ratios.
"""

from __future__ import annotations

import asyncio
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

from metalwright.boot.images import ImageCache
from metalwright.boot.limits import BootLimits
from metalwright.boot.server import BootServer, bind
from metalwright.model.desired import Holder, Target
from metalwright.model.documents import Metadata, Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Nic, NodeSpec
from metalwright.model.inventory import Commit, Inventory, ResolvedTemplate, Source
from metalwright.model.operation import Applied
from metalwright.model.template import Artifact, ImageSpec, Method
from metalwright.model.tenancy import PowerState
from metalwright.store import Store

MACHINES = 2_000
AT_ONCE = 32
"""Requests under way at once, for scripts and reports."""

DOWNLOADS_AT_ONCE = (1, 8, 32)
INITRD_BYTES = 30_000_000
CROWD = 300
CONNECTIONS_MAX = 200
"""For the crowd: more connections at once than are served."""

DOWNLOAD_CHUNK_BYTES = 1 << 18
NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
COMMIT = Commit(id="c" * 40, author="Ada <ada@lab.example>", subject="All", at=NOW)
DISKS = [{"name": f"sd{letter}", "serial": f"S{letter}", "bytes": 10**12} for letter in "abcdefgh"]
FACTS = {"cpus": 64, "memory_mib": 1 << 18, "disks": DISKS}


def mac(number: int) -> str:
    """The MAC address of a machine."""
    return f"52:54:{number >> 24 & 255:02x}:" + ":".join(
        f"{number >> shift & 255:02x}" for shift in (16, 8, 0)
    )


def serve_boot(home: Path, count: int, connections_max: int) -> None:
    """The boot service with `count` nodes that run a template from memory, until input ends."""
    content = os.urandom(INITRD_BYTES)
    (home / "initrd").write_bytes(content)
    file = Artifact(url=(home / "initrd").as_uri(), sha256=hashlib.sha256(content).hexdigest())
    template = ResolvedTemplate(
        name="t",
        chain=("t",),
        method=Method.NETBOOT,
        image=ImageSpec(kernel=file, initrd=file),
        kernel_args=("quiet",),
        phone_home=True,
        digest="d" * 64,
    )
    target = Target(power=PowerState.ON, template=template, digest=template.digest)
    applied = Applied(
        target=target,
        holder=Holder(kind="Pool", name="all", owner="lab"),
        revision=COMMIT.id,
        source=Source(path="pool.yaml", line=1),
        at=NOW,
    )
    nodes = {
        f"n{number:05}": Node(
            apiVersion="metalwright/v1",
            kind="Node",
            metadata=Metadata(name=f"n{number:05}"),
            spec=NodeSpec(driver="ipmi", nics=(Nic(mac=mac(number), boot=True),)),
        )
        for number in range(count)
    }
    limits = BootLimits(requests_per_s_max=1e6, connections_max=connections_max)
    with Store.open(f"sqlite:///{home / 'store.sqlite'}") as store, bind("127.0.0.1:0") as bound:
        store.claim("benchmark", NOW)
        store.adopt(dict.fromkeys(nodes, applied), "ada", NOW)
        port = bound.getsockname()[1]
        cache = ImageCache(home / "cache")
        cache.get(file)
        url = f"http://127.0.0.1:{port}"
        with BootServer(url, store, cache, str, lambda: datetime.now(UTC), limits) as server:
            server.follow(Inventory(revision=COMMIT, nodes=FrozenDict(nodes)))
            server.start(bound, lambda _node: None, lambda words: print(words, file=sys.stderr))
            print(port, flush=True)
            sys.stdin.read()


def serve_bare() -> None:
    """uvicorn with one answer, as large as a script."""
    head: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
    body = {"type": "http.response.body", "body": b"x" * 600}

    async def app(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send(head)
        await send(body)

    with bind("127.0.0.1:0") as bound:
        config = uvicorn.Config(app, http="h11", lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        print(bound.getsockname()[1], flush=True)
        sys.stdin.read()


def serve_files(home: Path) -> None:
    """Python's own file server (`python -m http.server`)."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(home))

        def log_message(self, *_args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()
        server.shutdown()


class Server:
    """A server in a process of its own."""

    def __init__(self, *words: object) -> None:
        command = [sys.executable, __file__, "serve", *map(str, words)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    @property
    def peak_mib(self) -> float:
        """The most memory that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    async def ask(self, target: str, body: bytes | None = None) -> tuple[bytes, bytes]:
        """One request on a connection of its own: head and content of the answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            verb = "GET" if body is None else "POST"
            length = f"Content-Length: {len(body)}\r\n" if body is not None else ""
            head = f"{verb} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{length}\r\n"
            writer.write(head.encode() + (body or b""))
            said = await reader.readuntil(b"\r\n\r\n")
            return said, await reader.read()
        finally:
            writer.close()

    async def fetch(self, target: str) -> int:
        """The bytes of a large answer, which are dropped."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, limit=DOWNLOAD_CHUNK_BYTES * 4
        )
        try:
            writer.write(f"GET {target} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in head, head
            size = 0
            while part := await reader.read(DOWNLOAD_CHUNK_BYTES):
                size += len(part)
            return size
        finally:
            writer.close()


@contextmanager
def serving(*words: object) -> Iterator[Server]:
    """A server until the end of the block."""
    server = Server(*words)
    try:
        yield server
    finally:
        server.process.communicate()


async def many(count: int, at_once: int, one: Callable[[int], Awaitable[None]]) -> float:
    """Do `one` for each number, so many at once; how many in a second."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await one(number)

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return count / (time.perf_counter() - began)


async def requests(boot: Server, bare: Server, count: int) -> str:
    """Scripts and reports; the token of the last machine."""
    tokens: dict[int, str] = {}

    async def script(number: int) -> None:
        head, content = await boot.ask(f"/ipxe?mac={mac(number)}&n=0")
        assert b" 200 " in head, head
        tokens[number] = content.decode().partition("/b/")[2].partition("/")[0]

    async def report(number: int) -> None:
        body = {"phase": "running", "boot_id": f"b{number}", "facts": FACTS}
        head, _ = await boot.ask(f"/b/{tokens[number]}/report", json.dumps(body).encode())
        assert b" 200 " in head, head

    async def plain(_number: int) -> None:
        await bare.ask("/")

    floor = await many(count, AT_ONCE, plain)
    for name, one in (("scripts", script), ("reports", report)):
        rate = await many(count, AT_ONCE, one)
        print(
            f"{name:9} {count} machines: {rate:6.0f}/s, bare uvicorn {floor:6.0f}/s"
            f" (1/{floor / rate:.1f} of it); peak {boot.peak_mib:.0f} MiB",
            flush=True,
        )
    return tokens[count - 1]


async def downloads(boot: Server, files: Server, token: str) -> None:
    """The same 30 MB from both, by more and more clients."""
    for clients in DOWNLOADS_AT_ONCE:
        found = []
        for server, target in ((files, "/initrd"), (boot, f"/b/{token}/initrd")):

            async def one(_number: int, server: Server = server, target: str = target) -> None:
                assert await server.fetch(target) == INITRD_BYTES

            found.append(await many(clients, clients, one) * INITRD_BYTES / 1e6)
        print(
            f"initrd    {clients:2} at once: {found[1]:6.0f} MB/s, http.server {found[0]:6.0f} MB/s"
            f" ({found[1] / found[0]:.2f} of it); peak {boot.peak_mib:.0f} MiB,"
            f" http.server {files.peak_mib:.0f} MiB",
            flush=True,
        )


async def crowd(boot: Server) -> None:
    """More at once than are served: who is refused asks again when he was told to."""
    refused = 0

    async def machine(number: int) -> None:
        nonlocal refused
        while True:
            head, content = await boot.ask(f"/ipxe?mac={mac(number)}&n=0")
            if b" 200 " in head and b"/kernel" in content:
                return
            if b" 503 " in head:
                refused += 1
                after = head.lower().partition(b"retry-after: ")[2].partition(b"\r")[0]
                await asyncio.sleep(int(after))
            else:
                assert b" 200 " in head, head
                await asyncio.sleep(1)

    began = time.perf_counter()
    await asyncio.gather(*(machine(number) for number in range(CROWD)))
    took = time.perf_counter() - began
    print(
        f"crowd     {CROWD} machines at once, {CONNECTIONS_MAX} connections: {refused} times told"
        f" to ask again, all served after {took:.1f} s; peak {boot.peak_mib:.0f} MiB"
    )


def main(words: list[str]) -> None:
    """Measure, or with `serve` be one of the servers."""
    if words[:1] == ["serve"]:
        kind, *rest = words[1:]
        if kind == "boot":
            serve_boot(Path(rest[0]), int(rest[1]), int(rest[2]))
        elif kind == "bare":
            serve_bare()
        else:
            serve_files(Path(rest[0]))
        return
    count = int(words[0]) if words else MACHINES
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        with (
            serving("boot", first, count, 512) as boot,
            serving("bare") as bare,
            serving("files", first) as files,
        ):
            token = asyncio.run(requests(boot, bare, count))
            asyncio.run(downloads(boot, files, token))
        with serving("boot", second, CROWD, CONNECTIONS_MAX) as boot:
            asyncio.run(crowd(boot))


if __name__ == "__main__":
    main(sys.argv[1:])
