"""What every document type shares: how strictly it is read, and the text of a selector."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from metalwright.model.selector import SelectorError, parse_selector

CONFIG = ConfigDict(
    extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
)


def _selector(value: str) -> str:
    try:
        parse_selector(value)
    except SelectorError as error:
        raise PydanticCustomError("selector", "{error}", {"error": str(error)}) from error
    return value


SelectorText = Annotated[
    str,
    StringConstraints(strict=True, min_length=1, max_length=4_096),
    AfterValidator(_selector),
    Field(
        description="Such as: model='PowerEdge R640' and rack in (a01, a02) and not r640-[01-04]"
    ),
]
