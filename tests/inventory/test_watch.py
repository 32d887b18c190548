"""The loop is woken when a reference of a local repository moves, whatever happens around it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalwright.errors import RepositoryError
from metalwright.inventory import watch_repository

from .git_repository import GitRepository, git

WAKE_WAIT_S = 20.0


class Watched:
    """A watch in a thread, and how often it woke."""

    def __init__(self, location: Path) -> None:
        self.stop, self.woken, self.count = threading.Event(), threading.Event(), 0
        self.errors: list[BaseException] = []
        self.thread = threading.Thread(target=self.run, args=(str(location),))
        self.thread.start()

    def run(self, location: str) -> None:
        try:
            watch_repository(location, self.wake, self.stop)
        except RepositoryError as error:
            self.errors.append(error)

    def wake(self) -> None:
        self.count += 1
        self.woken.set()

    def wakes_after(self, act: Callable[[], object]) -> bool:
        self.settle()
        act()
        return self.woken.wait(WAKE_WAIT_S)

    def settle(self) -> None:
        """Waits until it has been silent for a while."""
        assert self.woken.wait(WAKE_WAIT_S)
        while True:
            before = self.count
            time.sleep(0.5)
            if self.count == before:
                break
        self.woken.clear()

    def close(self) -> None:
        self.stop.set()
        self.thread.join(WAKE_WAIT_S)
        assert not self.thread.is_alive()


@pytest.fixture
def watched() -> Iterator[Callable[[Path], Watched]]:
    made: list[Watched] = []

    def watch(location: Path) -> Watched:
        made.append(Watched(location))
        return made[-1]

    yield watch
    for one in made:
        one.close()


def test_every_way_in_which_a_branch_moves_wakes(
    origin: GitRepository, watched: Callable[[Path], Watched]
) -> None:
    origin.commit({"a": "1"})
    watch = watched(origin.path)
    assert watch.wakes_after(lambda: origin.commit({"a": "2"}))
    assert watch.wakes_after(lambda: git(origin.path, "pack-refs", "--all"))
    assert watch.wakes_after(lambda: origin.commit({"a": "3"}))
    assert watch.wakes_after(lambda: origin.commit({"a": "1"}, branch="feature/deep/down"))
    assert watch.wakes_after(lambda: origin.commit({"a": "2"}, branch="feature/deep/down"))
    assert watch.wakes_after(lambda: git(origin.path, "branch", "-D", "feature/deep/down"))
    assert watch.errors == []


def test_a_commit_in_a_work_tree_and_in_a_linked_one_wakes(
    origin: GitRepository, tmp_path: Path, watched: Callable[[Path], Watched]
) -> None:
    origin.commit({"a": "1"})
    tree, linked = tmp_path / "tree", tmp_path / "linked"
    git(tmp_path, "clone", "--quiet", str(origin.path), str(tree))
    git(tree, "worktree", "add", "--quiet", "-b", "side", str(linked))
    for place in (tree, linked):
        watch = watched(place)
        assert watch.wakes_after(
            lambda: git(linked, "commit", "--quiet", "--allow-empty", "-m", "x")
        )
        assert watch.wakes_after(lambda: git(tree, "commit", "--quiet", "--allow-empty", "-m", "x"))
        watch.close()


def test_writing_objects_or_files_does_not_wake(
    origin: GitRepository, watched: Callable[[Path], Watched]
) -> None:
    origin.commit({"a": "1"})
    watch = watched(origin.path)
    watch.settle()
    git(origin.path, "hash-object", "-w", "--stdin", stdin=b"x")
    assert not watch.woken.wait(1.5)


def test_a_repository_may_vanish_and_come_back(
    origin: GitRepository, tmp_path: Path, watched: Callable[[Path], Watched]
) -> None:
    origin.commit({"a": "1"})
    watch = watched(origin.path)
    away = tmp_path / "away.git"
    assert watch.wakes_after(lambda: origin.path.rename(away))
    assert watch.wakes_after(lambda: away.rename(origin.path))
    assert watch.wakes_after(lambda: origin.commit({"a": "2"}))
    assert watch.errors == []


def test_a_repository_may_come_later(tmp_path: Path, watched: Callable[[Path], Watched]) -> None:
    watch = watched(tmp_path / "later.git")
    assert not watch.woken.wait(0.5)
    assert GitRepository(tmp_path / "later.git").commit({"a": "1"})
    assert watch.woken.wait(WAKE_WAIT_S)


def test_a_stop_ends_it_at_once(origin: GitRepository, watched: Callable[[Path], Watched]) -> None:
    watch = watched(origin.path)
    assert watch.woken.wait(WAKE_WAIT_S)
    begin = time.monotonic()
    watch.close()
    assert time.monotonic() - begin < 2


def test_a_url_cannot_be_watched() -> None:
    with pytest.raises(RepositoryError, match="polled"):
        watch_repository("https://host/x.git", lambda: None, threading.Event())
