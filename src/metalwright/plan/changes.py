"""What an edited template asks of the machine that runs it: the change class of each field.

The table is total over the fields of a resolved template that are not its name, so that a new field
cannot be forgotten (a test says so).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from metalwright.model.digest import digest_of
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.template import ImageSpec, Method


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
        "wipe": _NOTHING,
        "timeouts": _NOTHING,
    }
)
"""For each field of a template: what its edit needs, by the method of the new template."""

DIGEST_SHOWN = 12
TEXT_SHOWN_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldEdit:
    """One field that differs between two templates."""

    field: str
    old: str
    new: str
    change_class: ChangeClass


def edits(old: ResolvedTemplate, new: ResolvedTemplate) -> tuple[FieldEdit, ...]:
    """The fields that differ and need something of the machine, in the order of the table."""
    found = []
    for field, classes in CHANGE_CLASS.items():
        before, after = getattr(old, field), getattr(new, field)
        if before != after and classes[new.method] is not ChangeClass.NONE:
            shown = (_shown(field, before, after), _shown(field, after, before))
            found.append(
                FieldEdit(field=field, old=shown[0], new=shown[1], change_class=classes[new.method])
            )
    return tuple(found)


def class_of(found: tuple[FieldEdit, ...]) -> ChangeClass:
    """The greatest class of these edits."""
    return max((edit.change_class for edit in found), default=ChangeClass.NONE)


def _shown(field: str, value: Any, other: Any) -> str:
    """A value as a line of text. What may hold a password is shown as a digest of itself."""
    if value is None or value == ():
        return "(none)"
    if field in ("user_data", "vendor_data"):
        return f"sha256:{digest_of(value)[:DIGEST_SHOWN]}"
    if isinstance(value, ImageSpec):
        return _image(value, other)
    if isinstance(value, tuple):
        return _shortened(" ".join(value))
    return str(value)


def _image(image: ImageSpec, other: Any) -> str:
    """The artifacts of an image that the other one lacks, by the end of their address."""
    parts = []
    for name in ("kernel", "initrd", "rootfs", "disk"):
        artifact = getattr(image, name)
        if artifact is not None and artifact != getattr(other, name, None):
            file = artifact.url.rstrip("/").rsplit("/", 1)[-1]
            parts.append(f"{name} {file} sha256:{artifact.sha256[:DIGEST_SHOWN]}")
    return _shortened(", ".join(parts) or "(fewer artifacts)")


def _shortened(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN_MAX else text[: TEXT_SHOWN_MAX - 3] + "..."
