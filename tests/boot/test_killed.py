"""The service is killed while it serves, and started again: nothing is lost, or given twice."""

from __future__ import annotations

import contextlib
import hashlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from metalwright.model.operation import OperationState, Stage
from metalwright.model.report import Phase
from metalwright.store import Store

from .boot_world import BOOT_ID, EVIDENCE, FACTS, MAC, NOW, SECRET, UUID

ROOTFS_BYTES = 32 << 20
ROOTFS = random.Random(1).randbytes(ROOTFS_BYTES)
START_TIMEOUT_S = 60.0

SERVICE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import boot_world
from metalwright.model.operation import EffectKind, Stage
from metalwright.model.template import ImageSpec
home, port, what = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with boot_world.world(home, port=port) as lab:
    if what != "again":
        lab.adopt()
        kernel = lab.artifact("kernel", b"KERNEL" * 100)
        rootfs = lab.artifact("big", (home / "made").read_bytes())
        template = lab.template(image=ImageSpec(kernel=kernel, initrd=kernel, rootfs=rootfs))
        if what == "wipe":
            lab.operate(template, Stage.WIPE, EffectKind.WIPE, "full")
        else:
            lab.operate(template)
    lab.follow()
    print("serving", flush=True)
    sys.stdin.read()
"""


class Service:
    """The service in a process of its own, at an address that it keeps."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[str] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self, what: str = "again") -> None:
        words = [sys.executable, "-c", SERVICE, str(Path(__file__).parent), str(self.home)]
        self.process = subprocess.Popen(
            [*words, str(self.port), what],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "serving\n"

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.communicate()
            self.process = None

    def boot(self) -> str:
        """What one machine is served, or nothing where it is to wait."""
        query = {"mac": MAC.replace(":", "-"), "serial": "SN1", "uuid": UUID, "n": "0"}
        text = httpx.get(f"{self.url}/ipxe", params=query, timeout=30).text
        words = [word for word in text.split() if word.startswith("mw.url=")]
        assert words or "sleep 30" in text
        return words[0].removeprefix("mw.url=") if words else ""

    def report(self, boot: str, phase: str, **body: object) -> httpx.Response:
        given = {"phase": phase, "boot_id": BOOT_ID, "facts": FACTS} | body
        return httpx.post(f"{boot}/report", json=given, timeout=30)

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        with Store.open(f"sqlite:///{self.home / 'store.sqlite'}") as store:
            yield store


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    (tmp_path / "made").write_bytes(ROOTFS)
    made = Service(tmp_path)
    yield made
    made.kill()


def begin(service: Service, boot: str, some: int) -> tuple[bytes, str]:
    """Fetch some bytes of the rootfs, slowly, and kill the service in the middle."""
    got = b""
    with (
        contextlib.suppress(httpx.HTTPError),
        httpx.stream("GET", f"{boot}/rootfs", timeout=30) as answer,
    ):
        assert int(answer.headers["content-length"]) == ROOTFS_BYTES
        tag = answer.headers["etag"]
        for part in answer.iter_raw(65_536):
            got += part
            if service.process is not None and len(got) >= some:
                service.kill()
    assert some <= len(got) < ROOTFS_BYTES
    return got, tag


def test_a_download_goes_on_where_it_broke_off(service: Service) -> None:
    service.start("boot")
    boot = service.boot()
    got, tag = begin(service, boot, 1 << 20)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{boot}/kernel", timeout=5)
    service.start()
    assert tag == f'"{hashlib.sha256(ROOTFS).hexdigest()}"'
    going_on = {"Range": f"bytes={len(got)}-", "If-Range": tag}
    rest = httpx.get(f"{boot}/rootfs", headers=going_on, timeout=60)
    assert rest.status_code == 206
    assert rest.headers["content-range"] == f"bytes {len(got)}-{ROOTFS_BYTES - 1}/{ROOTFS_BYTES}"
    assert hashlib.sha256(got + rest.content).digest() == hashlib.sha256(ROOTFS).digest()
    # Of another file it is told all, and beyond the end nothing.
    other = {"Range": f"bytes={len(got)}-", "If-Range": '"another"'}
    assert httpx.head(f"{boot}/rootfs", headers=other, timeout=60).status_code == 200
    beyond = {"Range": f"bytes={ROOTFS_BYTES}-"}
    assert httpx.get(f"{boot}/rootfs", headers=beyond, timeout=60).status_code == 416
    # The token was written down before it was given: it opens what it opened, and was not doubled.
    assert SECRET in httpx.get(f"{boot}/user-data", timeout=60).text
    assert service.report(boot, "running").status_code == 200
    with service.store() as store:
        heard = store.heard()["n1"]
        assert (heard.report.phase, heard.report.operation_id, heard.live) == (
            Phase.RUNNING,
            "o1",
            True,
        )
        assert sum(line.event == "served" for line in store.journal(None, 100)) == 1


def test_a_cache_that_was_changed_meanwhile_gives_no_wrong_byte(service: Service) -> None:
    service.start("boot")
    boot = service.boot()
    got, tag = begin(service, boot, 1 << 20)
    (cached,) = [path for path in (service.home / "cache").iterdir() if tag.strip('"') in path.name]
    cached.chmod(0o640)
    cached.write_bytes(ROOTFS[:-1] + b"!")
    source = service.home / "big"
    source.rename(service.home / "elsewhere")
    service.start()
    going_on = {"Range": f"bytes={len(got)}-", "If-Range": tag}
    refused = httpx.get(f"{boot}/rootfs", headers=going_on, timeout=60)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    (service.home / "elsewhere").rename(source)
    rest = httpx.get(f"{boot}/rootfs", headers=going_on, timeout=60)
    assert rest.status_code == 206
    assert hashlib.sha256(got + rest.content).digest() == hashlib.sha256(ROOTFS).digest()


def test_a_wipe_that_was_begun_is_not_told_twice(service: Service) -> None:
    service.start("wipe")
    boot = service.boot()
    assert service.report(boot, "ready").text == "wipe vda full\n"
    service.kill()
    service.start()
    # Not begun yet: the machine that was reset may be told once more, with a token of its own.
    later = service.boot()
    assert later
    assert service.report(boot, "wiping").status_code == 403
    assert service.report(later, "ready").text == "wipe vda full\n"
    assert service.report(later, "wiping").status_code == 200
    service.kill()
    service.start()
    assert service.boot() == "", "it waits: nothing is wiped twice"
    assert service.report(later, "ready").text.startswith("stop ")
    assert service.report(later, "wiped", wipes=[EVIDENCE]).status_code == 200
    with service.store() as store:
        assert store.heard()["n1"].last_wipe == "o1"
        assert [each.wipe.serial for each in store.wipes("n1", 10)] == ["DISK1"]


def test_what_was_answered_is_in_the_store(service: Service) -> None:
    """Killed at any moment among reports: the latest that got its answer is there, or a later."""
    service.start("boot")
    boot = service.boot()
    sent, answered = 0, 0
    stop = threading.Event()

    def report() -> None:
        nonlocal sent, answered
        with httpx.Client(timeout=30) as client:
            while not stop.is_set():
                sent += 1
                body = {"phase": "running", "boot_id": BOOT_ID, "message": f"report {sent}"}
                try:
                    status = client.post(f"{boot}/report", json=body).status_code
                except httpx.HTTPError:
                    return
                if status == 200:
                    answered = sent
                else:
                    assert status == 429

    for _ in range(3):
        before = answered
        thread = threading.Thread(target=report)
        thread.start()
        deadline = time.monotonic() + START_TIMEOUT_S
        while answered < before + 3:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        service.kill()
        stop.set()
        thread.join(60)
        stop.clear()
        with service.store() as store:
            kept = int(store.heard()["n1"].report.message.removeprefix("report "))
            assert answered <= kept <= sent
        service.start()
    with service.store() as store:
        (operation,) = store.operations("n1", 10)
        assert (operation.state, operation.stage) == (OperationState.RUNNING, Stage.BOOT)
        assert operation.created_at == NOW
