"""One file of the inventory: its documents as values of the model, and its own findings.

Everything here follows from the bytes of the file alone, so a result may be kept for as long as the
content has the same id. What needs a second document to be seen is not looked for here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from metalwright.inventory.codes import Code
from metalwright.inventory.schema import Positions, dotted, findings_of, place, suggestion
from metalwright.inventory.yaml_builder import FILE_FINDINGS_MAX, LIMITS, Path, RawDocument
from metalwright.inventory.yaml_documents import read_documents
from metalwright.inventory.yaml_text import shorten
from metalwright.model.documents import (
    API_VERSION,
    KINDS,
    Document,
    Image,
    Schedule,
)
from metalwright.model.fields import WRITTEN
from metalwright.model.finding import Finding

SALVAGED_NAMES_MAX: Final = 100_000

_ADAPTERS: Final[dict[str, TypeAdapter[Any]]] = {
    kind: TypeAdapter(document) for kind, document in KINDS.items()
}
_NAME_LINE = re.compile(rb"\bname[\"']?\s*:\s*[\"']?([a-z0-9][a-z0-9._-]*)")


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """One document. `value` is None where it has errors; its name still counts as declared."""

    kind: str
    name: str
    line: int
    value: Document | None


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What one file says. `findings` have no path; `salvaged` are names in what was not read."""

    documents: tuple[ParsedDocument, ...]
    findings: tuple[Finding, ...]
    salvaged: frozenset[str]


def parse_file(data: bytes) -> ParsedFile:
    """The documents of a file and every problem that can be seen in it alone."""
    raw = read_documents(data)
    read = [_read(document) for document in raw.documents]
    good = [document for document in read if isinstance(document, ParsedDocument)]
    if not raw.findings and len(good) == len(read):
        return ParsedFile(tuple(good), (), frozenset())
    findings = raw.findings
    if not any(finding.code in LIMITS for finding in raw.findings):
        # Something is wrong: read it again with the place of every value.
        marked = read_documents(data, marks=True)
        findings = marked.findings
        for document, outcome in zip(marked.documents, read, strict=True):
            if not isinstance(outcome, ParsedDocument) and len(findings) <= FILE_FINDINGS_MAX:
                findings += islice(_findings(document, outcome), FILE_FINDINGS_MAX)
    salvaged = frozenset[str]()
    if raw.findings:  # values are lost, so no document of this file can be relied on
        read = [None] * len(read)
        names = _NAME_LINE.findall(data)[:SALVAGED_NAMES_MAX]
        salvaged = frozenset(name.decode("ascii") for name in names)
    declared = (
        outcome if isinstance(outcome, ParsedDocument) else _declared(document)
        for document, outcome in zip(raw.documents, read, strict=True)
    )
    return ParsedFile(
        tuple(document for document in declared if document is not None),
        tuple(_bounded(findings)),
        salvaged,
    )


def _bounded(findings: list[Finding]) -> list[Finding]:
    """The findings in order, and a last one instead of those above `FILE_FINDINGS_MAX`."""
    shown = sorted(findings)
    if len(shown) < FILE_FINDINGS_MAX:
        return shown
    last = Finding(
        path="",
        line=shown[FILE_FINDINGS_MAX - 1].line,
        column=shown[FILE_FINDINGS_MAX - 1].column,
        code=Code.FILE_TOO_MANY_FINDINGS,
        message=f"there may be more findings; these are the first {FILE_FINDINGS_MAX}",
    )
    return [*shown[:FILE_FINDINGS_MAX], last]


def positions_of(data: bytes) -> dict[int, Positions]:
    """Where each value of each document of a file stands, by the document's first line."""
    raw = read_documents(data, marks=True)
    return {document.line: document.positions for document in raw.documents}


