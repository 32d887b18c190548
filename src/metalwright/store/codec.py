"""Values of the model to JSON text and back, exactly: what is read equals what was written.

A target is written once for all who share it (`target_id`), so an operation and an applied state
are written without theirs and given it again when they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import Enum
from functools import cache, lru_cache
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError, from_json, to_json

from metalwright.model.desired import Holder, Target
from metalwright.model.observed import Observation
from metalwright.model.operation import Applied, Effect, Operation
from metalwright.model.report import DiskFact, DiskWipe, Report
from metalwright.model.rollout import Rollout

_NO_TARGET = {"target"}
_OWN_COLUMNS = {"target", "cancelled_by"}

EFFECTS_CACHE_MAX: Final = 4_096
HOLDERS_CACHE_MAX: Final = 4_096

REPLACED: Final = "\ufffd"
"""What stands for a character that cannot be stored."""


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _text(kind: Any, value: Any, exclude: set[str] | None = None) -> str:
    adapter = _adapter(kind)
    try:
        # Without the adapter's own layer, which costs a third of this.
        body: bytes = adapter.serializer.to_json(value, exclude=exclude)
    except PydanticSerializationError:
        body = to_json(_storable(adapter.dump_python(value, exclude=exclude)))
    return body.decode()


def _storable(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Enum):
        return storable(value)
    if isinstance(value, Mapping):
        return {_storable(key): _storable(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [_storable(each) for each in value]
    return value


def storable(text: str) -> str:
    """The text without what no database takes: halves of characters (a BMC's JSON may hold them)
    and NUL. Both become U+FFFD.
    """
    if text.isascii() and "\0" not in text:
        return text
    return (
        text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace("\0", REPLACED)
    )


def target_to_text(target: Target) -> tuple[str, str]:
    """The id of a target (a hash of all of it, not only of what is booted) and its text."""
    body = _text(Target, target)
    return hashlib.sha256(body.encode()).hexdigest(), body


def target_from_text(text: str) -> Target:
    """Raises pydantic.ValidationError where the text is no target."""
    target: Target = _adapter(Target).validate_json(text)
    return target


def operation_to_text(operation: Operation) -> str:
    """The text of an operation without what has columns of its own: target, who cancelled it."""
    return _text(Operation, operation, _OWN_COLUMNS)


def operation_from_text(text: str, target: Target, cancelled_by: str | None) -> Operation:
    """Raises pydantic.ValidationError where the text is no operation."""
    columns = {"target": target, "cancelled_by": cancelled_by or ""}
    operation: Operation = _adapter(Operation).validate_python(from_json(text) | columns)
    return operation


def rollout_to_text(rollout: Rollout) -> str:
    """The text of a rollout."""
    return _text(Rollout, rollout)


def rollout_from_text(text: str) -> Rollout:
    """Raises pydantic.ValidationError where the text is no rollout."""
    rollout: Rollout = _adapter(Rollout).validate_json(text)
    return rollout


def applied_to_text(applied: Applied) -> str:
    """The text of an applied state without its target."""
    return _text(Applied, applied, _NO_TARGET)


def applied_from_text(text: str, target: Target) -> Applied:
    """Raises pydantic.ValidationError where the text is no applied state."""
    applied: Applied = _adapter(Applied).validate_python(from_json(text) | {"target": target})
    return applied


@lru_cache(maxsize=HOLDERS_CACHE_MAX)
def holder_to_text(holder: Holder) -> str:
    """The text of a holder."""
    return _text(Holder, holder)


@lru_cache(maxsize=HOLDERS_CACHE_MAX)
def holder_from_text(text: str) -> Holder:
    """Raises pydantic.ValidationError where the text is no holder."""
    holder: Holder = _adapter(Holder).validate_json(text)
    return holder


def observation_to_text(observation: Observation) -> str:
    """The text of an observation."""
    return _text(Observation, observation)


def observation_from_text(text: str) -> Observation:
    """Raises pydantic.ValidationError where the text is no observation."""
    observation: Observation = _adapter(Observation).validate_json(text)
    return observation


def report_to_text(report: Report) -> str:
    """The text of a machine's report."""
    return _text(Report, report)


def report_from_text(text: str) -> Report:
    """Raises pydantic.ValidationError where the text is no report."""
    report: Report = _adapter(Report).validate_json(text)
    return report


def wipe_to_text(wipe: DiskWipe) -> str:
    """The text of the evidence of one disk's wipe."""
    return _text(DiskWipe, wipe)


def wipe_from_text(text: str) -> DiskWipe:
    """Raises pydantic.ValidationError where the text is no evidence."""
    wipe: DiskWipe = _adapter(DiskWipe).validate_json(text)
    return wipe


def disks_to_text(disks: tuple[DiskFact, ...]) -> str:
    """The text of disks."""
    return _text(tuple[DiskFact, ...], disks)


def disks_from_text(text: str) -> tuple[DiskFact, ...]:
    """Raises pydantic.ValidationError where the text is no list of disks."""
    disks: tuple[DiskFact, ...] = _adapter(tuple[DiskFact, ...]).validate_json(text)
    return disks


@lru_cache(maxsize=EFFECTS_CACHE_MAX)
def effect_to_text(effect: Effect | None) -> str | None:
    """The text of an effect."""
    return None if effect is None else _text(Effect, effect)


def effect_from_text(text: str | None) -> Effect | None:
    """Raises pydantic.ValidationError where the text is no effect."""
    return None if text is None else _adapter(Effect).validate_json(text)
