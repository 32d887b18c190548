"""Node ranges such as `r640-[01-48]`: unfolding what people write, folding what people read.

The arithmetic is ClusterShell's (its 1.10 grammar: steps, padding, several brackets). This module
adds the guard that it lacks: `x[1-99999999]` would keep it busy for minutes, so a range is sized
before it is unfolded.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache

from ClusterShell.NodeSet import RESOLVER_NOGROUP, NodeSet, NodeSetException
from ClusterShell.RangeSet import RangeSet

RANGE_NODES_MAX = 100_000
_RANGE_TEXT = re.compile(r"[a-z0-9._-]*(\[[0-9,/-]{1,1000}\][a-z0-9._-]*){0,3}")
_SPAN = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18})(?:/([0-9]{1,9}))?)?")
_TAIL = re.compile(r"(.*?)([0-9]{1,9})")


class NodeRangeError(ValueError):
    """The text is not a node range, or it is one of too many nodes."""


@lru_cache(maxsize=4_096)
def unfold(text: str) -> tuple[str, ...]:
    """The node names of one range, in its order: `n[1-3]` is `("n1", "n2", "n3")`.

    Raises:
        NodeRangeError: not a range, or one of more than `RANGE_NODES_MAX` nodes.
    """
    if not text or not _RANGE_TEXT.fullmatch(text):
        raise NodeRangeError(f"{text!r} is not a node name or a range such as r640-[01-48]")
    count = 1
    for inner in re.findall(r"\[([^\]]*)\]", text):
        count *= sum(_span_length(text, span) for span in inner.split(","))
    if count > RANGE_NODES_MAX:
        raise NodeRangeError(f"{text!r} is {count} nodes; a range may have {RANGE_NODES_MAX}")
    try:
        return tuple(NodeSet(text, resolver=RESOLVER_NOGROUP))
    except NodeSetException as error:
        raise NodeRangeError(f"{text!r} is not a node range: {error}") from error


def _span_length(text: str, span: str) -> int:
    match = _SPAN.fullmatch(span)
    if match is None:
        raise NodeRangeError(
            f"{text!r} has {span!r} where a number or a span such as 01-48 belongs"
        )
    first, last, step = match[1], match[2] or match[1], int(match[3] or 1)
    if int(last) < int(first) or step == 0:
        raise NodeRangeError(
            f"{text!r} has the span {span!r}, which runs backwards or stands still"
        )
    return (int(last) - int(first)) // step + 1


def fold(names: Iterable[str]) -> str:
    """The shortest usual spelling of a set of names: `r640-[01-04],spare-1`. Empty for no names."""
    return ",".join(folded(names))


def folded(names: Iterable[str]) -> list[str]:
    """The same as one name or range each, which is what commands take.

    Names are folded over their last number only, which is what people read, and ten times faster
    than folding in several dimensions.
    """
    by_stem: dict[tuple[str, int], list[str]] = defaultdict(list)
    plain: list[str] = []
    for name in sorted(set(names)):
        match = _TAIL.fullmatch(name)
        if match is None:
            plain.append(name)
        else:
            by_stem[match[1], len(match[2])].append(match[2])
    parts = list(plain)
    for (stem, _width), numbers in by_stem.items():
        if len(numbers) == 1:
            parts.append(stem + numbers[0])
        else:
            parts.append(f"{stem}[{RangeSet.fromlist(numbers)}]")
    return sorted(parts)
