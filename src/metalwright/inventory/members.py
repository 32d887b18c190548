"""Lists of node names, node ranges and selectors, turned into declared nodes within bounds. Pure.

What one line of text can ask for is bounded by the model; this is the bound for a whole inventory,
so that a thousand such lines cannot stand a load still.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from metalwright.inventory.codes import Code
from metalwright.inventory.problems import Declarations, Problem
from metalwright.inventory.yaml_builder import Path
from metalwright.model.finding import Severity
from metalwright.model.inventory import Source
from metalwright.model.noderange import NodeRangeError, fold, unfold
from metalwright.model.selector import parse_selector

NAMES_MAX: Final = 200_000
SELECTOR_WORK_MAX: Final = 200_000_000  # characters of selectors x nodes: a few seconds
NAMES_SHOWN_MAX: Final = 100
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")

Facts = Mapping[str, Mapping[str, str | int]]


class Members:
    """Finds nodes by name, range and selector, with one bound for the whole inventory."""

    def __init__(self, declared: Declarations) -> None:
        self.declared = declared
        self.problems: list[Problem] = []
        self.count = 0
        self.work = 0
        self.tired = False

    def unfold(self, texts: Sequence[str], source: Source, way: Path) -> dict[str, Path]:
        """The declared nodes that a list names, in its order, each with the place that names it."""
        found: dict[str, Path] = {}
        for index, text in enumerate(texts):
            place = (*way, index)
            names = self._names(text, source, place)
            repeated = [name for name in names if name in found]
            if repeated:
                self.problems.append(
                    Problem(
                        source=source,
                        way=place,
                        code=Code.REFERENCE_REPEATED,
                        message=f"names {few(repeated)} a second time",
                        severity=Severity.WARNING,
                    )
                )
            unknown = [name for name in names if not self.declared.knows("Node", name)]
            if unknown:
                self.problems.append(self._unknown(text, unknown, source, place))
            for name in names:
                if name in self.declared.nodes:
                    found.setdefault(name, place)
        return found

    def _names(self, text: str, source: Source, way: Path) -> tuple[str, ...]:
        if self.count > NAMES_MAX:
            return ()
        try:
            names = (text,) if _PLAIN_NAME.fullmatch(text) else unfold(text)
        except NodeRangeError as error:
            self.problems.append(
                Problem(source=source, way=way, code=Code.REFERENCE_RANGE, message=str(error))
            )
            return ()
        self.count += len(names)
        if self.count > NAMES_MAX:
            self.problems.append(
                Problem(
                    source=source,
                    way=way,
                    code=Code.REFERENCE_TOO_MANY,
                    message=f"the lists of nodes up to here name more than {NAMES_MAX:,} nodes",
                    hint="later lists were not checked",
                )
            )
            return ()
        return names

    def _unknown(self, text: str, unknown: Sequence[str], source: Source, way: Path) -> Problem:
        if len(unknown) == 1 and unknown[0] == text:
            return self.declared.unknown("Node", text, source, way)
        return Problem(
            source=source,
            way=way,
            code=Code.REFERENCE_UNKNOWN,
            message=f"names {len(unknown):,} nodes that are not declared: {few(unknown)}",
            value=text,
        )

    def select(self, text: str, facts: Facts, source: Source) -> list[str]:
        """The nodes that a valid selector selects; none, with a warning, if it selects none."""
        self.work += len(text) * len(facts)
        way: Path = ("spec", "selector")
        if self.work > SELECTOR_WORK_MAX:
            if not self.tired:
                self.tired = True
                self.problems.append(
                    Problem(
                        source=source,
                        way=way,
                        code=Code.SELECTOR_TOO_MUCH,
                        message="the selectors up to here are too much work",
                        hint="use fewer or shorter selectors; later ones were not looked at",
                    )
                )
            return []
        selector = parse_selector(text)
        selected = [name for name, known in facts.items() if selector.matches(name, known)]
        if not selected:
            self.problems.append(
                Problem(
                    source=source,
                    way=way,
                    code=Code.SELECTOR_MATCHES_NOTHING,
                    message="the selector matches no node",
                    value=text,
                    severity=Severity.WARNING,
                )
            )
        return selected


def few(names: Iterable[str]) -> str:
    """The names folded; of very many, the first ones."""
    several = list(names)
    text = fold(several[:NAMES_SHOWN_MAX])
    return (
        text if len(several) <= NAMES_SHOWN_MAX else f"{text} and others, {len(several):,} in all"
    )
