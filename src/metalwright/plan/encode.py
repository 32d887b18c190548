"""A plan as JSON, byte for byte the same for the same plan, and the schema of that JSON.

A plan is kept in logs of CI and shown to many. What a template gives an installer may hold a
password: of such a text the JSON has the digest, as the plan as text has.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache, lru_cache
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_json as to_json_bytes

from metalwright.model.digest import digest_of
from metalwright.model.frozen import FrozenDict
from metalwright.model.plan import PLAN_FORMAT, Plan
from metalwright.plan.spelling import camel, snake

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_COUNTS: Final = frozenset({"by_verb", "by_blocked", "byVerb", "byBlocked"})
_FILES: Final = "files"
_OWN_WORDS: Final = _COUNTS | {_FILES}
"""Members whose keys are words of their own, not names of fields."""

_TEXTS: Final = frozenset({"user_data", "vendor_data"})
_HIDDEN: Final = re.compile(r"sha256:[0-9a-f]{64}")

TEXTS_MAX: Final = 256
"""Texts whose digest is remembered: thousands of nodes share a few."""


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def to_json(plan: Plan) -> str:
    """The plan as JSON text: keys in camelCase and sorted, two spaces of indent.

    `userData`, `vendorData` and each of the `files` of a template are `sha256:` and their digest.
    """
    value = _written(_adapter().dump_python(plan, mode="json", by_alias=True))
    return to_json_bytes(value, indent=2).decode()


def from_json(text: str) -> Plan:
    """The plan that `to_json` wrote, as far as that tells it: a digest stays a digest.

    Raises:
        ValueError: the text is not such a plan (`pydantic.ValidationError` is one).
    """
    value = json.loads(text)
    found = value.get("format") if isinstance(value, dict) else None
    if found != PLAN_FORMAT:
        raise ValueError(f"not a plan of format {PLAN_FORMAT}: its format is {found!r}")
    plan = _adapter().validate_python(_read(value))
    totals = replace(
        plan.totals,
        by_verb=FrozenDict(plan.totals.by_verb),
        by_blocked=FrozenDict(plan.totals.by_blocked),
    )
    return replace(plan, totals=totals)


def _written(value: Any) -> Any:
    """The value with the names of its fields as JSON spells them, at every depth."""
    if isinstance(value, list):
        return [_written(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {camel(key): _member(key, value[key]) for key in sorted(value, key=camel)}


def _member(key: str, value: Any) -> Any:
    if key in _TEXTS:
        return value and _hidden(value)
    if key == _FILES:
        return {name: _hidden(value[name]) for name in sorted(value)}
    return value if key in _COUNTS else _written(value)


@lru_cache(maxsize=TEXTS_MAX)
def _hidden(text: str) -> str:
    """The digest of a text; of a digest, that is read from a plan, itself."""
    return text if _HIDDEN.fullmatch(text) else f"sha256:{digest_of(text)}"


def _read(value: Any) -> Any:
    """The value with the names of its fields as Python spells them, at every depth."""
    if isinstance(value, list):
        return [_read(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {snake(key): one if key in _OWN_WORDS else _read(one) for key, one in value.items()}


def plan_schema() -> str:
    """The text of the JSON schema of `to_json`'s output, a line feed at its end."""
    schema = _adapter().json_schema(by_alias=True, mode="serialization")
    for part in (schema, *schema["$defs"].values()):
        part.pop("default", None)
        if "properties" in part:
            part["properties"] = {
                camel(name): {
                    key: value for key, value in body.items() if key not in ("default", "title")
                }
                for name, body in part["properties"].items()
            }
            part["required"] = sorted(part["properties"])
            part["additionalProperties"] = False
    return json.dumps({"$schema": DIALECT, **schema}, indent=2, ensure_ascii=False) + "\n"
