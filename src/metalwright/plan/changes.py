"""What an edited template asks of the machine that runs it: the change class of each field.

The table is total over the fields of a resolved template that are not its name, so that a new field
cannot be forgotten (a test says so).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Any, Final

from metalwright.model.digest import digest_of
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.template import Artifact, ImageSpec, Method


class ChangeClass(IntEnum):
    """How much a change needs, the least first."""

    NONE = 0
    REBOOT = 1
    REPROVISION = 2


_BOOTED: Final[Mapping[Method, ChangeClass]] = FrozenDict(
    {
        Method.NETBOOT: ChangeClass.REBOOT,
        Method.LOCAL: ChangeClass.REBOOT,
        Method.DISK: ChangeClass.REPROVISION,
    }
)
_NOTHING: Final[Mapping[Method, ChangeClass]] = FrozenDict(dict.fromkeys(Method, ChangeClass.NONE))

CHANGE_CLASS: Final[Mapping[str, Mapping[Method, ChangeClass]]] = FrozenDict(
    {
        "method": FrozenDict(dict.fromkeys(Method, ChangeClass.REPROVISION)),
        "image": _BOOTED,
        "kernel_args": _BOOTED,
        "user_data": _BOOTED,
        "vendor_data": _BOOTED,
        "files": _BOOTED,
        "wipe": _NOTHING,
        "timeouts": _NOTHING,
        "validation": _NOTHING,
        "phone_home": _NOTHING,
    }
)
"""For each field of a template: what its edit needs, by the method of the new template."""

PAIRS_MAX = 256
"""Pairs of templates whose difference is remembered: thousands of nodes share a few."""

ARTIFACTS: Final = ("kernel", "initrd", "rootfs", "disk")
DIGEST_SHOWN = 12
TEXT_SHOWN_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldEdit:
    """One field that differs between two templates."""

    field: str
    old: str
    new: str
    change_class: ChangeClass


@lru_cache(maxsize=PAIRS_MAX)
def edits(old: ResolvedTemplate, new: ResolvedTemplate) -> tuple[FieldEdit, ...]:
    """The fields that differ and need something of the machine, in the order of the table."""
    found = []
    for field, classes in CHANGE_CLASS.items():
        before, after = getattr(old, field), getattr(new, field)
        if _differs(before, after) and classes[new.method] is not ChangeClass.NONE:
            shown = (_shown(field, before, after), _shown(field, after, before))
            found.append(
                FieldEdit(field=field, old=shown[0], new=shown[1], change_class=classes[new.method])
            )
    return tuple(found)


def class_of(found: tuple[FieldEdit, ...]) -> ChangeClass:
    """The greatest class of these edits."""
    return max((edit.change_class for edit in found), default=ChangeClass.NONE)


def _differs(before: Any, after: Any) -> bool:
    """Whether a machine could tell: the same files at another address are the same image."""
    if isinstance(before, ImageSpec) and isinstance(after, ImageSpec):
        return any(_digest_of(before, role) != _digest_of(after, role) for role in ARTIFACTS)
    return bool(before != after)


def _digest_of(image: ImageSpec, role: str) -> str | None:
    artifact: Artifact | None = getattr(image, role)
    return artifact.sha256 if artifact is not None else None


def _shown(field: str, value: Any, other: Any) -> str:
    """A value as a line of text. What may hold a password is shown as a digest of itself."""
    if value is None or value in ((), FrozenDict()):
        return "(none)"
    if field in ("user_data", "vendor_data", "files"):
        return f"sha256:{digest_of(value)[:DIGEST_SHOWN]}"
    if isinstance(value, ImageSpec):
        return _image(value, other)
    if isinstance(value, tuple):
        return _shortened(" ".join(value))
    return str(value)


def _image(image: ImageSpec, other: Any) -> str:
    """The artifacts of an image that the other one lacks, by the end of their address."""
    parts = []
    for role in ARTIFACTS:
        artifact = getattr(image, role)
        before = _digest_of(other, role) if isinstance(other, ImageSpec) else None
        if artifact is not None and artifact.sha256 != before:
            file = artifact.url.rstrip("/").rsplit("/", 1)[-1]
            parts.append(f"{role} {file} sha256:{artifact.sha256[:DIGEST_SHOWN]}")
    return _shortened(", ".join(parts) or "(fewer artifacts)")


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN_MAX else text[: TEXT_SHOWN_MAX - 3] + "..."
