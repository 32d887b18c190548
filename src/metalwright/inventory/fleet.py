"""Nodes, pools and freezes: what must be unique, and which node is in which pool. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from metalwright.inventory.codes import Code
from metalwright.inventory.problems import Declarations, Declared, Problem, in_order
from metalwright.inventory.yaml_documents import Path
from metalwright.model.documents import Node, Pool
from metalwright.model.finding import Severity
from metalwright.model.inventory import Source, attributes
from metalwright.model.noderange import NodeRangeError, fold, unfold
from metalwright.model.selector import parse_selector

NAMES_MAX: Final = 200_000
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")

Values = Callable[[Node], Iterator[tuple[str, Path]]]


def check_nodes(declared: Declarations) -> list[Problem]:
    """What no two nodes may share, and what a node needs for its driver."""
    nodes = in_order(declared.nodes.values())
    problems: list[Problem] = []
    for code, what, values in _UNIQUE:
        problems += _shared(nodes, code, what, values)
    for node in nodes:
        problems += _own(node)
    policies = in_order(declared.policies.values())
    problems += [
        Problem(
            source=policy.source,
            way=("metadata", "name"),
            code=Code.DUPLICATE_POLICY,
            message="there is more than one policy",
            value=policy.value.metadata.name,
            other=(policies[0].source, ("metadata", "name")),
        )
        for policy in policies[1:]
    ]
    return problems


def _macs(node: Node) -> Iterator[tuple[str, Path]]:
    for index, nic in enumerate(node.spec.nics):
        yield nic.mac, ("spec", "nics", index, "mac")


def _bmc(node: Node) -> Iterator[tuple[str, Path]]:
    if node.spec.bmc is not None:
        yield f"{node.spec.bmc.address} port {node.spec.bmc.port}", ("spec", "bmc", "address")


def _serial(node: Node) -> Iterator[tuple[str, Path]]:
    if node.spec.serial is not None:
        yield node.spec.serial, ("spec", "serial")


def _system_uuid(node: Node) -> Iterator[tuple[str, Path]]:
    if node.spec.system_uuid is not None:
        yield node.spec.system_uuid, ("spec", "systemUuid")


_UNIQUE: Final[tuple[tuple[Code, str, Values], ...]] = (
    (Code.DUPLICATE_MAC, "MAC address", _macs),
    (Code.DUPLICATE_BMC, "BMC address", _bmc),
    (Code.DUPLICATE_SERIAL, "serial number", _serial),
    (Code.DUPLICATE_SYSTEM_UUID, "system UUID", _system_uuid),
)


def _shared(
    nodes: Sequence[Declared[Node]], code: Code, what: str, values: Values
) -> Iterator[Problem]:
    first: dict[str, tuple[Declared[Node], Path]] = {}
    for node in nodes:
        for value, way in values(node.value):
            if value not in first:
                first[value] = (node, way)
                continue
            owner, place = first[value]
            yield Problem(
                source=node.source,
                way=way,
                code=code,
                message=f"the {what} is also that of node {owner.value.metadata.name}",
                value=value,
                other=(owner.source, place),
            )


def _own(node: Declared[Node]) -> Iterator[Problem]:
    spec = node.value.spec
    if spec.driver == "ipmi" and (spec.bmc is None or spec.bmc.credentials is None):
        way: Path = ("spec", "driver") if spec.bmc is None else ("spec", "bmc")
        field = "spec.bmc" if spec.bmc is None else "spec.bmc.credentials"
        yield Problem(
            source=node.source,
            way=way,
            code=Code.NODE_WITHOUT_BMC,
            message=f"the driver ipmi needs {field}",
            hint="credentials is a reference such as bmc/rack-a, never the secret itself",
        )
    boot = [index for index, nic in enumerate(spec.nics) if nic.boot]
    for index in boot[1:]:
        yield Problem(
            source=node.source,
            way=("spec", "nics", index, "boot"),
            code=Code.NODE_BOOT_NICS,
            message="another interface of this node is already the one to boot from",
            hint="mark one interface only",
            other=(node.source, ("spec", "nics", boot[0], "boot")),
        )


class Names:
    """Unfolds lists of node names and ranges, with one bound for the whole inventory."""

    def __init__(self, declared: Declarations) -> None:
        self.declared = declared
        self.problems: list[Problem] = []
        self.count = 0

    def unfold(self, texts: Sequence[str], source: Source, way: Path) -> dict[str, Path]:
        """The declared nodes that a list names, in its order, each with the place that names it."""
        found: dict[str, Path] = {}
        for index, text in enumerate(texts):
            place = (*way, index)
            names = self._names(text, source, place)
            repeated = [name for name in names if name in found]
            if repeated:
                self.problems.append(
                    Problem(
                        source=source,
                        way=place,
                        code=Code.REFERENCE_REPEATED,
                        message=f"names {fold(repeated)} a second time",
                        severity=Severity.WARNING,
                    )
                )
            unknown = [name for name in names if not self.declared.knows("Node", name)]
            if unknown:
                self.problems.append(self._unknown(text, unknown, source, place))
            for name in names:
                if name in self.declared.nodes:
                    found.setdefault(name, place)
        return found

    def _names(self, text: str, source: Source, way: Path) -> tuple[str, ...]:
        if self.count > NAMES_MAX:
            return ()
        try:
            names = (text,) if _PLAIN_NAME.fullmatch(text) else unfold(text)
        except NodeRangeError as error:
            self.problems.append(
                Problem(source=source, way=way, code=Code.REFERENCE_RANGE, message=str(error))
            )
            return ()
        self.count += len(names)
        if self.count > NAMES_MAX:
            self.problems.append(
                Problem(
                    source=source,
                    way=way,
                    code=Code.REFERENCE_TOO_MANY,
                    message=f"the lists of nodes up to here name more than {NAMES_MAX:,} nodes",
                    hint="later lists were not checked",
                )
            )
            return ()
        return names

    def _unknown(self, text: str, unknown: Sequence[str], source: Source, way: Path) -> Problem:
        if len(unknown) == 1 and unknown[0] == text:
            return self.declared.unknown("Node", text, source, way)
        return Problem(
            source=source,
            way=way,
            code=Code.REFERENCE_UNKNOWN,
            message=f"names {len(unknown):,} nodes that are not declared: {_few(unknown)}",
            value=text,
        )


def _few(names: Iterable[str], count_max: int = 1_000) -> str:
    several = list(names)
    text = fold(several[:count_max])
    return text if len(several) <= count_max else f"{text} and more"


def resolve_pools(declared: Declarations, names: Names) -> tuple[dict[str, str], list[Problem]]:
    """The pool of each node that is in one, and what is wrong with the pools."""
    facts = {name: attributes(node.value) for name, node in declared.nodes.items()}
    pool_of: dict[str, str] = {}
    places: dict[str, tuple[Source, Path]] = {}
    problems: list[Problem] = []
    for pool in in_order(declared.pools.values()):
        members, own = _members(pool, facts, names)
        problems += own
        clashes: dict[str, list[str]] = {}
        for name, way in members.items():
            if name in pool_of:
                clashes.setdefault(pool_of[name], []).append(name)
            else:
                pool_of[name] = pool.value.metadata.name
                places[name] = (pool.source, way)
        for other, both in sorted(clashes.items()):
            problems.append(
                Problem(
                    source=pool.source,
                    way=members[both[0]],
                    code=Code.POOL_NODE_IN_TWO,
                    message=f"{_few(both)} {'is' if len(both) == 1 else 'are'}"
                    f" in pool {other!r} already",
                    hint="a node is in one pool at most",
                    other=places[both[0]],
                )
            )
    return dict(sorted(pool_of.items())), problems


def _members(
    pool: Declared[Pool], facts: Mapping[str, Mapping[str, str | int]], names: Names
) -> tuple[dict[str, Path], list[Problem]]:
    spec, source = pool.value.spec, pool.source
    problems: list[Problem] = []
    if spec.resting.template is not None and not names.declared.knows(
        "BootTemplate", spec.resting.template
    ):
        way: Path = ("spec", "resting", "template")
        problems.append(names.declared.unknown("BootTemplate", spec.resting.template, source, way))
    members = names.unfold(spec.nodes, source, ("spec", "nodes"))
    if spec.selector is not None:
        selected = _selected(spec.selector, facts)
        if not selected:
            problems.append(_matches_nothing(source, spec.selector))
        for name in selected:
            members.setdefault(name, ("spec", "selector"))
    elif not members:
        problems.append(
            Problem(
                source=source,
                way=("spec", "nodes"),
                code=Code.POOL_EMPTY,
                message="the pool has no node",
                severity=Severity.WARNING,
            )
        )
    return members, problems


def check_freezes(declared: Declarations, pool_of: Mapping[str, str]) -> list[Problem]:
    """References of freezes, and selectors that select nothing."""
    if not declared.freezes:
        return []
    facts = {
        name: attributes(node.value, pool_of.get(name)) for name, node in declared.nodes.items()
    }
    problems: list[Problem] = []
    for freeze in in_order(declared.freezes.values()):
        spec, source = freeze.value.spec, freeze.source
        if spec.schedule is not None and not declared.knows("Schedule", spec.schedule):
            way: Path = ("spec", "schedule")
            problems.append(declared.unknown("Schedule", spec.schedule, source, way))
        if facts and not _selected(spec.selector, facts):
            problems.append(_matches_nothing(source, spec.selector))
    return problems


def _selected(text: str, facts: Mapping[str, Mapping[str, str | int]]) -> list[str]:
    selector = parse_selector(text)
    return [name for name, known in facts.items() if selector.matches(name, known)]


def _matches_nothing(source: Source, selector: str) -> Problem:
    return Problem(
        source=source,
        way=("spec", "selector"),
        code=Code.SELECTOR_MATCHES_NOTHING,
        message="the selector matches no node",
        value=selector,
        severity=Severity.WARNING,
    )