def _read(raw: RawDocument) -> ParsedDocument | ValidationError | None:
    """The document; or the errors of its schema; or None where something else is wrong."""
    value = raw.value
    if not isinstance(value, dict) or value.get("apiVersion") != API_VERSION:
        return None
    kind = value.get("kind")
    adapter = _ADAPTERS.get(kind) if isinstance(kind, str) else None
    if adapter is None:
        return None
    try:
        document: Document = adapter.validate_python(
            value, by_alias=True, by_name=False, context=WRITTEN
        )
    except ValidationError as error:
        return error
    if _own_trouble(document):
        return None
    return ParsedDocument(document.kind, document.metadata.name, raw.line, document)


def _declared(raw: RawDocument) -> ParsedDocument | None:
    """The kind and name of a broken document, if they can be told."""
    if not isinstance(raw.value, dict):
        return None
    kind, metadata = raw.value.get("kind"), raw.value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if isinstance(kind, str) and kind in KINDS and isinstance(name, str):
        return ParsedDocument(kind, name, raw.line, None)
    return None


def _findings(raw: RawDocument, error: ValidationError | None) -> Iterator[Finding]:
    """What is wrong with a document; `error` is what its schema said already, if it did."""
    value, positions = raw.value, raw.positions
    if not isinstance(value, dict):
        yield _finding(
            positions,
            (),
            Code.DOCUMENT_NOT_A_MAPPING,
            "a document should be a mapping with apiVersion, kind, metadata and spec",
            "a list" if isinstance(value, list) else shorten(str(value)),
        )
        return
    version, kind = value.get("apiVersion"), value.get("kind")
    if version != API_VERSION:
        yield _finding(
            positions,
            ("apiVersion",),
            Code.DOCUMENT_API_VERSION,
            "apiVersion is unknown" if "apiVersion" in value else "apiVersion is missing",
            _scalar(version) if "apiVersion" in value else "",
            f"write apiVersion: {API_VERSION}",
        )
    document = KINDS.get(kind) if isinstance(kind, str) else None
    if document is None:
        yield _finding(
            positions,
            ("kind",),
            Code.DOCUMENT_KIND,
            "there is no such kind" if "kind" in value else "kind is missing",
            _scalar(kind) if "kind" in value else "",
            suggestion(str(kind), tuple(KINDS)) or f"the kinds are {', '.join(KINDS)}",
        )
        return
    # The version was looked at above; with the right one in its place the rest can be checked.
    checked = {**value, "apiVersion": API_VERSION}
    if error is None:
        try:
            valid: Document = _ADAPTERS[document.__name__].validate_python(
                checked, by_alias=True, by_name=False, context=WRITTEN
            )
        except ValidationError as found:
            error = found
        else:
            for way, code, message, hint in _own_trouble(valid):
                yield _finding(positions, way, code, f"{dotted(way)} {message}", "", hint)
            return
    yield from findings_of(error, document, checked, positions)


def _scalar(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else shorten(str(value))


def _finding(
    positions: Positions, way: Path, code: Code, message: str, value: str, hint: str = ""
) -> Finding:
    line, column = place(positions, way, at_key=False)
    return Finding(
        path="", line=line, column=column, code=code, message=message, value=value, hint=hint
    )


def _own_trouble(document: Document) -> list[tuple[Path, Code, str, str]]:
    """(way, code, message, hint) of what the types do not rule out in one document."""
    if isinstance(document, Image):
        return [
            (
                ("spec", role, "url"),
                Code.SECRET_IN_URL,
                "has a user name or password in it",
                "secrets do not belong in git",
            )
            for role in ("kernel", "initrd", "rootfs", "disk")
            if (artifact := getattr(document.spec, role)) is not None
            and "@" in artifact.url.partition("://")[2].partition("/")[0]
        ]
    if isinstance(document, Schedule):
        return [
            (
                ("spec", "windows", index),
                Code.SCHEMA_WRONG_VALUE,
                "should end within the calendar, which ends with the year 9999",
                "",
            )
            for index, window in enumerate(document.spec.windows)
            if window.duration is not None and _overflows(window.start, window.duration)
        ]
    return []


def _overflows(start: Any, duration_s: int) -> bool:
    try:
        start + timedelta(seconds=duration_s)
    except OverflowError:
        return True
    return False
