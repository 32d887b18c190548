from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalwright.boot.images import CacheLimits, ImageCache, ImageDownError, ImageError
from metalwright.model.template import Artifact

KERNEL = b"kernel" * 1_000


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Files(http.server.BaseHTTPRequestHandler):
    """A real web server with a few files and a few faults."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/kernel")
            self.end_headers()
        elif self.path == "/busy":
            self.send_error(503)
        elif self.path in ("/kernel", "/short"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(KERNEL)))
            self.end_headers()
            self.wfile.write(KERNEL if self.path == "/kernel" else KERNEL[:100])
        else:
            self.send_error(404)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    handler = type("Handler", (Files,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler.asked  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def test_an_artifact_is_fetched_once_and_checked(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    base, asked = server
    cache = ImageCache(tmp_path)
    one = Artifact(url=f"{base}/moved", sha256=digest(KERNEL))
    assert not cache.holds(one.sha256)
    assert cache.get(one).read_bytes() == KERNEL
    assert cache.get(Artifact(url=f"{base}/elsewhere", sha256=one.sha256)).name == one.sha256
    assert cache.holds(one.sha256)
    assert asked == ["/moved", "/kernel"]
    assert ImageCache(tmp_path).get(one).read_bytes() == KERNEL
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("path", "said", "passes"),
    [
        ("/kernel", f"its sha256 is {digest(KERNEL)}, git declares {'0' * 64}", False),
        ("/short", "received 100 bytes", True),
        ("/none", "the server answered 404", False),
        ("/busy", "the server answered 503", True),
    ],
)
def test_what_is_not_the_declared_file_never_enters(
    tmp_path: Path, server: tuple[str, list[str]], path: str, said: str, *, passes: bool
) -> None:
    cache = ImageCache(tmp_path)
    with pytest.raises(ImageError) as caught:
        cache.get(Artifact(url=server[0] + path, sha256="0" * 64))
    assert said in str(caught.value)
    assert server[0] + path in str(caught.value)
    assert isinstance(caught.value, ImageDownError) == passes, "whether another try is worth it"
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_and_a_file_that_is_not_there_are_errors(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "cache")
    with pytest.raises(ImageDownError, match="kernel"):
        cache.get(Artifact(url="http://127.0.0.1:1/kernel", sha256="0" * 64))
    with pytest.raises(ImageError, match="none") as caught:
        cache.get(Artifact(url=f"file://{tmp_path}/none", sha256="0" * 64))
    assert not isinstance(caught.value, ImageDownError)


def test_a_file_that_was_changed_in_the_cache_is_fetched_anew(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    cache = ImageCache(tmp_path)
    one = Artifact(url=f"{server[0]}/kernel", sha256=digest(KERNEL))
    path = cache.get(one)
    path.chmod(0o640)
    path.write_bytes(b"evil" + KERNEL[4:])
    assert cache.get(one).read_bytes() == KERNEL
    assert server[1] == ["/kernel", "/kernel"]


def test_no_artifact_and_no_cache_grows_without_end(tmp_path: Path) -> None:
    contents = [bytes([number]) * 1_000 for number in range(6)]
    for number, content in enumerate(contents):
        (tmp_path / f"file-{number}").write_bytes(content)
    every = [
        Artifact(url=f"file://{tmp_path}/file-{number}", sha256=digest(content))
        for number, content in enumerate(contents)
    ]
    limits = CacheLimits(bytes_max=3_500, artifact_bytes_max=1_000)
    cache = ImageCache(tmp_path / "cache", limits)
    for one in every[:3]:
        cache.get(one)
    cache.get(every[0])
    for one in every[3:5]:
        cache.get(one)
    assert [cache.holds(one.sha256) for one in every] == [True, False, False, True, True, False]
    (tmp_path / "file-5").write_bytes(b"x" * 1_001)
    with pytest.raises(ImageError, match="more than 1000 bytes"):
        cache.get(every[5])


def test_many_who_want_one_artifact_fetch_it_once(
    tmp_path: Path, server: tuple[str, list[str]]
) -> None:
    cache = ImageCache(tmp_path)
    one = Artifact(url=f"{server[0]}/kernel", sha256=digest(KERNEL))
    threads = [threading.Thread(target=cache.get, args=(one,)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert server[1] == ["/kernel"]


def test_what_a_former_process_left_unfinished_is_cleared(tmp_path: Path) -> None:
    (tmp_path / f"{'0' * 64}.part").write_bytes(b"half")
    ImageCache(tmp_path)
    assert list(tmp_path.iterdir()) == []
