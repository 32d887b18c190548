"""A plan as JSON, byte for byte the same for the same plan, and the schema of that JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_json as to_json_bytes

from metalwright.model.frozen import FrozenDict
from metalwright.model.plan import PLAN_FORMAT, Plan
from metalwright.plan.spelling import camel, snake

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_COUNTS: Final = frozenset({"by_verb", "by_blocked", "byVerb", "byBlocked"})
"""Members whose keys are words of their own, not names of fields."""


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def to_json(plan: Plan) -> str:
    """The plan as JSON text: keys in camelCase and sorted, two spaces of indent."""
    value = _renamed(_adapter().dump_python(plan, mode="json", by_alias=True), camel)
    return to_json_bytes(value, indent=2).decode()


def from_json(text: str) -> Plan:
    """The plan that `to_json` wrote.

    Raises:
        ValueError: the text is not such a plan (`pydantic.ValidationError` is one).
    """
    value = json.loads(text)
    found = value.get("format") if isinstance(value, dict) else None
    if found != PLAN_FORMAT:
        raise ValueError(f"not a plan of format {PLAN_FORMAT}: its format is {found!r}")
    plan = _adapter().validate_python(_renamed(value, snake))
    totals = replace(
        plan.totals,
        by_verb=FrozenDict(plan.totals.by_verb),
        by_blocked=FrozenDict(plan.totals.by_blocked),
    )
    return replace(plan, totals=totals)


def _renamed(value: Any, rename: Callable[[str], str]) -> Any:
    """The value with the names of its fields in another spelling, at every depth."""
    if isinstance(value, list):
        return [_renamed(one, rename) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        rename(key): value[key] if key in _COUNTS else _renamed(value[key], rename)
        for key in sorted(value, key=rename)
    }


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
