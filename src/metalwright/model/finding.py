"""A problem in the inventory, told so that its author can mend it without asking anybody."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """An error refuses the revision; a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Finding:
    """One problem: where (line and column from 1, 0 for the whole file), what, and what would be
    right.

    `code` is stable and has a heading in `docs/inventory.md`; `value` is the offending value as
    text, shortened to 120 characters; `hint` says what would be right.
    """

    path: str
    line: int = 0
    column: int = 0
    code: str
    message: str
    value: str = ""
    hint: str = ""
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}:{self.column}" if self.line else self.path or "repository"
        shown = f" (got {self.value})" if self.value else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}: {self.severity.value}: {self.message}{shown}{hint} [{self.code}]"
