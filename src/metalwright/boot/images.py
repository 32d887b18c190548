"""The artifacts of images, kept here by their digest: fetched once, checked, served from disk.

A file is in the cache under its SHA-256 and under no other name, so a moved mirror changes nothing
and a changed file is another file. The digest is checked when the file comes in, and again before
it is served whenever the file is not the one that this process checked: a disk that lies, or a hand
in the cache, makes no machine boot something else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx

from metalwright.errors import MetalwrightError
from metalwright.model.template import Artifact

CHUNK_BYTES = 1 << 20
REDIRECTS_MAX = 5
STALL_TIMEOUT_S = 30.0
"""How long a server may say nothing."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LATER = frozenset({httpx.codes.REQUEST_TIMEOUT, httpx.codes.TOO_MANY_REQUESTS})


class ImageError(MetalwrightError):
    """An artifact that cannot be had, and why."""


class ImageDownError(ImageError):
    """One that cannot be had now: its server is silent or busy, or there is no room. Worth another
    try.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """Bytes of the whole cache and of one artifact; seconds of one download; how many at once."""

    bytes_max: int = 50 * 10**9
    artifact_bytes_max: int = 20 * 10**9
    download_timeout_s: float = 3_600.0
    downloads_max: int = 2


class ImageCache:
    """The files in one directory. Safe to use from many threads; one process at a time."""

    def __init__(self, directory: Path, limits: CacheLimits | None = None) -> None:
        """Open the cache, and clear what a former process left unfinished.

        Raises:
            ImageError: the directory cannot be made.
        """
        self._directory, self._limits = directory, limits or CacheLimits()
        self._downloads = threading.BoundedSemaphore(self._limits.downloads_max)
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._checked: dict[str, tuple[int, int, int]] = {}
        self._used: dict[str, float] = {}
        self._ends = threading.Event()
        try:
            directory.mkdir(parents=True, exist_ok=True, mode=0o750)
            for left in directory.glob("*.part"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise ImageError(f"the image cache {directory}: {error.strerror}") from error

    def get(self, artifact: Artifact) -> Path:
        """The checked file of an artifact, fetched when it is not there.

        Raises:
            ImageError: it cannot be fetched, is too large, or has another digest.
        """
        with self._of(artifact.sha256):
            path = self._present(artifact.sha256)
            if path is None:
                path = self._fetch(artifact)
            self._used[artifact.sha256] = time.monotonic()
            return path

    def at_hand(self, artifact: Artifact) -> Path | None:
        """The file of an artifact, where this process has checked it: nothing is waited for."""
        path = self._directory / artifact.sha256
        try:
            stamp = _stamp(path)
        except OSError:
            return None
        if self._checked.get(artifact.sha256) != stamp:
            return None
        self._used[artifact.sha256] = time.monotonic()
        return path

    def stop(self) -> None:
        """End what is being fetched or checked: whoever waits for it is told so."""
        self._ends.set()

    def holds(self, sha256: str) -> bool:
        """Whether a file of this digest is there; it may still turn out to be damaged."""
        return bool(_DIGEST.fullmatch(sha256)) and (self._directory / sha256).is_file()

    @contextlib.contextmanager
    def _of(self, sha256: str) -> Iterator[None]:
        """One at a time for each digest: who comes second finds the file."""
        with self._lock:
            lock = self._locks.setdefault(sha256, threading.Lock())
        with lock:
            yield

    def _present(self, sha256: str) -> Path | None:
        path = self._directory / sha256
        try:
            stamp = _stamp(path)
            if self._checked.get(sha256) == stamp:
                return path
            if self._digest(path) == sha256:
                self._checked[sha256] = stamp
                return path
            path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise ImageError(f"the image cache {path}: {error.strerror}") from error
        return None

    def _fetch(self, artifact: Artifact) -> Path:
        path = self._directory / artifact.sha256
        part = path.with_suffix(".part")
        try:
            with self._downloads, self._writing(), part.open("wb") as file:
                found = self._copy(artifact, file.fileno())
                if found != artifact.sha256:
                    raise ImageError(
                        f"{artifact.url}: its sha256 is {found}, git declares {artifact.sha256}"
                    )
                os.fchmod(file.fileno(), 0o440)
                os.fsync(file.fileno())
                part.replace(path)
                self._checked[artifact.sha256] = _stamp(path)
        except httpx.HTTPError as error:
            words = f"{artifact.url}: {str(error) or type(error).__name__}"
            raise (ImageDownError(words) if _passes(error) else ImageError(words)) from error
        finally:
            part.unlink(missing_ok=True)
        self._make_room(artifact.sha256)
        return path

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say of an error of ours that it is ours: the disk of the cache may be full."""
        try:
            yield
        except OSError as error:
            words = f"the image cache {self._directory}: {error.strerror}"
            raise ImageDownError(words) from error

    def _go_on(self) -> None:
        if self._ends.is_set():
            raise ImageDownError("the boot service ends")

    def _digest(self, path: Path) -> str:
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                self._go_on()
                digest.update(chunk)
        return digest.hexdigest()

    def _copy(self, artifact: Artifact, descriptor: int) -> str:
        """Write the artifact to `descriptor`; its digest."""
        digest, size = hashlib.sha256(), 0
        until = time.monotonic() + self._limits.download_timeout_s
        self._go_on()
        for chunk in _read(artifact.url):
            self._go_on()
            size += len(chunk)
            if size > self._limits.artifact_bytes_max:
                most = self._limits.artifact_bytes_max
                raise ImageError(f"{artifact.url}: has more than {most} bytes, the most for one")
            if time.monotonic() > until:
                most_s = self._limits.download_timeout_s
                raise ImageDownError(f"{artifact.url}: takes longer than {most_s:g} s")
            digest.update(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(descriptor, view) :]
        return digest.hexdigest()

    def _make_room(self, keep: str) -> None:
        """Drop what was used longest ago until the rest fits; what is being served stays readable
        to whoever has it open.
        """
        files = [path for path in self._directory.iterdir() if _DIGEST.fullmatch(path.name)]
        sizes = {path: path.stat().st_size for path in files}
        total = sum(sizes.values())
        for path in sorted(files, key=lambda path: self._used.get(path.name, 0.0)):
            if total <= self._limits.bytes_max:
                return
            if path.name != keep:
                total -= sizes[path]
                path.unlink(missing_ok=True)


def _read(url: str) -> Iterator[bytes]:
    """The content of a URL in pieces. Raises ImageError where it cannot be read."""
    pieces = _chunks(url)
    while True:
        try:
            piece = next(pieces, b"")
        except OSError as error:
            raise ImageError(f"{url}: {error.strerror or error}") from error
        if not piece:
            return
        yield piece


def _chunks(url: str) -> Iterator[bytes]:
    parts = urlsplit(url)
    if parts.scheme == "file":
        with Path(unquote(parts.path)).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
        return
    with (
        httpx.Client(
            follow_redirects=True, max_redirects=REDIRECTS_MAX, timeout=STALL_TIMEOUT_S
        ) as client,
        client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as response,
    ):
        if response.status_code != httpx.codes.OK:
            words = f"{url}: the server answered {response.status_code}"
            later = response.is_server_error or response.status_code in _LATER
            raise ImageDownError(words) if later else ImageError(words)
        yield from response.iter_raw()  # as it comes: a slow server keeps nobody from stopping


def _passes(error: httpx.HTTPError) -> bool:
    """Whether it is the way to the server, and not what was asked for."""
    asked = isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    return isinstance(error, httpx.TransportError) and not asked


def _stamp(path: Path) -> tuple[int, int, int]:
    """What changes when somebody changes the file."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
