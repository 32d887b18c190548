"""Field names as YAML and JSON spell them, and back."""

from __future__ import annotations

import re
from functools import lru_cache

_HUMP = re.compile(r"(?<=[a-z0-9])([A-Z])")
FIELDS_MAX = 1_024
"""Spellings remembered."""


@lru_cache(maxsize=FIELDS_MAX)
def camel(name: str) -> str:
    """`kernel_args` as `kernelArgs`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


@lru_cache(maxsize=FIELDS_MAX)
def snake(name: str) -> str:
    """`kernelArgs` as `kernel_args`; digits stay where they are (`sha256`)."""
    return _HUMP.sub(lambda match: "_" + match[1].lower(), name)
