"""The text of a YAML file before it is parsed, and the meaning of its unquoted scalars.

What libyaml would be slow at, or take for something else than its author, is refused here: other
encodings, control characters, directives. Pure.
"""

from __future__ import annotations

import re
from typing import Any, Final

from metalwright.inventory.codes import Code
from metalwright.model.finding import Finding

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
NUMBER_DIGITS_MAX: Final = 300
VALUE_SHOWN_MAX: Final = 120

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NUMBER_STARTS: Final = frozenset("+-.0123456789")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_BASED = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"([-+]?)\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def checked_text(data: bytes, findings: list[Finding]) -> bytes | None:
    """The bytes to parse, without a byte order mark; None with a finding where there is no use.

    It also refuses what libyaml is slow at: a file of `%TAG` lines takes it quadratic time (68 s
    for 1.7 MB, measured with libyaml 0.2.5).
    """
    if len(data) > FILE_BYTES_MAX:
        findings.append(too_large(len(data)))
        return None
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        findings.append(
            Finding(
                path="",
                line=line,
                column=column,
                code=Code.FILE_ENCODING,
                message="is UTF-16, not UTF-8" if wide else "is not UTF-8 here",
                value="" if wide else f"byte 0x{data[error.start]:02x}",
                hint="save the file as UTF-8",
            )
        )
        return None
    text = text.removeprefix("\ufeff")
    control = _CONTROL.search(text)
    if control is not None:
        findings.append(
            _at_offset(
                text,
                control.start(),
                Code.FILE_CONTROL_CHARACTER,
                f"has the control character U+{ord(control[0]):04X}",
                "remove it, or write it as an escape in double quotes",
            )
        )
        return None
    directive = _DIRECTIVE.search(text)
    if directive is not None:
        findings.append(
            _at_offset(
                text,
                directive.start(),
                Code.YAML_DIRECTIVE,
                "has a line that begins with '%', which is a YAML directive",
                "remove the line; text that must begin with '%' has to be indented",
            )
        )
        return None
    return text.encode("utf-8")


def too_large(size: int) -> Finding:
    """The finding of a file that is too large, of which only the size in bytes is known."""
    return Finding(
        path="",
        code=Code.FILE_TOO_LARGE,
        message=f"has {size:,} bytes; a file may have {FILE_BYTES_MAX:,}",
        hint="split it: one file per rack, or one per node, also makes the smallest diffs",
    )


def _at_offset(text: str, offset: int, code: Code, message: str, hint: str) -> Finding:
    line = text.count("\n", 0, offset) + 1
    column = offset - text.rfind("\n", 0, offset)
    return Finding(path="", line=line, column=column, code=code, message=message, hint=hint)


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def core_scalar(text: str) -> Any:
    """The value of an unquoted scalar: YAML 1.2's core schema, but for leading zeros.

    A number with a leading zero (`0644`, `007`) is text here: the core schema would read 644, and
    whoever writes one means a file mode or a serial number.

    Raises:
        ValueError: a number of more than `NUMBER_DIGITS_MAX` characters.
    """
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _NUMBER_STARTS:
        return text
    if _INTEGER.fullmatch(text):
        return int(_bounded(text))
    if _FLOAT.fullmatch(text):
        return float(_bounded(text))
    if _BASED.fullmatch(text):
        return int(_bounded(text), 0)
    special = _SPECIAL_FLOAT.fullmatch(text)
    return float(text.replace(".", "", 1)) if special else text


def _bounded(text: str) -> str:
    if len(text) > NUMBER_DIGITS_MAX:
        raise ValueError(f"has {len(text):,} digits; a number may have {NUMBER_DIGITS_MAX}")
    return text


def shorten(value: str) -> str:
    """At most 120 characters of a value, on one line and printable, for showing it.

    What is not printable is escaped: a terminal would obey it, and text that runs from right to
    left can hide what a reviewer should see.
    """
    flat = one_line(value[: 4 * VALUE_SHOWN_MAX])
    if not flat.isprintable():
        flat = "".join(part if part.isprintable() else ascii(part)[1:-1] for part in flat)
    if len(flat) <= VALUE_SHOWN_MAX and len(value) <= 4 * VALUE_SHOWN_MAX:
        return flat
    return flat[: VALUE_SHOWN_MAX - 3] + "..."
