"""A validation error of pydantic as findings that the author of a pull request understands.

Pydantic reports every error of a document with the way to it; this module turns each into a field,
a plain sentence, what would be right, and the line and column. It shows no value where a secret may
stand. It validates nothing itself.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, Final, get_args

from pydantic import ValidationError

from metalwright.inventory.codes import Code
from metalwright.inventory.location import without_secrets
from metalwright.inventory.yaml_builder import Path, Position
from metalwright.inventory.yaml_text import shorten
from metalwright.model import fields
from metalwright.model.finding import Finding

Positions = Mapping[Path, Position]

_UNKNOWN: Final = frozenset(
    ("unexpected_keyword_argument", "unexpected_positional_argument", "extra_forbidden")
)
_MISSING: Final = frozenset(("missing", "missing_argument", "missing_keyword_only_argument"))
_SECRET = re.compile(
    r"pass(word|phrase|wd)?|secret|token|credential|userData|vendorData|files|key$", re.IGNORECASE
)
_PATTERNS: Final = {
    fields.NAME_PATTERN: "should be lower-case letters and digits, with '.', '_' or '-' between",
    fields.MAC_PATTERN: "should be six pairs of hexadecimal digits with colons",
    fields.SHA256_PATTERN: "should be 64 hexadecimal digits in lower case",
    fields.UUID_PATTERN: "should be a UUID: 8-4-4-4-12 hexadecimal digits",
    fields.LABEL_KEY_PATTERN: "should be letters and digits, with '.', '_', '/' or '-' between",
    fields.CREDENTIALS_PATTERN: "should be a reference such as bmc/rack-a, never the secret itself",
    r"^(https?|file)://[^\s]+$": "should be a URL that begins with https://, http:// or file://",
    r"^[0-9a-f]{12,64}$": "should be 12 to 64 hexadecimal digits of a plan's id",
}
_TYPES: Final = {
    "string_type": "should be text",
    "int_type": "should be a whole number",
    "int_parsing_size": "should be a smaller number",
    "bool_type": "should be true or false",
    "tuple_type": "should be a list",
    "dict_type": "should be a mapping",
    "dataclass_type": "should be a mapping",
    "dataclass_exact_type": "should be a mapping",
}
_SUBJECT = re.compile(r"^(Input|String|Tuple|Value|Dictionary) (?=should )")


def findings_of(
    error: ValidationError, document: type[Any], value: Any, positions: Positions
) -> Iterator[Finding]:
    """One finding (without a path) for each error of a document of the class `document`."""
    for detail in error.errors(include_url=False):
        if _only_follows(detail):
            continue
        way = _way(detail["loc"], value)
        yield _finding(detail, way, document, positions)


def _only_follows(detail: Any) -> bool:
    """Whether pydantic only counts the items that it took: a list of one wrong item "has none"."""
    given, least = detail["input"], detail.get("ctx", {}).get("min_length", 0)
    return detail["type"] == "too_short" and isinstance(given, list) and len(given) >= least


def _way(loc: Sequence[int | str], value: Any) -> Path:
    """The way through the document: pydantic's, without what is not in the document (`[key]`)."""
    way: list[int | str] = []
    here = value
    for part in loc:
        if isinstance(here, dict) and isinstance(part, str):
            if part not in here and way and part == "[key]":
                continue
            here = here.get(part)
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            here = here[part]
        elif part == "[key]":
            continue
        way.append(part)
    return tuple(way)


