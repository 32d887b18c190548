"""The order of names as people count: `n2` before `n10`."""

from __future__ import annotations

import re
from functools import lru_cache

_NUMBERS = re.compile(r"(\d+)")
NATURAL_CACHE_MAX = 65_536

NaturalKey = tuple[tuple[int, int, str], ...]


@lru_cache(maxsize=NATURAL_CACHE_MAX)
def natural(name: str) -> NaturalKey:
    """A sort key in which `n2` comes before `n10`; names never compare equal unless they are."""
    return tuple(
        (0, int(part), part) if part.isdecimal() else (1, 0, part) for part in _NUMBERS.split(name)
    )
