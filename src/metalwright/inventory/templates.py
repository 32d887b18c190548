"""Boot templates with their parents folded in and their image looked up. Pure.

The digest covers what a node would boot and nothing else: the method, the contents (not the URLs)
of the artifacts that this method boots, the kernel arguments, user data, vendor data and files. A
rename, a moved mirror, another time-out or wipe policy is not a change of what runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from metalwright.inventory.codes import Code
from metalwright.inventory.problems import Declarations, Declared, Problem
from metalwright.inventory.yaml_builder import Path
from metalwright.model.checks import CHECKS_MAX, joined
from metalwright.model.digest import digest_of
from metalwright.model.documents import BootTemplate
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import ResolvedTemplate
from metalwright.model.template import (
    FILES_MAX,
    BootTemplateSpec,
    ImageSpec,
    Method,
    Timeouts,
    WipePolicy,
)

CHAIN_MAX: Final = 16
KERNEL_ARGS_MAX: Final = 256

BOOTED: Final[dict[Method, tuple[str, ...]]] = {
    Method.NETBOOT: ("kernel", "initrd", "rootfs"),
    Method.DISK: ("disk",),
    Method.LOCAL: (),
}
NEEDED: Final[dict[Method, tuple[str, ...]]] = {
    Method.NETBOOT: ("kernel", "initrd"),
    Method.DISK: ("disk",),
    Method.LOCAL: (),
}

Chain = tuple[Declared[BootTemplate], ...]


def resolve_templates(
    declared: Declarations,
) -> tuple[dict[str, ResolvedTemplate], list[Problem]]:
    """Every template that has no problem, resolved; and the problems of the others."""
    resolved: dict[str, ResolvedTemplate] = {}
    problems: list[Problem] = []
    circles: set[str] = set()
    for name, template in declared.templates.items():
        spec, source = template.value.spec, template.source
        unknown = False
        for kind, target, field in (
            ("BootTemplate", spec.extends, "extends"),
            ("Image", spec.image, "image"),
        ):
            if target is not None and not declared.knows(kind, target):
                problems.append(declared.unknown(kind, target, source, ("spec", field)))
                unknown = True
        chain = _chain(declared, template, circles, problems)
        if chain is None or unknown:
            continue
        one = _fold(declared, name, chain)
        if isinstance(one, ResolvedTemplate):
            resolved[name] = one
        else:
            problems += one
    return resolved, problems


def _chain(
    declared: Declarations,
    template: Declared[BootTemplate],
    circles: set[str],
    problems: list[Problem],
) -> Chain | None:
    """The template and its parents, nearest first; None where there is no end to them."""
    chain = [template]
    names = [template.value.metadata.name]
    while (parent := chain[-1].value.spec.extends) is not None:
        if parent in names:
            circle = names[names.index(parent) :]
            if not circles.intersection(circle):
                circles.update(circle)
                problems.append(
                    Problem(
                        source=declared.templates[circle[0]].source,
                        way=("spec", "extends"),
                        code=Code.TEMPLATE_CYCLE,
                        message=f"extends itself: {' -> '.join([*circle, circle[0]])}",
                        hint="one of them must not extend another",
                    )
                )
            return None
        if parent not in declared.templates:
            return None
        chain.append(declared.templates[parent])
        names.append(parent)
        if len(chain) > CHAIN_MAX:
            problems.append(
                Problem(
                    source=template.source,
                    way=("spec", "extends"),
                    code=Code.TEMPLATE_TOO_DEEP,
                    message=f"extends more than {CHAIN_MAX - 1} templates, one above the other",
                )
            )
            return None
    return tuple(chain)


def _fold(declared: Declarations, name: str, chain: Chain) -> ResolvedTemplate | list[Problem]:
    """The template with its parents folded in, or why it cannot be used."""
    specs = [item.value.spec for item in chain]
    template = chain[0]
    method = next((spec.method for spec in specs if spec.method is not None), None)
    if method is None:
        return [
            Problem(
                source=template.source,
                way=("spec",),
                code=Code.TEMPLATE_WITHOUT_METHOD,
                message="has no method, and no parent gives one",
                hint=f"give spec.method: {', '.join(Method)}",
            )
        ]
    image_name = next((spec.image for spec in specs if spec.image is not None), None)
    image: ImageSpec | None = None
    if image_name is not None:
        if image_name not in declared.images:
            return []  # broken or unknown, and said so where it is named
        image = declared.images[image_name].value.spec
    missing = [role for role in NEEDED[method] if image is None or getattr(image, role) is None]
    if missing:
        return [_without_image(template, method, image_name, missing)]
    arguments = tuple(argument for spec in reversed(specs) for argument in spec.kernel_args)
    if len(arguments) > KERNEL_ARGS_MAX:
        said = (
            f"{len(arguments)} kernel arguments with those of its parents; at most"
            f" {KERNEL_ARGS_MAX}"
        )
        return [_too_large(template, "kernelArgs", said)]
    validation = joined(*(spec.validation for spec in reversed(specs)))
    if len(validation) > CHECKS_MAX:
        said = f"{len(validation)} checks with those of its parents; at most {CHECKS_MAX}"
        return [_too_large(template, "validation", said)]
    files = {name: text for spec in reversed(specs) for name, text in spec.files.items()}
    if len(files) > FILES_MAX:
        said = f"{len(files)} files with those of its parents; at most {FILES_MAX}"
        return [_too_large(template, "files", said)]
    user_data = next((spec.user_data for spec in specs if spec.user_data is not None), None)
    vendor_data = next((spec.vendor_data for spec in specs if spec.vendor_data is not None), None)
    return ResolvedTemplate(
        name=name,
        chain=tuple(item.value.metadata.name for item in chain),
        method=method,
        image=image,
        kernel_args=arguments,
        user_data=user_data,
        vendor_data=vendor_data,
        files=FrozenDict(sorted(files.items())),
        wipe=next((spec.wipe for spec in specs if spec.wipe is not None), WipePolicy.NONE),
        timeouts=_timeouts([spec.timeouts for spec in specs]),
        validation=validation,
        phone_home=_phones_home(specs, method, image),
        digest=_digest(method, image, arguments, (user_data, vendor_data), files),
    )


def _phones_home(specs: list[BootTemplateSpec], method: Method, image: ImageSpec | None) -> bool:
    """What is declared, else whether something of ours boots that could report."""
    declared = next((spec.phone_home for spec in specs if spec.phone_home is not None), None)
    if declared is not None:
        return declared
    return method is not Method.LOCAL and image is not None


def _too_large(template: Declared[BootTemplate], field: str, said: str) -> Problem:
    return Problem(
        source=template.source,
        way=("spec", field),
        code=Code.TEMPLATE_TOO_LARGE,
        message=f"has {said}",
    )


def _without_image(
    template: Declared[BootTemplate], method: Method, image: str | None, missing: list[str]
) -> Problem:
    way: Path = ("spec", "image") if template.value.spec.image is not None else ("spec",)
    what = f"its image {image!r} has no {' and no '.join(missing)}" if image else "it has no image"
    return Problem(
        source=template.source,
        way=way,
        code=Code.TEMPLATE_WITHOUT_IMAGE,
        message=f"method {method.value} needs an image with {' and '.join(NEEDED[method])}; {what}",
    )


def _timeouts(nearest_first: list[Timeouts]) -> Timeouts:
    merged: dict[str, Any] = {}
    for field in fields(Timeouts):
        given = (getattr(timeouts, field.name) for timeouts in nearest_first)
        merged[field.name] = next((value for value in given if value is not None), None)
    return Timeouts(**merged)


def _digest(
    method: Method,
    image: ImageSpec | None,
    kernel_args: tuple[str, ...],
    data: tuple[str | None, str | None],
    files: Mapping[str, str],
) -> str:
    artifacts = {
        role: artifact.sha256
        for role in BOOTED[method]
        if image is not None and (artifact := getattr(image, role)) is not None
    }
    covered: dict[str, Any] = {
        "method": method.value,
        "artifacts": artifacts,
        "kernelArgs": list(kernel_args),
        "userData": data[0],
        "vendorData": data[1],
    }
    # A template without files has the digest that it had before there were any.
    return digest_of(covered | ({"files": files} if files else {}))
