"""Images on their way: a few at once, each once, and nobody waits longer than he wants to.

What is here is given at once, and checked without waiting for what has to be fetched: a slow server
of some images holds nobody up who needs others.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Final

from metalwright.boot.images import ImageError
from metalwright.boot.ports import Images
from metalwright.model.template import Artifact

FETCHES_MAX: Final = 4
"""Artifacts that are fetched at once, and that are checked at once."""


class Fetcher:
    """Fetches in threads of its own. Safe to call from many threads."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._fetching = ThreadPoolExecutor(FETCHES_MAX, thread_name_prefix="images")
        self._checking = ThreadPoolExecutor(FETCHES_MAX, thread_name_prefix="checks")
        self._running: dict[str, Future[Path]] = {}
        self._lock = threading.Lock()

    def wait(self, artifacts: Iterable[Artifact], timeout_s: float) -> str:
        """Have these here; after so long in words what is still on its way.

        Raises:
            ImageError: one cannot be had.
        """
        futures = [self.begin(artifact) for artifact in artifacts]
        done, late = wait(futures, timeout_s)
        for future in done:
            future.result()
        return f"{len(late)} of its images are on their way here" if late else ""

    def begin(self, artifact: Artifact) -> Future[Path]:
        """The checked file of an artifact, once it is here; its error is an ImageError."""
        path = self._images.at_hand(artifact)
        if path is not None:
            here: Future[Path] = Future()
            here.set_result(path)
            return here
        with self._lock:
            running = self._running.get(artifact.sha256)
            if running is not None and not running.done():
                return running
            self._running = {key: one for key, one in self._running.items() if not one.done()}
            pool = self._checking if self._images.holds(artifact.sha256) else self._fetching
            future = pool.submit(self._get, artifact)
            self._running[artifact.sha256] = future
            return future

    def _get(self, artifact: Artifact) -> Path:
        try:
            return self._images.get(artifact)
        except OSError as error:
            raise ImageError(f"{artifact.url}: {error.strerror or error}") from error

    def close(self) -> None:
        """Begin nothing more."""
        for pool in (self._fetching, self._checking):
            pool.shutdown(wait=False, cancel_futures=True)
