"""Values of the model to JSON text and back, exactly: what is read equals what was written.

A target is written once for all who share it (`target_id`), so an operation and an applied state
are written without theirs and given it again when they are read.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import from_json

from metalwright.model.desired import Target
from metalwright.model.observed import Observation
from metalwright.model.operation import Applied, Effect, Operation
from metalwright.model.rollout import Rollout

_NO_TARGET = {"target"}
_OWN_COLUMNS = {"target", "cancelled_by"}

EFFECTS_CACHE_MAX: Final = 4_096


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def target_to_text(target: Target) -> tuple[str, str]:
    """The id of a target (a hash of all of it, not only of what is booted) and its text."""
    body: bytes = _adapter(Target).dump_json(target)
    return hashlib.sha256(body).hexdigest(), body.decode()


def target_from_text(text: str) -> Target:
    """Raises pydantic.ValidationError where the text is no target."""
    target: Target = _adapter(Target).validate_json(text)
    return target


def operation_to_text(operation: Operation) -> str:
    """The text of an operation without what has columns of its own: target, who cancelled it."""
    body: bytes = _adapter(Operation).dump_json(operation, exclude=_OWN_COLUMNS)
    return body.decode()


def operation_from_text(text: str, target: Target, cancelled_by: str | None) -> Operation:
    """Raises pydantic.ValidationError where the text is no operation."""
    columns = {"target": target, "cancelled_by": cancelled_by or ""}
    operation: Operation = _adapter(Operation).validate_python(from_json(text) | columns)
    return operation


def rollout_to_text(rollout: Rollout) -> str:
    """The text of a rollout."""
    body: bytes = _adapter(Rollout).dump_json(rollout)
    return body.decode()


def rollout_from_text(text: str) -> Rollout:
    """Raises pydantic.ValidationError where the text is no rollout."""
    rollout: Rollout = _adapter(Rollout).validate_json(text)
    return rollout


def applied_to_text(applied: Applied) -> str:
    """The text of an applied state without its target."""
    body: bytes = _adapter(Applied).dump_json(applied, exclude=_NO_TARGET)
    return body.decode()


def applied_from_text(text: str, target: Target) -> Applied:
    """Raises pydantic.ValidationError where the text is no applied state."""
    applied: Applied = _adapter(Applied).validate_python(from_json(text) | {"target": target})
    return applied


def observation_to_text(observation: Observation) -> str:
    """The text of an observation."""
    body: bytes = _adapter(Observation).dump_json(observation)
    return body.decode()


def observation_from_text(text: str) -> Observation:
    """Raises pydantic.ValidationError where the text is no observation."""
    observation: Observation = _adapter(Observation).validate_json(text)
    return observation


@lru_cache(maxsize=EFFECTS_CACHE_MAX)
def effect_to_text(effect: Effect | None) -> str | None:
    """The text of an effect."""
    return None if effect is None else _adapter(Effect).dump_json(effect).decode()


def effect_from_text(text: str | None) -> Effect | None:
    """Raises pydantic.ValidationError where the text is no effect."""
    return None if text is None else _adapter(Effect).validate_json(text)
