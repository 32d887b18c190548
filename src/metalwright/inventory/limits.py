"""Limits and rollouts that speak of something that no node has: most often a misspelt word. Pure.

All of it is a warning. A limit on nothing limits nothing, and a revision is not refused for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from metalwright.inventory.codes import Code
from metalwright.inventory.members import few
from metalwright.inventory.problems import Declarations, Declared, Problem, in_order
from metalwright.inventory.schema import suggestion
from metalwright.inventory.yaml_builder import Path
from metalwright.model.documents import Node, Policy
from metalwright.model.finding import Severity
from metalwright.model.limits import server_of
from metalwright.model.template import ImageSpec

SHOWN_MAX: Final = 5


def check_limits(declared: Declarations, pool_of: Mapping[str, str]) -> list[Problem]:
    """Words of the policy that no node or image has, and rollouts by a label that nodes lack."""
    problems: list[Problem] = []
    for policy in in_order(declared.policies.values()):
        problems += _unused(policy, declared)
    problems += _rollouts(declared, pool_of)
    return problems


def _unused(policy: Declared[Policy], declared: Declarations) -> Iterator[Problem]:
    spec = policy.value.spec
    nodes = [node.value for node in declared.nodes.values()]
    if not nodes:
        return
    labels = {key for node in nodes for key in node.metadata.labels}
    used: list[tuple[str, str, set[str], list[tuple[str, Path]]]] = [
        ("node has", "label", labels, _label_ways(policy.value)),
        (
            "node uses",
            "driver",
            {node.spec.driver for node in nodes},
            [(key, ("spec", "limits", "drivers", key)) for key in spec.limits.drivers],
        ),
        (
            "node is in",
            "conductor group",
            _groups(nodes),
            [
                (key, ("spec", "limits", "conductorGroups", key))
                for key in spec.limits.conductor_groups
            ],
        ),
        (
            "image is on",
            "image server",
            {host for image in declared.images.values() for host in _hosts(image.value.spec)},
            [(key, ("spec", "limits", "imageServers", key)) for key in spec.limits.image_servers],
        ),
    ]
    for who, what, known, named in used:
        for word, way in named:
            if word not in known:
                yield Problem(
                    source=policy.source,
                    way=way,
                    code=Code.LIMIT_MATCHES_NOTHING,
                    message=f"no {who} this {what}, so nothing is limited by it",
                    value=word,
                    hint=_hint(word, sorted(known)),
                    severity=Severity.WARNING,
                )


def _hint(word: str, known: list[str]) -> str:
    near = suggestion(word, known)
    return near or (f"there is {', '.join(known)}" if 0 < len(known) <= SHOWN_MAX else "")


def _label_ways(policy: Policy) -> list[tuple[str, Path]]:
    """Every label that the policy speaks of, with its place."""
    spec = policy.spec
    found: list[tuple[str, Path]] = [
        (key, ("spec", "limits", "labels", key)) for key in spec.limits.labels
    ]
    found += [
        (rate.label, ("spec", "startRates", index, "label"))
        for index, rate in enumerate(spec.start_rates)
        if rate.label is not None
    ]
    found += [(key, ("spec", "blastRadius", "labels", key)) for key in spec.blast_radius.labels]
    return found


def _groups(nodes: list[Node]) -> set[str]:
    return {node.spec.conductor_group for node in nodes if node.spec.conductor_group is not None}


def _hosts(image: ImageSpec) -> Iterator[str]:
    """The servers of an image, as the slots name them."""
    for artifact in (image.kernel, image.initrd, image.rootfs, image.disk):
        if artifact is not None and (server := server_of(artifact.url)) is not None:
            yield server


def _rollouts(declared: Declarations, pool_of: Mapping[str, str]) -> Iterator[Problem]:
    by_label = {
        name: pool.value.spec.rollout.waves.label
        for name, pool in declared.pools.items()
        if pool.value.spec.rollout is not None and pool.value.spec.rollout.waves.label is not None
    }
    lacking: dict[str, list[str]] = {}
    for node, pool in pool_of.items():
        label = by_label.get(pool)
        if label is not None and label not in declared.nodes[node].value.metadata.labels:
            lacking.setdefault(pool, []).append(node)
    for name, nodes in sorted(lacking.items()):
        yield Problem(
            source=declared.pools[name].source,
            way=("spec", "rollout", "waves", "label"),
            code=Code.ROLLOUT_LABEL_MISSING,
            message=f"{few(nodes)} {'has' if len(nodes) == 1 else 'have'} no such label,"
            " and go in one wave together",
            value=by_label[name] or "",
            severity=Severity.WARNING,
        )
