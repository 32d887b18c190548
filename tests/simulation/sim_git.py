"""A bare git repository, written object by object: real blobs, trees and commits, no process.

Writing loose objects is two lines of Python, and a commit of a few files costs a fraction of a
millisecond; starting git for each would cost more than the whole cycle that follows. What is
written is read by the product through git itself.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from pathlib import Path

AUTHOR = "Ada Lovelace <ada@lab.example>"


class GitWriter:
    """One branch, `main`, of a bare repository below `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        (directory / "objects").mkdir(parents=True)
        (directory / "refs" / "heads").mkdir(parents=True)
        (directory / "HEAD").write_text("ref: refs/heads/main\n")
        (directory / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")
        self.head: str | None = None
        self.moves = 0
        self._blobs: dict[str, str] = {}
        self._written: set[str] = set()

    def commit(self, files: Mapping[str, str], subject: str, at_s: int, parent: str | None) -> str:
        """Write a commit whose tree is exactly `files`; the branch stays where it is."""
        lines = [f"tree {self._tree(files)}"]
        if parent is not None:
            lines.append(f"parent {parent}")
        stamp = f"{AUTHOR} {at_s} +0000"
        lines += [f"author {stamp}", f"committer {stamp}", "", subject, ""]
        return self._put("commit", "\n".join(lines).encode())

    def move(self, commit: str) -> None:
        """Let the branch be at a commit, whether it descends from the last or not."""
        reference = self.directory / "refs" / "heads" / "main"
        fresh = reference.with_name("main.new")
        fresh.write_text(f"{commit}\n")
        fresh.rename(reference)
        self.head = commit
        self.moves += 1

    def _tree(self, files: Mapping[str, str]) -> str:
        folders: dict[str, dict[str, str]] = {}
        entries: list[tuple[str, str, str]] = []
        for path, text in files.items():
            name, slash, rest = path.partition("/")
            if slash:
                folders.setdefault(name, {})[rest] = text
            else:
                entries.append((name, "100644", self._blob(text)))
        entries += [(name, "40000", self._tree(inner)) for name, inner in folders.items()]
        # git sorts a folder as if its name ended with a slash.
        entries.sort(key=lambda entry: entry[0] + ("/" if entry[1] == "40000" else ""))
        body = b"".join(
            f"{mode} {name}\0".encode() + bytes.fromhex(identity)
            for name, mode, identity in entries
        )
        return self._put("tree", body)

    def _blob(self, text: str) -> str:
        if text not in self._blobs:
            self._blobs[text] = self._put("blob", text.encode())
        return self._blobs[text]

    def _put(self, kind: str, body: bytes) -> str:
        content = f"{kind} {len(body)}\0".encode() + body
        identity = hashlib.sha1(content).hexdigest()
        if identity not in self._written:
            folder = self.directory / "objects" / identity[:2]
            folder.mkdir(exist_ok=True)
            (folder / identity[2:]).write_bytes(zlib.compress(content, 1))
            self._written.add(identity)
        return identity
