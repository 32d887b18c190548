"""Makes the values of a YAML file from libyaml's events, with a limit on everything that can grow.

It has its own stack, so the nesting of a file costs no native one; it follows no anchor and takes
every key once. It parses nothing itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

from metalwright.inventory.codes import Code
from metalwright.inventory.yaml_text import core_scalar, shorten
from metalwright.model.finding import Finding

DEPTH_MAX: Final = 50
NODES_MAX: Final = 100_000
DOCUMENTS_MAX: Final = 10_000
FILE_FINDINGS_MAX: Final = 100

Path = tuple[str | int, ...]


class Position(NamedTuple):
    """Where a value stands: its key (or, in a list, itself) and its own beginning; all from 1."""

    key_line: int
    key_column: int
    line: int
    column: int


@dataclass(slots=True)
class RawDocument:
    """One document: its value, the line that it begins at, and where each value stands.

    `positions` is empty unless marks were asked for; `()` is the document itself.
    """

    value: Any
    line: int
    positions: dict[Path, Position] = field(default_factory=dict)


@dataclass(slots=True)
class RawFile:
    """The documents of one file that could be read, and what was wrong; findings have no path."""

    documents: list[RawDocument] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


LIMITS: Final = frozenset(
    (Code.YAML_TOO_DEEP, Code.YAML_TOO_MANY_NODES, Code.YAML_TOO_MANY_DOCUMENTS)
)


class Stop(Exception):  # noqa: N818 - not an error: the rest of the file is not read
    """A finding after which the rest of the file has no meaning."""


_NO_KEY: Final = object()
_LOST: Final = object()


class _Frame:
    """One open mapping or list."""

    __slots__ = ("container", "key", "key_mark", "path")

    def __init__(self, container: Any, path: Path) -> None:
        self.container = container
        self.key: Any = _NO_KEY
        self.key_mark: Any = None
        self.path = path


class Builder:
    """Makes values from events, with its own stack: the nesting of a file costs no native stack."""

    def __init__(self, result: RawFile, *, marks: bool) -> None:
        self.result, self.marks = result, marks
        self.stack: list[_Frame] = []
        self.nodes = 0
        self.documents = 0
        self.document: RawDocument | None = None

    def take(self, event: Any) -> None:
        """One event of the stream.

        Raises:
            Stop: the rest of the file is not to be read.
        """
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self._scalar(event)
        elif kind is yaml.MappingStartEvent:
            self._open({}, event)
        elif kind is yaml.SequenceStartEvent:
            self._open([], event)
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            self.stack.pop()
        elif kind is yaml.AliasEvent:
            self._alias(event)
        elif kind is yaml.DocumentEndEvent:
            self._close_document()

    def _scalar(self, event: Any) -> None:
        value: Any = event.value
        plain = event.implicit[0] and event.tag is None
        frame = self.stack[-1] if self.stack else None
        is_key = frame is not None and frame.key is _NO_KEY and type(frame.container) is dict
        if event.anchor is not None or event.tag is not None:
            self._decorated(event)
        if plain:
            if is_key and value == "<<":
                self._find(event, Code.YAML_MERGE_KEY, "merge keys are not used", value)
            try:
                value = core_scalar(value)
            except ValueError as error:
                self._find(event, Code.YAML_NUMBER, str(error), value, "put it in quotes")
                value = None
        if is_key and frame is not None:
            self._key(frame, event, value)
        else:
            self._place(event, value)

    def _key(self, frame: _Frame, event: Any, value: Any) -> None:
        self._count(event)
        if not isinstance(value, str):
            hint = "put it in quotes"
            self._find(event, Code.YAML_KEY_NOT_TEXT, "a key should be text", event.value, hint)
            value = event.value
        frame.key_mark = event.start_mark
        if value in frame.container:
            first = ""
            if self.marks and self.document is not None:
                at = self.document.positions.get((*frame.path, value))
                first = f"it is already in line {at.key_line}" if at else ""
            self._find(event, Code.YAML_DUPLICATE_KEY, "the key is here twice", value, first)
            value = _LOST
        frame.key = value

    def _place(self, event: Any, value: Any) -> Path:
        """Puts a value where it belongs; its path."""
        self._count(event)
        if not self.stack:
            self.document = RawDocument(value, event.start_mark.line + 1)
            if self.marks:
                self._mark((), event.start_mark, event.start_mark)
            return ()
        frame = self.stack[-1]
        container = frame.container
        if type(container) is list:
            container.append(value)
            if not self.marks:
                return ()
            path: Path = (*frame.path, len(container) - 1)
            self._mark(path, event.start_mark, event.start_mark)
            return path
        if frame.key is _NO_KEY:
            self._find(
                event,
                Code.YAML_KEY_NOT_TEXT,
                "a key should be text, not a list or a mapping",
                hint="what follows in this file was not read",
            )
            raise Stop
        key, frame.key = frame.key, _NO_KEY
        if key is _LOST:
            return (*frame.path, "\0")  # a path that nothing else can have
        container[key] = value
        if not self.marks:
            return ()
        path = (*frame.path, key)
        self._mark(path, frame.key_mark, event.start_mark)
        return path

    def _mark(self, path: Path, key: Any, value: Any) -> None:
        if self.document is not None:
            self.document.positions[path] = Position(
                key.line + 1, key.column + 1, value.line + 1, value.column + 1
            )

    def _open(self, container: Any, event: Any) -> None:
        if event.anchor is not None or event.tag is not None:
            self._decorated(event)
        path = self._place(event, container)
        if len(self.stack) >= DEPTH_MAX:
            self._find(
                event,
                Code.YAML_TOO_DEEP,
                f"is nested more than {DEPTH_MAX} levels deep",
                hint="what follows in this file was not read",
            )
            raise Stop
        self.stack.append(_Frame(container, path))

    def _alias(self, event: Any) -> None:
        self._find(
            event,
            Code.YAML_ALIAS,
            "aliases are not used",
            f"*{event.anchor}",
            "write the value here; text that begins with '*' has to be in quotes",
        )
        frame = self.stack[-1] if self.stack else None
        if frame is not None and frame.key is _NO_KEY and type(frame.container) is dict:
            self._key(frame, event, f"*{event.anchor}")
        else:
            self._place(event, None)

    def _decorated(self, event: Any) -> None:
        if event.anchor is not None:
            self._find(
                event,
                Code.YAML_ANCHOR,
                "anchors are not used",
                f"&{event.anchor}",
                "text that begins with '&' has to be in quotes",
            )
        if event.tag is not None:
            self._find(
                event,
                Code.YAML_TAG,
                "tags are not used",
                event.tag,
                "text that begins with '!' has to be in quotes",
            )

    def _count(self, event: Any) -> None:
        self.nodes += 1
        if self.nodes > NODES_MAX:
            self._find(
                event,
                Code.YAML_TOO_MANY_NODES,
                f"has more than {NODES_MAX:,} values",
                hint="split the file; what follows was not read",
            )
            raise Stop

    def _close_document(self) -> None:
        if self.document is None:
            return
        self.documents += 1  # empty ones too: each costs libyaml as much as a small one
        if self.documents > DOCUMENTS_MAX:
            self.result.findings.append(
                Finding(
                    path="",
                    line=self.document.line,
                    column=1,
                    code=Code.YAML_TOO_MANY_DOCUMENTS,
                    message=f"has more than {DOCUMENTS_MAX:,} documents",
                    hint="split the file; what follows was not read",
                )
            )
            raise Stop
        if self.document.value is not None:
            self.result.documents.append(self.document)
        self.document = None

    def _find(self, event: Any, code: Code, message: str, value: str = "", hint: str = "") -> None:
        """Adds a finding.

        Raises:
            Stop: the file has `FILE_FINDINGS_MAX` of them.
        """
        mark = event.start_mark
        self.result.findings.append(
            Finding(
                path="",
                line=mark.line + 1,
                column=mark.column + 1,
                code=code,
                message=message,
                value=shorten(value),
                hint=hint,
            )
        )
        if len(self.result.findings) >= FILE_FINDINGS_MAX:
            raise Stop
