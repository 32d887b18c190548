"""What may be wrong with a simulated BMC or machine, for which nodes, from when until when.

A fault is a value; which faults a node has at an instant follows from the settings, the seed and
what was injected or healed since. Nothing here acts on them: that is the driver's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from metalwright.drivers.fake_node import fraction
from metalwright.errors import SettingsError
from metalwright.model.fields import Instant
from metalwright.model.noderange import NodeRangeError, unfold

EVERY_NODE = "*"


class FaultKind(StrEnum):
    """What is wrong."""

    SILENT = "silent"
    SLOW = "slow"
    FLAPPING = "flapping"
    GARBAGE = "garbage"
    WRONG_PASSWORD = "wrong-password"  # noqa: S105  the name of a fault
    WRONG_IDENTITY = "wrong-identity"
    IGNORES_POWER = "ignores-power"
    SOFT_OFF_IGNORED = "soft-off-ignored"
    NEVER_BOOTS = "never-boots"
    FAILS_CHECKS = "fails-checks"
    LOSES_ACKNOWLEDGEMENT = "loses-acknowledgement"


@dataclass(frozen=True, slots=True, kw_only=True, config={"extra": "forbid"})
class Fault:
    """One fault during [`since`, `until`), of the share `rate` of the nodes that it is given to.

    A `slow` BMC answers after `delay_s`, a `flapping` one is silent or not anew every `period_s`.
    `never-boots` hangs each boot that begins while it lasts; that boot hangs until it is ended. A
    machine that `fails-checks` boots, and passes no check of its validation.
    """

    kind: FaultKind
    since: Instant | None = None
    until: Instant | None = None
    rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    delay_s: Annotated[float, Field(gt=0, le=3_600)] = 3.0
    period_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0

    def strikes(self, seed: int, node: str, now: datetime) -> bool:
        """Whether `node` has this fault at `now`."""
        if self.since is not None and now < self.since:
            return False
        if self.until is not None and now >= self.until:
            return False
        return self.rate >= 1 or fraction(seed, node, self.kind) < self.rate


FAULT_JSON: TypeAdapter[Fault] = TypeAdapter(Fault)


def parse_faults(entries: Iterable[Mapping[str, Any]]) -> dict[str, tuple[Fault, ...]]:
    """Faults by node from settings such as `{"node": "r640-[01-04]", "fault": "silent"}`.

    `node` is a name, a node range or `*` for every node; `since`, `until`, `rate`, `delay_s` and
    `period_s` are as in `Fault`.

    Raises:
        SettingsError: an entry is not one; says which, and what would be right.
    """
    found: dict[str, tuple[Fault, ...]] = {}
    for number, entry in enumerate(entries, start=1):
        words = dict(entry)
        nodes, kind = words.pop("node", None), words.pop("fault", None)
        try:
            if not isinstance(nodes, str) or "kind" in words:
                raise SettingsError("it should have node (a text) and fault")
            fault = FAULT_JSON.validate_python({**words, "kind": kind})
            names = (EVERY_NODE,) if nodes == EVERY_NODE else unfold(nodes)
        except (SettingsError, NodeRangeError, ValidationError) as error:
            raise SettingsError(f"fault {number} of the fake fleet: {_said(error)}") from error
        for name in names:
            found[name] = (*found.get(name, ()), fault)
    return found


def _said(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    return "; ".join(
        f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()
    )
