"""Real git repositories for tests, written by `git fast-import`: one process for many commits."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

Content = str | bytes | tuple[str, str] | None
"""A file's text; `(mode, text)` for a link or a submodule (whose text is an id); None deletes."""

ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")} | {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@lab.example",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@lab.example",
}


def git(directory: Path, *arguments: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env=ENVIRONMENT,
        input=stdin,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, (arguments, done.stderr.decode(errors="replace"))
    return done.stdout.decode(errors="replace").strip()


class GitRepository:
    """A bare repository; `commit` adds one commit to a branch."""

    def __init__(self, path: Path, branch: str = "main") -> None:
        self.path = path
        path.mkdir(parents=True)
        git(path, "init", "--bare", "--quiet", f"--initial-branch={branch}")
        self.branch = branch
        self.second = 1_800_000_000

    def commit(
        self,
        files: Mapping[str | bytes, Content],
        *,
        branch: str | None = None,
        subject: str = "change",
        fresh: bool = False,
    ) -> str:
        """Commits the files over the branch's tree (over nothing, if `fresh`); the new id."""
        return self.commits([(branch or self.branch, files)], subject=subject, fresh=fresh)[0]

    def commits(
        self,
        trees: list[tuple[str, Mapping[str | bytes, Content]]],
        *,
        subject: str = "change",
        fresh: bool = False,
    ) -> list[str]:
        """One commit for each (branch, files), all by one process; their ids."""
        known = git(self.path, "for-each-ref", "--format=%(refname)", "refs/heads").split()
        stream = bytearray(b"feature done\n")
        for mark, (branch, files) in enumerate(trees, start=1):
            ref = f"refs/heads/{branch}"
            self.second += 1
            stream += f"commit {ref}\nmark :{mark}\n".encode()
            stream += f"author Ada Lab <ada@lab.example> {self.second} +0000\n".encode()
            stream += f"committer Ada Lab <ada@lab.example> {self.second} +0000\n".encode()
            stream += _data(subject.encode())
            if ref in known and not fresh:
                stream += f"from {ref}^0\n".encode()
            elif fresh and ref in known:
                stream += f"from {ref}^0\ndeleteall\n".encode()
            for path, content in files.items():
                stream += _file(path if isinstance(path, bytes) else path.encode(), content)
            stream += b"\n"
        stream += b"done\n"
        marks = self.path / "marks"
        git(
            self.path,
            "fast-import",
            "--quiet",
            "--force",
            f"--export-marks={marks}",
            stdin=bytes(stream),
        )
        by_mark = dict(line.split() for line in marks.read_text().splitlines())
        return [by_mark[f":{mark}"] for mark in range(1, len(trees) + 1)]


def _data(content: bytes) -> bytes:
    return b"data %d\n%s\n" % (len(content), content)


def _file(path: bytes, content: Content) -> bytes:
    quoted = b'"' + b"".join(_quoted(byte) for byte in path) + b'"'
    if content is None:
        return b"D " + quoted + b"\n"
    mode, text = content if isinstance(content, tuple) else ("100644", content)
    if mode == "160000":
        return b"M 160000 %s %s\n" % (str(text).encode(), quoted)
    body = text if isinstance(text, bytes) else text.encode()
    return b"M %s inline %s\n%s" % (mode.encode(), quoted, _data(body))


def _quoted(byte: int) -> bytes:
    plain = 0x20 <= byte < 0x7F and byte not in b'"\\'
    return bytes([byte]) if plain else b"\\%03o" % byte
