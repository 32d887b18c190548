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
from typing import Any

import yaml

from metalwright.inventory.codes import Code
from metalwright.inventory.yaml_builder import Builder, RawFile, Stop
from metalwright.inventory.yaml_text import checked_text, one_line
from metalwright.model.finding import Finding


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
    builder = Builder(result, marks=marks)
    try:
        for event in _events(text):
            builder.take(event)
    except Stop:
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
