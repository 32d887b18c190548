"""Watching a local repository, or fetching a remote one again and again, beside the daemon's loop.

Whatever goes wrong is told, and tried again at a bounded pace: a thread that had ended would leave
the daemon with an old commit for ever, and nobody would know. It never touches a machine.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Any, Final

from metalwright.daemon.broken import why_of
from metalwright.daemon.fleet import open_repository
from metalwright.daemon.following import Follower
from metalwright.errors import RepositoryError
from metalwright.inventory import Repository, watch_repository
from metalwright.settings import Settings

POLL_JITTER: Final = 0.2


class Watcher:
    """Wakes the loop. `settings` and `log` are asked for each time: both may be reloaded."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        log: Callable[[], Any],
        wake: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self._settings, self._log = settings, log
        self._wake, self._stop = wake, stop

    def fetch(self, repository: Repository, follower: Follower) -> None:
        """Bring a remote repository's newest commits here; failing that, go on from the mirror."""
        if not repository.is_remote:
            return
        try:
            repository.fetch()
        except RepositoryError as error:
            self._not_fetched(follower, str(error))
        else:
            follower.unfetched = ""

    def watch(self, follower: Follower, *, remote: bool) -> None:
        """Until it is to stop. Blocks."""
        said = ""
        while not self._stop.is_set():
            settings = self._settings()
            try:
                if remote:
                    self._poll(settings, follower)
                else:
                    watch_repository(settings.repository, self._wake, self._stop)
            except Exception as error:  # noqa: BLE001  without this no commit would be seen in time
                why = why_of(error)
                if remote:
                    self._not_fetched(follower, why)
                    self._wake()
                elif why != said:
                    self._log().error("the repository is not watched, only looked at", why=why)
                said = why
                self._stop.wait(settings.poll_interval_s)

    def _poll(self, settings: Settings, follower: Follower) -> None:
        jitter = random.SystemRandom()
        with open_repository(settings) as repository:  # a git handle belongs to one thread
            while True:
                spread = jitter.uniform(1 - POLL_JITTER, 1 + POLL_JITTER)
                if self._stop.wait(self._settings().poll_interval_s * spread):
                    return
                self.fetch(repository, follower)
                self._wake()

    def _not_fetched(self, follower: Follower, why: str) -> None:
        if not follower.unfetched:
            self._log().error("the repository cannot be fetched", why=why)
        follower.unfetched = why
