"""Which files of a revision are the inventory: every `*.yaml` and `*.yml` that is not hidden.

A path with a component that begins with a dot is nobody's inventory (`.github/`, `.venv/`). A link
is not followed and a submodule is not entered: what they hide is a finding, never a silent gap.
Pure: it decides from a list of entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from metalwright.inventory.bulk import ENTRIES_MAX, Entry
from metalwright.inventory.codes import Code
from metalwright.inventory.yaml_text import shorten
from metalwright.model.finding import Finding, Severity

FILES_MAX: Final = 50_000
INVENTORY_BYTES_MAX: Final = 64 * 1024 * 1024
PATH_LENGTH_MAX: Final = 1_024
SUFFIXES: Final = (b".yaml", b".yml")
MODE_SYMLINK: Final = "120000"
MODE_SUBMODULE: Final = "160000"


@dataclass(frozen=True, slots=True)
class InventoryFile:
    """One file to read: its path, and the id of its content."""

    path: str
    id: str


def select(entries: Iterable[Entry]) -> tuple[list[InventoryFile], list[Finding]]:
    """The inventory files of a revision, by path, and what is wrong with its tree."""
    files: list[InventoryFile] = []
    findings: list[Finding] = []
    for entry in entries:
        if entry.path.startswith(b".") or b"/." in entry.path:
            continue
        path, is_text = _text(entry.path)
        finding = _trouble(entry, path, is_text=is_text)
        if finding is not None:
            findings.append(finding)
        elif entry.path.endswith(SUFFIXES) and entry.mode not in (MODE_SYMLINK, MODE_SUBMODULE):
            files.append(InventoryFile(path, entry.id))
    files.sort(key=lambda file: file.path)
    if len(files) > FILES_MAX:
        return [], [*findings, too_many_files(f"{len(files):,} YAML files", FILES_MAX)]
    return files, findings


def _trouble(entry: Entry, path: str, *, is_text: bool) -> Finding | None:
    looks_like_yaml = entry.path.lower().endswith(SUFFIXES)
    if entry.mode == MODE_SUBMODULE:
        return Finding(
            path=path,
            code=Code.TREE_SUBMODULE,
            message="is a submodule; nothing below it is read",
            hint="the nodes of an inventory are in the inventory's own files",
            severity=Severity.WARNING,
        )
    if entry.mode == MODE_SYMLINK:
        return Finding(
            path=path,
            code=Code.TREE_SYMLINK,
            message="is a symbolic link, which is not followed",
            hint="commit the file itself",
            severity=Severity.ERROR if looks_like_yaml else Severity.WARNING,
        )
    if not looks_like_yaml:
        return None
    if not is_text or len(path) > PATH_LENGTH_MAX:
        return Finding(
            path=path,
            code=Code.TREE_NAME,
            message=f"the name of a file should be UTF-8 in {PATH_LENGTH_MAX:,} printable"
            " characters",
        )
    if not entry.path.endswith(SUFFIXES):
        return Finding(
            path=path,
            code=Code.TREE_SUFFIX,
            message="is not read, because of the capital letters in its suffix",
            hint="let the name end in .yaml",
            severity=Severity.WARNING,
        )
    return None


def _text(path: bytes) -> tuple[str, bool]:
    """(path to show, whether it is that path exactly)."""
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        return shorten(path.decode("utf-8", "backslashreplace")), False
    if text.isprintable():
        return text if len(text) <= PATH_LENGTH_MAX else text[: PATH_LENGTH_MAX + 1], True
    return shorten(text.encode("unicode_escape").decode("ascii")), False


def too_many_files(what: str, limit: int = ENTRIES_MAX) -> Finding:
    """The finding of a revision with more in it than is read."""
    return Finding(
        path="",
        code=Code.TREE_TOO_LARGE,
        message=f"the revision has {what}; at most {limit:,} are read",
    )
