"""The worker threads of the calls that change hardware, and what waits for the last one to end.

A call that has begun cannot be taken back. So long as one is under way this process still drives,
whatever else of it has ended. Nothing is started, repeated or judged here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Calls(ThreadPoolExecutor):
    """Counts what was handed over and has not ended."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers, thread_name_prefix="execute")
        self._left = 0
        self._then: Callable[[], None] | None = None
        self._counting = threading.Lock()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As of an executor. Raises RuntimeError after `shutdown`."""
        with self._counting:
            future = super().submit(fn, *args, **kwargs)
            self._left += 1
        future.add_done_callback(self._ended)
        return future

    def when_over(self, then: Callable[[], None]) -> None:
        """Call `then` once no call is under way: at once, or in the thread of the last one."""
        with self._counting:
            if self._left:
                self._then = then
                return
        then()

    def _ended(self, _future: Future[T]) -> None:
        with self._counting:
            self._left -= 1
            then, self._then = (self._then, None) if not self._left else (None, self._then)
        if then is not None:
            then()
