"""Commits to suggest: the lines that hold a node, declare it broken, or give its place to another
one, ready for git.

It never writes to the repository; what it gives is text to paste, or a diff for `git apply`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from metalwright.daemon.fleet import Fleet
from metalwright.model.documents import Assignment
from metalwright.model.inventory import Inventory, Source
from metalwright.model.noderange import fold, unfold

_BLOCK_SPEC = re.compile(r"^spec:\s*(#.*)?$")
_LIFECYCLE = re.compile(r"^(\s+lifecycle:\s*)(\w+|\"\w+\")(\s*(#.*)?)$")
_FOLDED = re.compile(r"[^,\[]+(?:\[[^\]]*\])?[^,\[]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Edit:
    """Lines of a file, from `at` on (from 0), that others take the place of."""

    path: str
    at: int
    taken: int
    given: tuple[str, ...]


def hold_text(reason: str) -> str:
    """The field of a `Node` that holds it."""
    return f"spec:\n  hold:\n    reason: {json.dumps(reason, ensure_ascii=False)}"


def failed_diff(
    fleet: Fleet, inventory: Inventory, node: str, assignment: str = "", other: str = ""
) -> tuple[str, ...]:
    """The lines of a diff that sets `lifecycle: broken`, and with `other` gives the node's place in
    the assignment to that one; of plain words where a document is not written one field in a line.
    """
    texts = _Texts(fleet, inventory)
    edits: list[_Edit] = []
    words: list[str] = []
    source = inventory.sources["Node", node]
    broken = _broken(texts, source)
    if broken is not None:
        edits.append(broken)
    else:
        words.append(f"{source}: set spec.lifecycle to broken")
    if other:
        source = inventory.sources["Assignment", assignment]
        swap = _swap(texts, source, inventory.assignments[assignment], node, other)
        if swap is not None:
            edits.append(swap)
        else:
            words.append(f"{source}: name {other} instead of {node} in spec.nodes")
    return (*words, *texts.diff(edits))


class _Texts:
    """The files of one revision."""

    def __init__(self, fleet: Fleet, inventory: Inventory) -> None:
        self._fleet, self._revision = fleet, inventory.revision.id
        self._files: dict[str, list[str]] = {}

    def lines(self, path: str) -> list[str]:
        """The lines of a file, with their ends."""
        if path not in self._files:
            repository = self._fleet.repository
            (found,) = (
                entry.id
                for entry in repository.files(self._revision)
                if entry.path == path.encode()
            )
            ((_id, data),) = repository.blobs([found])
            self._files[path] = data.decode("utf-8").splitlines(keepends=True)
        return self._files[path]

    def line_of(self, source: Source, field: str) -> int:
        """The line of a field, from 0."""
        place = replace(source, field=field)
        return self._fleet.loader.locate(place, self._revision).line - 1

    def diff(self, edits: Iterable[_Edit]) -> Iterator[str]:
        """What `git diff` would say after these edits."""
        files: dict[str, list[_Edit]] = {}
        for edit in edits:
            files.setdefault(edit.path, []).append(edit)
        for path, mine in sorted(files.items()):
            before = self.lines(path)
            after = list(before)
            for edit in sorted(mine, key=lambda each: each.at, reverse=True):
                after[edit.at : edit.at + edit.taken] = edit.given
            for line in difflib.unified_diff(before, after, f"a/{path}", f"b/{path}"):
                yield line.rstrip("\n")


def _broken(texts: _Texts, source: Source) -> _Edit | None:
    """The one field set, if its place can be told by its line."""
    lines, at = texts.lines(source.path), texts.line_of(source, "spec.lifecycle")
    written = _LIFECYCLE.match(lines[at].rstrip("\n"))
    if written is not None:
        given = (f"{written[1]}broken{written[3]}\n",)
        return _Edit(path=source.path, at=at, taken=1, given=given)
    if not _BLOCK_SPEC.match(lines[at].rstrip("\n")) or at + 1 == len(lines):
        return None
    below = next((line for line in lines[at + 1 :] if line.strip()), "")
    indent = below[: len(below) - len(below.lstrip(" "))]
    if not indent:
        return None
    given = (f"{indent}lifecycle: broken\n",)
    return _Edit(path=source.path, at=at + 1, taken=0, given=given)


def _swap(
    texts: _Texts, source: Source, assignment: Assignment, node: str, other: str
) -> _Edit | None:
    """The entry of `spec.nodes` that names the node, written anew with the other one in its place,
    if it can be told by its line.
    """
    nodes = assignment.spec.nodes
    number = next((at for at, text in enumerate(nodes) if node in unfold(text)), None)
    if number is None:
        return None
    old = nodes[number]
    names = [other if name == node else name for name in unfold(old)]
    entries = _FOLDED.findall(fold(names))
    at = texts.line_of(source, f"spec.nodes.{number}")
    line = texts.lines(source.path)[at]
    bare = re.escape(old)
    block = re.fullmatch(rf"(\s*-\s+)([\"']?){bare}\2(\s*(?:#.*)?\n?)", line)
    if block is not None:
        ends = [*["\n"] * (len(entries) - 1), block[3]]
        given = tuple(
            f"{block[1]}{_quoted(entry)}{end}" for entry, end in zip(entries, ends, strict=True)
        )
        return _Edit(path=source.path, at=at, taken=1, given=given)
    within = list(re.finditer(rf"(?<=[\[,\s])([\"']?){bare}\1(?=\s*[,\]])", line))
    if len(within) != 1:
        return None
    start, end = within[0].span()
    text = line[:start] + ", ".join(map(_quoted, entries)) + line[end:]
    return _Edit(path=source.path, at=at, taken=1, given=(text,))


def _quoted(entry: str) -> str:
    """A node range as YAML takes it anywhere."""
    return f'"{entry}"' if "[" in entry or "," in entry else entry
