"""Reading a whole revision fast: its list of files, and many blobs through one process.

`git ls-tree` and one `git cat-file --batch` read 10,000 files in a quarter of a second, which is
what GitPython needs for 4,000. `git archive` is not used: it obeys the repository's own
`.gitattributes`, so `export-ignore` could hide a file from us.

Everything that a repository can make large is bounded: entries of the tree, bytes of a blob, time.
"""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from os import killpg
from typing import IO, Final

from metalwright.errors import RepositoryError
from metalwright.inventory.git_commands import READ_TIMEOUT_S, GitCommands, clean

ENTRIES_MAX: Final = 200_000
_CHUNK: Final = 1 << 16
_HEADER_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a revision: git's mode (six octal digits), the id of its content, its path."""

    mode: str
    id: str
    path: bytes


class TooManyEntriesError(Exception):
    """A tree with more than `ENTRIES_MAX` files: a mistake, or trees that share subtrees without
    end.
    """


def list_tree(git: GitCommands, commit: str, *paths: str) -> list[Entry]:
    """Every file below a commit, or at or below the paths in it, in git's order.

    Raises:
        TooManyEntriesError: there are more than `ENTRIES_MAX`.
        RepositoryError: it could not be read, or not within `READ_TIMEOUT_S`.
    """
    arguments = ["ls-tree", "-r", "-z", "--full-tree", "--end-of-options", commit, *paths]
    entries: list[Entry] = []
    with _process(git, arguments, None) as (process, output):
        rest = b""
        while chunk := output.read(_CHUNK):
            *whole, rest = (rest + chunk).split(b"\0")
            for item in whole:
                head, _tab, path = item.partition(b"\t")
                mode, _kind, identity = head.decode("ascii").split(" ")
                entries.append(Entry(mode, identity, path))
            if len(entries) > ENTRIES_MAX:
                raise TooManyEntriesError
        _ended_well(process, arguments[0])
    return entries


def sizes(git: GitCommands, ids: Iterable[str]) -> dict[str, int]:
    """The size in bytes of each blob.

    Raises:
        RepositoryError: one is missing, or git failed.
    """
    found: dict[str, int] = {}
    with (
        written(identity.encode("ascii") for identity in ids) as requests,
        _process(git, ["cat-file", "--batch-check", "--buffer"], requests) as (process, output),
    ):
        while header := output.readline(_HEADER_MAX):
            identity, size = _header(header)
            found[identity] = size
        _ended_well(process, "cat-file")
    return found


def blobs(git: GitCommands, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """(id, content) of each blob, in the order asked for. The caller has checked the sizes.

    Raises:
        RepositoryError: one is missing, or git failed.
    """
    with (
        written(identity.encode("ascii") for identity in ids) as requests,
        _process(git, ["cat-file", "--batch", "--buffer"], requests) as (process, output),
    ):
        while header := output.readline(_HEADER_MAX):
            identity, size = _header(header)
            content = output.read(size + 1)
            if len(content) != size + 1:
                break
            yield identity, content[:-1]
        _ended_well(process, "cat-file")


def _header(line: bytes) -> tuple[str, int]:
    words = line.decode("ascii", "replace").split()
    if len(words) != 3 or words[1] != "blob":
        identity = words[0] if words else "?"
        raise RepositoryError(
            f"the repository lacks the file content {identity}: it is damaged, or a partial clone;"
            " try git fsck"
        )
    return words[0], int(words[2])


def written(lines: Iterable[bytes]) -> IO[bytes]:
    """A temporary file of these lines for a git process to read, at its beginning; the caller
    closes it. A pipe would need a second thread, or fill up and stand still.

    Raises:
        RepositoryError: there is no room for it, or no directory.
    """
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        try:
            file.writelines(line + b"\n" for line in lines)
            file.seek(0)
        except OSError:
            file.close()
            raise
    except OSError as error:
        raise RepositoryError(f"no temporary file can be written for git: {error}") from error
    return file


@contextmanager
def _process(
    git: GitCommands, arguments: list[str], stdin: IO[bytes] | None
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A process whose whole group is killed at the end, and after `READ_TIMEOUT_S` at the latest.

    Killing it ends the read that waits for it; `_ended_well` then says why.
    """
    try:
        process = git.stream(arguments, stdin)
    except OSError as error:
        raise RepositoryError(f"git could not be started: {error}") from error
    watchdog = threading.Timer(READ_TIMEOUT_S, _kill, (process,))
    watchdog.daemon = True
    watchdog.start()
    try:
        with process:
            if process.stdout is None:  # for the type checker: stream() asks for a pipe
                raise RepositoryError("git has no output")
            try:
                yield process, process.stdout
            finally:
                if process.poll() is None:
                    _kill(process)
    finally:
        watchdog.cancel()


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        killpg(process.pid, signal.SIGKILL)


def _ended_well(process: subprocess.Popen[bytes], command: str) -> None:
    errors = process.stderr.read(_CHUNK) if process.stderr is not None else b""
    status = process.wait()
    if status == -signal.SIGKILL:
        raise RepositoryError(f"git {command} did not end within {READ_TIMEOUT_S:g} s")
    if status != 0:
        # A tree some 50,000 directories deep overflows git's own stack: signal 11 (git 2.39).
        died = f"it died of signal {-status}" if status < 0 else f"exit status {status}"
        text = clean(errors.decode("utf-8", "replace")) or died
        raise RepositoryError(f"git {command} failed: {text}")
