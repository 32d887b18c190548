"""Lines of plain text, wrapped to a width and coloured if asked for. Knows nothing of plans."""

from __future__ import annotations

import re
from typing import Final

WIDTH_MIN: Final = 40

ANSI: Final = {
    "danger": "\x1b[1;31m",
    "disruptive": "\x1b[33m",
    "gentle": "\x1b[32m",
    "head": "\x1b[1m",
    "quiet": "\x1b[2m",
}
ANSI_END: Final = "\x1b[0m"


class Page:
    """Lines of text, wrapped and styled."""

    def __init__(self, width: int, *, color: bool) -> None:
        self.width, self.color, self._lines = max(width, WIDTH_MIN), color, list[str]()

    def line(self, text: str, *, style: str = "", indent: int = 0, glue: str = " ") -> None:
        """Add a text, broken after `glue` where it is too long, its other lines indented more."""
        for line in wrapped(printable(text), self.width, indent, glue):
            styled = self.color and style
            self._lines.append(f"{ANSI[style]}{line}{ANSI_END}" if styled else line)

    def gap(self) -> None:
        """Add an empty line."""
        self._lines.append("")

    def text(self) -> str:
        """All of it, without a line feed at the end."""
        return "\n".join(self._lines)


def printable(text: str) -> str:
    """Without control characters: a commit's subject or a BMC's answer drives no terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def wrapped(text: str, width: int, indent: int, glue: str) -> list[str]:
    """The text in lines of at most `width` characters where words allow it, cut after `glue`."""
    lines, line = [], " " * indent
    empty = True
    for word in _words(text, glue):
        if not empty and len(line) + len(word.rstrip()) > width:
            lines.append(line.rstrip())
            line, empty = " " * (indent + 2), True
        line, empty = line + word, False
    return [*lines, line.rstrip()]


def _words(text: str, glue: str) -> list[str]:
    """The words, each with the glue behind it; a command in backticks is one word."""
    return re.findall(rf"(?:`[^`]*`|[^{glue}])*{glue}|(?:`[^`]*`|[^{glue}])+$", text)