def _finding(detail: Any, way: Path, document: type[Any], positions: Positions) -> Finding:
    kind, shown = str(detail["type"]), dotted(way)
    if kind in _UNKNOWN:
        line, column = place(positions, way, at_key=True)
        near = suggestion(str(way[-1]), names_at(document, way[:-1]))
        return Finding(
            path="",
            line=line,
            column=column,
            code=Code.SCHEMA_UNKNOWN_FIELD,
            message=f"there is no field {shown}",
            hint=near or "see docs/inventory.md for the fields of this kind",
        )
    if kind in _MISSING:
        line, column = place(positions, way[:-1], at_key=True)
        return Finding(
            path="",
            line=line,
            column=column,
            code=Code.SCHEMA_MISSING_FIELD,
            message=f"{shown} is missing",
        )
    is_key = bool(detail["loc"]) and detail["loc"][-1] == "[key]"
    line, column = place(positions, way, at_key=is_key)
    given = detail["input"]
    message = _message(kind, detail)
    return Finding(
        path="",
        line=line,
        column=column,
        code=Code.SCHEMA_WRONG_TYPE if kind in _TYPES else Code.SCHEMA_WRONG_VALUE,
        message=f"{shown or 'the document'}{' ' if _reads_on(message) else ': '}{message}",
        value=_shown(given, way),
        hint=_hint(kind, given),
    )


def _message(kind: str, detail: Any) -> str:
    if kind in _TYPES:
        return _TYPES[kind]
    pattern = detail.get("ctx", {}).get("pattern")
    if pattern in _PATTERNS:
        return _PATTERNS[pattern]
    text = _SUBJECT.sub("", " ".join(str(detail["msg"]).split()))
    return text.removesuffix(" after validation").replace(" after validation,", ",")


def _reads_on(message: str) -> bool:
    return message.startswith(("should ", "is ", "has "))


def _hint(kind: str, given: Any) -> str:
    if kind == "string_type" and isinstance(given, bool | int | float):
        return "put it in quotes"
    if kind == "int_type" and isinstance(given, str) and given.lstrip("-").isdigit():
        return "remove the quotes"
    if kind == "bool_type" and given in ("yes", "no", "on", "off", "Yes", "No", "On", "Off"):
        return "YAML 1.2 knows only true and false"
    return ""


def _shown(given: Any, way: Path) -> str:
    if any(isinstance(part, str) and _SECRET.search(part) for part in way):
        return ""
    if given is None:
        return "nothing"
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, dict):
        return "a mapping"
    if isinstance(given, list):
        return "a list"
    return shorten(without_secrets(str(given)))


def dotted(way: Path) -> str:
    """A way through a document as people write it: `spec.nics.0.mac`."""
    return shorten(".".join(map(str, way)))


def place(positions: Positions, way: Path, *, at_key: bool) -> tuple[int, int]:
    """(line, column) of what the way leads to, or of the nearest thing above that is there."""
    for length in range(len(way), -1, -1):
        position = positions.get(way[:length])
        if position is not None:
            # A block begins in the line after its key; the key is what people look for.
            if at_key or length < len(way) or position.line != position.key_line:
                return position.key_line, position.key_column
            return position.line, position.column
    return 0, 0


def suggestion(text: str, names: Sequence[str]) -> str:
    """`did you mean 'x'?` for the name that is nearest to the text, or nothing."""
    folded = {name.lower(): name for name in names}
    near = difflib.get_close_matches(text.lower().replace("_", ""), list(folded), n=1, cutoff=0.7)
    return f"did you mean {folded[near[0]]!r}?" if near else ""


def names_at(document: type[Any], way: Path) -> tuple[str, ...]:
    """The names of the fields that the mapping at the end of a way may have."""
    found: Any = document
    for part in way:
        if isinstance(part, int):
            continue
        found = next(
            (
                inner
                for info in getattr(found, "__pydantic_fields__", {}).values()
                if info.alias == part
                for inner in _classes(info.annotation)
            ),
            None,
        )
    infos = getattr(found, "__pydantic_fields__", {})
    return tuple(info.alias or name for name, info in infos.items())


def _classes(annotation: Any) -> Iterator[Any]:
    """The dataclasses inside an annotation such as `tuple[Nic, ...]` or `Bmc | None`."""
    if isinstance(annotation, type) and is_dataclass(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _classes(inner)
