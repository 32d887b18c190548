"""Strict YAML: the documents of one file as plain values, or findings with line and column.

What the usual loaders do to an inventory is dangerous: they take `on` for a truth value, a MAC
address for a number in base 60 and the second of two equal keys for the only one, and PyYAML's C
constructor overflows the native stack at 30,000 levels of nesting. So this builder reads only
libyaml's *event* stream (which needs no native recursion) and makes the values itself, with YAML
1.2's core scalars, and with a limit on everything that can grow.

It never raises for what is in a file, never follows an anchor, and knows nothing of the kinds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

from metalwright.inventory.codes import Code
from metalwright.inventory.yaml_text import checked_text, core_scalar, one_line, shorten
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


class _Stop(Exception):  # noqa: N818 - not an error: the rest of the file is not read
    """A finding after which the rest of the file has no meaning."""


def read_documents(data: bytes, *, marks: bool = False) -> RawFile:
    """The documents of a file, in order; what could not be read is a finding.

    Without `marks` only the first line of each document is kept, because a position for every
    value costs 2.6 times the time through the cyclic garbage collector. A file with a finding has
    lost values, so its documents are only good for further findings, never for an inventory.
    """
    result = RawFile()
    text = checked_text(data, result.findings)
    if text is None:
        return result
    builder = _Builder(result, marks=marks)
    try:
        for event in _events(text):
            builder.take(event)
    except _Stop:
        pass
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        result.findings.append(_syntax(line, column, error))
    except yaml.YAMLError as error:  # the reader's errors have no mark
        result.findings.append(
            Finding(path="", code=Code.YAML_SYNTAX, message=f"is not YAML: {one_line(str(error))}")
        )
    return result


def _events(text: bytes) -> Iterator[Any]:
    return yaml.parse(text, yaml.CSafeLoader)


def _syntax(line: int, column: int, error: yaml.MarkedYAMLError) -> Finding:
    problem = one_line(error.problem or "cannot be read")
    if error.context:
        problem = f"{problem} ({one_line(error.context)})"
    hint = ""
    if "'\\t'" in problem or "tab" in problem:
        hint = "indent with spaces, not with tabs"
    elif "mapping values are not allowed" in problem:
        hint = "put text that has ': ' in it in quotes, or check the indentation"
    return Finding(
        path="",
        line=line,
        column=column,
        code=Code.YAML_SYNTAX,
        message=f"is not YAML: {problem}",
        hint=hint,
    )


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


class _Builder:
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
            _Stop: the rest of the file is not to be read.
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
            raise _Stop
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
            raise _Stop
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
            raise _Stop

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
            raise _Stop
        if self.document.value is not None:
            self.result.documents.append(self.document)
        self.document = None

    def _find(self, event: Any, code: Code, message: str, value: str = "", hint: str = "") -> None:
        """Adds a finding.

        Raises:
            _Stop: the file has `FILE_FINDINGS_MAX` of them.
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
            raise _Stop
