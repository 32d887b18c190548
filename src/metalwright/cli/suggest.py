"""Commits to suggest: the lines that hold a node, or declare it broken, ready for git.

It never writes to the repository; what it gives is text to paste, or a diff for `git apply`.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import replace

from metalwright.daemon.fleet import Fleet
from metalwright.model.inventory import Inventory, Source

_BLOCK_SPEC = re.compile(r"^spec:\s*(#.*)?$")
_LIFECYCLE = re.compile(r"^(\s+lifecycle:\s*)(\w+|\"\w+\")(\s*(#.*)?)$")


def hold_text(reason: str) -> str:
    """The field of a `Node` that holds it."""
    return f"spec:\n  hold:\n    reason: {json.dumps(reason, ensure_ascii=False)}"


def broken_diff(fleet: Fleet, inventory: Inventory, node: str) -> tuple[str, ...]:
    """The lines of a diff that sets `lifecycle: broken`; of plain words where the node's document
    is not written one field in a line.
    """
    source = inventory.sources["Node", node]
    text = _text_of(fleet, inventory.revision.id, source.path)
    before = text.splitlines(keepends=True)
    after = _with_lifecycle(fleet, inventory, source, before)
    if after is None:
        return (f"{source}: set spec.lifecycle to broken",)
    name = source.path
    diff = difflib.unified_diff(before, after, f"a/{name}", f"b/{name}")
    return tuple(line.rstrip("\n") for line in diff)


def _with_lifecycle(
    fleet: Fleet, inventory: Inventory, source: Source, lines: Sequence[str]
) -> list[str] | None:
    """The file with the one field set, if its place can be told by its line."""
    revision = inventory.revision.id
    changed = list(lines)
    place = replace(source, field="spec.lifecycle")
    at = fleet.loader.locate(place, revision).line - 1
    written = _LIFECYCLE.match(changed[at].rstrip("\n"))
    if written is not None:
        changed[at] = f"{written[1]}broken{written[3]}\n"
        return changed
    if not _BLOCK_SPEC.match(changed[at].rstrip("\n")) or at + 1 == len(changed):
        return None
    below = next((line for line in changed[at + 1 :] if line.strip()), "")
    indent = below[: len(below) - len(below.lstrip(" "))]
    if not indent:
        return None
    changed.insert(at + 1, f"{indent}lifecycle: broken\n")
    return changed


def _text_of(fleet: Fleet, revision: str, path: str) -> str:
    repository = fleet.repository
    (found,) = (entry.id for entry in repository.files(revision) if entry.path == path.encode())
    ((_id, data),) = repository.blobs([found])
    return data.decode("utf-8")
