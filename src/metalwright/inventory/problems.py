"""A problem between documents, before its line and column are looked up, and what checks share.

Checks are pure: they say in which document and at which field; only a problem that will be shown
costs a second look at its file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from metalwright.inventory.codes import Code
from metalwright.inventory.parse import ParsedFile
from metalwright.inventory.schema import suggestion
from metalwright.inventory.yaml_builder import Path
from metalwright.model.documents import (
    Assignment,
    BootTemplate,
    Freeze,
    Image,
    Node,
    Policy,
    Pool,
    Schedule,
)
from metalwright.model.finding import Severity
from metalwright.model.inventory import Source

SUGGESTIONS_MAX: Final = 50
SUGGESTION_NAMES_MAX: Final = 500

D = TypeVar("D")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong, in which document, at which field; `other` is the second place of two."""

    source: Source
    way: Path
    code: Code
    message: str
    value: str = ""
    hint: str = ""
    severity: Severity = Severity.ERROR
    other: tuple[Source, Path] | None = None


@dataclass(frozen=True, slots=True)
class Declared(Generic[D]):
    """A valid document and where it begins."""

    value: D
    source: Source


@dataclass(slots=True)
class Declarations:
    """All valid documents by name, in the order of names; and the names that only broken ones have.

    A reference to a broken document is not reported: mending the document mends it.
    """

    nodes: dict[str, Declared[Node]] = field(default_factory=dict)
    images: dict[str, Declared[Image]] = field(default_factory=dict)
    templates: dict[str, Declared[BootTemplate]] = field(default_factory=dict)
    pools: dict[str, Declared[Pool]] = field(default_factory=dict)
    assignments: dict[str, Declared[Assignment]] = field(default_factory=dict)
    schedules: dict[str, Declared[Schedule]] = field(default_factory=dict)
    policies: dict[str, Declared[Policy]] = field(default_factory=dict)
    freezes: dict[str, Declared[Freeze]] = field(default_factory=dict)
    broken: set[tuple[str, str]] = field(default_factory=set)
    salvaged: set[str] = field(default_factory=set)
    suggestions: int = 0

    def of_kind(self, kind: str) -> dict[str, Any]:
        """The documents of a kind by name."""
        tables: dict[str, dict[str, Any]] = {
            "Node": self.nodes,
            "Image": self.images,
            "BootTemplate": self.templates,
            "Pool": self.pools,
            "Assignment": self.assignments,
            "Schedule": self.schedules,
            "Policy": self.policies,
            "Freeze": self.freezes,
        }
        return tables[kind]

    def knows(self, kind: str, name: str) -> bool:
        """Whether a document of this kind and name is there, valid or broken."""
        return name in self.of_kind(kind) or (kind, name) in self.broken or name in self.salvaged

    def unknown(self, kind: str, name: str, source: Source, way: Path) -> Problem:
        """The problem of a reference to nothing, with the nearest name if there is one."""
        return Problem(
            source=source,
            way=way,
            code=Code.REFERENCE_UNKNOWN,
            message=f"there is no {kind} of this name",
            value=name,
            hint=self.near(kind, name),
        )

    def near(self, kind: str, name: str) -> str:
        """A suggestion; for the first few only, because each compares many names."""
        names = [
            known
            for known in self.of_kind(kind)
            if known[:1] == name[:1] and abs(len(known) - len(name)) <= 3
        ]
        return self.nearest(name, names)

    def nearest(self, name: str, names: Sequence[str]) -> str:
        """A suggestion from `names`; for the first few only."""
        self.suggestions += 1
        if self.suggestions > SUGGESTIONS_MAX:
            return ""
        return suggestion(name, names[:SUGGESTION_NAMES_MAX])


def declare(files: Mapping[str, ParsedFile]) -> tuple[Declarations, list[Problem]]:
    """Every document of every file by kind and name, and the names that are there twice."""
    found = Declarations()
    problems: list[Problem] = []
    first: dict[tuple[str, str], Source] = {}
    for path in sorted(files):
        parsed = files[path]
        found.salvaged |= parsed.salvaged
        for document in parsed.documents:
            ref, source = (document.kind, document.name), Source(path=path, line=document.line)
            if ref in first:
                problems.append(_twice(document.kind, document.name, source, first[ref]))
                continue
            first[ref] = source
            if document.value is None:
                found.broken.add(ref)
            else:
                found.of_kind(document.kind)[document.name] = Declared(document.value, source)
    for kind in {kind for kind, _name in first}:
        table = found.of_kind(kind)
        ordered = sorted(table.items())
        table.clear()
        table.update(ordered)
    return found, problems


def _twice(kind: str, name: str, source: Source, first: Source) -> Problem:
    way: Path = ("metadata", "name")
    return Problem(
        source=source,
        way=way,
        code=Code.DUPLICATE_NAME,
        message=f"two documents of kind {kind} have this name",
        value=name,
        other=(first, way),
    )


def in_order(declared: Iterable[Declared[D]]) -> list[Declared[D]]:
    """Declared documents in the order of their files and lines, as a person would read them."""
    return sorted(declared, key=lambda item: (item.source.path, item.source.line))
