"""Which values of a mapping are other objects than last time.

By identity: values of the model never change in place, so the same object says the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from operator import is_not


def changed(before: Mapping[str, object], now: Mapping[str, object]) -> set[str]:
    """The names whose value is another object than before; those that came or went among them."""
    if before is now:
        return set()
    if list(before) == list(now):  # the usual case, without a look-up for each
        return set(compress(now, map(is_not, before.values(), now.values())))
    found = {name for name, value in now.items() if before.get(name) is not value}
    return found | (before.keys() - now.keys())
