"""JSON schemas of the documents, for editors and for checks outside Metalwright.

They are made from the very types that the loader validates with, so that an editor underlines what
the loader would refuse. A schema sees one document by itself and knows less than the loader: it
never refuses what the loader accepts, but the loader refuses more (a selector that does not parse,
an end before its start, a reference to nothing). Nothing here touches a file.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from metalwright.model.documents import API_VERSION, KINDS
from metalwright.model.fields import format_duration

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ANY_KIND: Final = "metalwright.json"

_ENVELOPE = ["apiVersion", "kind", "metadata", "spec"]


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, as strict about keys as its validator, and without made-up titles."""

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        # Pydantic leaves keys that match no pattern allowed, which its validator refuses.
        found = super().dict_schema(schema)
        if "patternProperties" in found:
            found["additionalProperties"] = False
        return found

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        # A default is shown as it would be written: a duration as text, an absent field not at all.
        found = super().default_schema(schema)
        default = found.get("default")
        if default is None:
            found.pop("default", None)
        elif found.get("type") == "string" and isinstance(default, int):
            found["default"] = format_duration(default)
        return found

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        # It would be the camelCase name with its humps lost: "Datalossconsent".
        return False


def schemas() -> dict[str, str]:
    """The text of every schema by file name: `Node.json` and so on, and `metalwright.json` for any.

    The text is the same for the same types, byte for byte: keys keep the order of the fields, two
    spaces of indent, a line feed at the end.
    """
    found = {f"{kind}.json": _text(_of_kind(kind)) for kind in KINDS}
    found[ANY_KIND] = _text(_of_any_kind())
    return found


def _of_kind(kind: str) -> dict[str, Any]:
    schema = TypeAdapter(KINDS[kind]).json_schema(by_alias=True, schema_generator=_Generator)
    return {"$schema": DIALECT, **_strict(schema)}


def _of_any_kind() -> dict[str, Any]:
    """One schema that looks at `kind` first, so that an editor speaks of that kind only.

    A bare `oneOf` would do as a test, but makes an editor say "matches no schema" of eight kinds
    where a single key is misspelt.
    """
    mode: Literal["validation"] = "validation"
    adapters = [(kind, mode, TypeAdapter[Any](type_)) for kind, type_ in KINDS.items()]
    _, shared = TypeAdapter.json_schemas(adapters, by_alias=True, schema_generator=_Generator)
    definitions = shared["$defs"]
    for kind in KINDS:
        definitions[kind] = _strict(definitions[kind])
    return {
        "$schema": DIALECT,
        "title": "Metalwright document",
        "description": "One document of an inventory, of any kind.",
        "type": "object",
        "required": _ENVELOPE,
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"enum": list(KINDS)},
        },
        "allOf": [
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"$ref": f"#/$defs/{kind}"},
            }
            for kind in KINDS
        ],
        "$defs": definitions,
    }


def _strict(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a kind with its whole envelope required.

    `apiVersion` and `kind` have defaults for documents that are built in code; in a file they are
    what tells the loader how to read the rest.
    """
    return {**schema, "required": _ENVELOPE}


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
