"""Files that are on their way hold nobody up who wants others, and end with the service."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from metalwright.boot.fetching import FETCHES_MAX, Fetcher
from metalwright.boot.images import ImageCache, ImageDownError
from metalwright.model.template import Artifact

from .boot_world import FACTS, world

WAIT_S = 30.0


class Drip(http.server.BaseHTTPRequestHandler):
    """A server that sends a byte now and then, without an end."""

    asked: threading.Semaphore
    over: threading.Event

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(10**9))
        self.end_headers()
        self.asked.release()
        try:
            while not self.over.wait(0.02):
                self.wfile.write(b"x")
        except OSError:
            pass

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def drip() -> Iterator[tuple[str, type[Drip]]]:
    made = {"asked": threading.Semaphore(0), "over": threading.Event()}
    handler = type("Handler", (Drip,), made)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        handler.over.set()
        server.shutdown()
        thread.join()


def slow(base: str, number: int) -> Artifact:
    return Artifact(url=f"{base}/{number}", sha256=f"{number:064x}")


def here(directory: Path, content: bytes) -> Artifact:
    path = directory / "source"
    path.write_bytes(content)
    return Artifact(url=path.as_uri(), sha256=hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("checked", [True, False])
def test_a_file_that_is_here_waits_for_no_slow_server(
    tmp_path: Path, drip: tuple[str, type[Drip]], *, checked: bool
) -> None:
    file = here(tmp_path, b"KERNEL")
    cache = ImageCache(tmp_path / "cache")
    cache.get(file)
    fetcher = Fetcher(cache if checked else ImageCache(tmp_path / "cache"))
    for number in range(FETCHES_MAX + 1):
        fetcher.begin(slow(drip[0], number))
    assert drip[1].asked.acquire(timeout=WAIT_S)
    future = fetcher.begin(file)
    assert future.done() or not checked
    assert future.result(WAIT_S).read_bytes() == b"KERNEL"
    drip[1].over.set()
    fetcher.close()


def test_what_is_fetched_ends_with_the_service(
    tmp_path: Path, drip: tuple[str, type[Drip]]
) -> None:
    cache = ImageCache(tmp_path / "cache")
    fetcher = Fetcher(cache)
    futures = [fetcher.begin(slow(drip[0], number)) for number in range(FETCHES_MAX)]
    assert drip[1].asked.acquire(timeout=WAIT_S)
    cache.stop()
    for future in futures:
        assert isinstance(future.exception(WAIT_S), ImageDownError)
    fetcher.close()
    assert not drip[1].over.is_set()
    assert list((tmp_path / "cache").iterdir()) == []


def test_nobody_waits_for_a_file_without_end(tmp_path: Path, drip: tuple[str, type[Drip]]) -> None:
    with world(tmp_path, request_timeout_s=0.5) as lab:
        lab.adopt()
        template = lab.template()
        assert template.image is not None
        kernel = Artifact(url=f"{drip[0]}/kernel", sha256=hashlib.sha256(b"KERNEL").hexdigest())
        cached = tmp_path / "cache" / kernel.sha256
        cached.write_bytes(b"KERNEL")
        lab.operate(replace(template, image=replace(template.image, kernel=kernel)))
        path = lab.boot()
        assert lab.client.get(f"{path}/kernel").content == b"KERNEL"
        cached.unlink()
        answers = [lab.client.get(f"{path}/kernel") for _ in range(2)]
        assert [(each.status_code, each.headers["retry-after"]) for each in answers] == [
            (503, "5"),
            (503, "5"),
        ]
        assert lab.client.get(f"{path}/initrd").status_code == 200
        assert lab.report(path, "running", facts=FACTS).status_code == 200
        assert drip[1].asked.acquire(timeout=WAIT_S)
        assert not drip[1].asked.acquire(blocking=False), "who waited longer fetches it once"


def test_a_boot_begins_when_all_of_its_image_is_here(
    tmp_path: Path, drip: tuple[str, type[Drip]]
) -> None:
    with world(tmp_path) as lab:
        lab.adopt()
        template = lab.template()
        assert template.image is not None
        rootfs = Artifact(url=f"{drip[0]}/rootfs", sha256="0" * 64)
        lab.operate(replace(template, image=replace(template.image, rootfs=rootfs)))
        drip[1].over.set()
        text = lab.script()
        assert "mw.url=" not in text
        assert "sleep" in text
        assert "rootfs" in lab.events("refused")[0]
