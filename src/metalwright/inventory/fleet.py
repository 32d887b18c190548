"""Nodes, pools and freezes: what must be unique, and which node is in which pool. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from metalwright.inventory.codes import Code
from metalwright.inventory.members import Facts, Members, few
from metalwright.inventory.problems import Declarations, Declared, Problem, in_order
from metalwright.inventory.yaml_builder import Path
from metalwright.model.documents import Node, Pool
from metalwright.model.finding import Severity
from metalwright.model.hardware import DRIVERS, BootInterface, port_of
from metalwright.model.inventory import Source, attributes

_BMC_DRIVERS: Final = frozenset({"ipmi", "redfish"})
_DISCLESS: Final = DRIVERS - {"redfish"}
"""Our own drivers that have no virtual media; what others can do is theirs to say."""

Values = Callable[[Node], Iterator[tuple[str, Path]]]


def check_nodes(declared: Declarations, drivers: frozenset[str]) -> list[Problem]:
    """What no two nodes may share, what a node needs for its driver, and that there is one."""
    nodes = in_order(declared.nodes.values())
    problems: list[Problem] = []
    for code, what, values in _UNIQUE:
        problems += _shared(nodes, code, what, values)
    problems += _shared_systems(nodes)
    for node in nodes:
        problems += _driver(declared, node, drivers)
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


def check_ramdisk(declared: Declarations) -> list[Problem]:
    """The image that the policy wipes and installs with: there, with a kernel and an initrd."""
    problems: list[Problem] = []
    way: Path = ("spec", "ramdisk")
    for policy in in_order(declared.policies.values()):
        name = policy.value.spec.ramdisk
        if name is None:
            continue
        if not declared.knows("Image", name):
            problems.append(declared.unknown("Image", name, policy.source, way))
        elif name in declared.images:
            spec = declared.images[name].value.spec
            lacks = [role for role in ("kernel", "initrd") if getattr(spec, role) is None]
            if lacks:
                said = f"this image has no {' and no '.join(lacks)}"
                problems.append(
                    Problem(
                        source=policy.source,
                        way=way,
                        code=Code.POLICY_RAMDISK,
                        message=said,
                        value=name,
                    )
                )
    return problems


def _macs(node: Node) -> Iterator[tuple[str, Path]]:
    for index, nic in enumerate(node.spec.nics):
        yield nic.mac, ("spec", "nics", index, "mac")


def _bmc(node: Node) -> Iterator[tuple[str, Path]]:
    if node.spec.bmc is not None:
        yield _bmc_text(node), ("spec", "bmc", "address")


def _bmc_text(node: Node) -> str:
    """The address, the port, and the system where one Redfish service has several."""
    bmc, driver = node.spec.bmc, node.spec.driver
    if bmc is None:
        return ""
    port = port_of(driver, bmc)
    at = bmc.address if port is None else f"{bmc.address} port {port}"
    return at if driver != "redfish" or bmc.system is None else f"{at} system {bmc.system}"


def _ironic_node(node: Node) -> Iterator[tuple[str, Path]]:
    if node.spec.driver == "ironic":
        named = node.spec.ironic_node is not None
        way: Path = ("spec", "ironicNode") if named else ("metadata", "name")
        yield node.spec.ironic_node or node.metadata.name, way


def _serial(node: Node) -> Iterator[tuple[str, Path]]:
    if node.spec.serial is not None:
        yield node.spec.serial, ("spec", "serial")


def _system_uuid(node: Node) -> Iterator[tuple[str, Path]]:
    if node.spec.system_uuid is not None:
        yield node.spec.system_uuid, ("spec", "systemUuid")


_UNIQUE: Final[tuple[tuple[Code, str, Values], ...]] = (
    (Code.DUPLICATE_MAC, "MAC address", _macs),
    (Code.DUPLICATE_BMC, "BMC address", _bmc),
    (Code.DUPLICATE_BMC, "node in Ironic", _ironic_node),
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


def _shared_systems(nodes: Sequence[Declared[Node]]) -> Iterator[Problem]:
    """A node that is the only system of a Redfish service which other nodes are systems of."""
    named: dict[str, Declared[Node]] = {}
    for node in nodes:
        bmc = node.value.spec.bmc
        if node.value.spec.driver == "redfish" and bmc is not None and bmc.system is not None:
            named.setdefault(_bmc_text(node.value).rpartition(" system ")[0], node)
    for node in nodes:
        bmc = node.value.spec.bmc
        if bmc is None or node.value.spec.driver != "redfish" or bmc.system is not None:
            continue
        other = named.get(_bmc_text(node.value))
        if other is not None:
            yield Problem(
                source=node.source,
                way=("spec", "bmc", "address"),
                code=Code.DUPLICATE_BMC,
                message=f"a system of this BMC is node {other.value.metadata.name}, so system is"
                " needed here",
                value=_bmc_text(node.value),
                other=(other.source, ("spec", "bmc", "system")),
            )


def _driver(
    declared: Declarations, node: Declared[Node], drivers: frozenset[str]
) -> Iterator[Problem]:
    driver = node.value.spec.driver
    if driver in drivers:
        return
    yield Problem(
        source=node.source,
        way=("spec", "driver"),
        code=Code.NODE_UNKNOWN_DRIVER,
        message=f"no driver of this name is installed here, only {', '.join(sorted(drivers))}",
        value=driver,
        hint=declared.nearest(driver, sorted(drivers)),
    )


def _own(node: Declared[Node]) -> Iterator[Problem]:
    spec = node.value.spec
    if spec.driver in _BMC_DRIVERS and (spec.bmc is None or spec.bmc.credentials is None):
        way: Path = ("spec", "driver") if spec.bmc is None else ("spec", "bmc")
        field = "spec.bmc" if spec.bmc is None else "spec.bmc.credentials"
        yield Problem(
            source=node.source,
            way=way,
            code=Code.NODE_WITHOUT_BMC,
            message=f"the driver {spec.driver} needs {field}",
            hint="credentials is a reference such as bmc/rack-a, never the secret itself",
        )
    if spec.boot_interface is BootInterface.VIRTUAL_MEDIA and spec.driver in _DISCLESS:
        yield Problem(
            source=node.source,
            way=("spec", "bootInterface"),
            code=Code.NODE_BOOT_INTERFACE,
            message=f"the driver {spec.driver} cannot show a machine a boot disc",
            value=spec.boot_interface.value,
            hint="leave it out, so that the machine boots from the network by its own firmware",
        )
    boot = [index for index, nic in enumerate(spec.nics) if nic.boot]
    if spec.driver == "wol" and not boot and len(spec.nics) != 1:
        yield Problem(
            source=node.source,
            way=("spec", "nics") if spec.nics else ("spec", "driver"),
            code=Code.NODE_WITHOUT_NIC,
            message="the driver wol needs to know the interface that wakes the machine",
            hint="mark it with boot: true",
        )
    for index in boot[1:]:
        yield Problem(
            source=node.source,
            way=("spec", "nics", index, "boot"),
            code=Code.NODE_BOOT_NICS,
            message="another interface of this node is already the one to boot from",
            hint="mark one interface only",
            other=(node.source, ("spec", "nics", boot[0], "boot")),
        )


def resolve_pools(declared: Declarations, members: Members) -> tuple[dict[str, str], list[Problem]]:
    """The pool of each node that is in one, and what is wrong with the pools."""
    facts = {name: attributes(node.value) for name, node in declared.nodes.items()}
    pool_of: dict[str, str] = {}
    places: dict[str, tuple[Source, Path]] = {}
    problems: list[Problem] = []
    for pool in in_order(declared.pools.values()):
        template = pool.value.spec.resting.template
        if template is not None and not declared.knows("BootTemplate", template):
            way: Path = ("spec", "resting", "template")
            problems.append(declared.unknown("BootTemplate", template, pool.source, way))
        nodes = _nodes(pool, facts, members)
        clashes: dict[str, list[str]] = {}
        for name, way in nodes.items():
            if name in pool_of:
                clashes.setdefault(pool_of[name], []).append(name)
            else:
                pool_of[name] = pool.value.metadata.name
                places[name] = (pool.source, way)
        for other, both in sorted(clashes.items()):
            problems.append(
                Problem(
                    source=pool.source,
                    way=nodes[both[0]],
                    code=Code.POOL_NODE_IN_TWO,
                    message=f"{few(both)} {'is' if len(both) == 1 else 'are'}"
                    f" in pool {other!r} already",
                    hint="a node is in one pool at most",
                    other=places[both[0]],
                )
            )
    return dict(sorted(pool_of.items())), problems


def _nodes(pool: Declared[Pool], facts: Facts, members: Members) -> dict[str, Path]:
    """The nodes of a pool, each with the field that names or selects it."""
    spec, source = pool.value.spec, pool.source
    nodes = members.unfold(spec.nodes, source, ("spec", "nodes"))
    if spec.selector is not None:
        for name in members.select(spec.selector, facts, source):
            nodes.setdefault(name, ("spec", "selector"))
    elif not nodes:
        members.problems.append(
            Problem(
                source=source,
                way=("spec", "nodes"),
                code=Code.POOL_EMPTY,
                message="the pool has no node",
                severity=Severity.WARNING,
            )
        )
    return nodes


def check_freezes(
    declared: Declarations, members: Members, pool_of: Mapping[str, str]
) -> list[Problem]:
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
            problems.append(
                declared.unknown("Schedule", spec.schedule, source, ("spec", "schedule"))
            )
        if facts:
            members.select(spec.selector, facts, source)
    return problems
