"""Slot scopes and their limits: which slots an operation needs, and how many of each there are.

The planner forecasts with these and the ledger holds to them, so both speak of the same scopes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, Protocol
from urllib.parse import urlsplit

from metalwright.model.desired import Target
from metalwright.model.inventory import Inventory
from metalwright.model.operation import Operation, OperationState, Stage, Verb
from metalwright.model.policy import FleetLimits
from metalwright.model.template import ImageSpec

RELEASES: Final = frozenset({Verb.UNDEPLOY, Verb.POWER_OFF})
"""Verbs that give a machine back: slots may be reserved for them."""

RETRY_SHARE: Final = 5
"""Without a limit of its own the lane of the retries has one in so many of the fleet's slots."""

IMAGES_CACHE_MAX: Final = 1_024


class Lane(StrEnum):
    """The scopes within the fleet that keep reservations, and the one that retries queue up in."""

    NOT_RELEASE = "lane/not-release"
    NOT_OPERATOR = "lane/not-operator"
    ORDINARY = "lane/ordinary"
    RETRY = "lane/retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What tells the scopes of one operation. `image_servers` are those that its boot fetches from
    (`host` or `host:port`), sorted.
    """

    node: str
    release: bool
    priority: int
    retry: bool
    image_servers: tuple[str, ...] = ()


class Asking(Protocol):
    """An operation, or an action that is going to be one."""

    @property
    def node(self) -> str:
        """The name of the node."""

    @property
    def verb(self) -> Verb:
        """What is done to it."""

    @property
    def priority(self) -> int:
        """Its own priority, without ageing."""

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages to go through."""

    @property
    def target(self) -> Target:
        """The state to reach."""


def is_retry(operation: Operation) -> bool:
    """Whether its present attempt, or the one that it waits for, is not its first."""
    first = 0 if operation.state is OperationState.PENDING else 1
    return operation.attempt > first


def demand_of(asking: Asking, *, retry: bool = False) -> Demand:
    """The demand of an operation or action; `retry` when an attempt of it has failed already."""
    template = asking.target.template
    fetches = Stage.BOOT in asking.stages and template is not None and template.image is not None
    return Demand(
        node=asking.node,
        release=asking.verb in RELEASES,
        priority=asking.priority,
        retry=retry,
        image_servers=_servers(template.image) if fetches and template and template.image else (),
    )


@lru_cache(maxsize=IMAGES_CACHE_MAX)
def _servers(image: ImageSpec) -> tuple[str, ...]:
    artifacts = (image.kernel, image.initrd, image.rootfs, image.disk)
    found = {server_of(each.url) for each in artifacts if each is not None}
    return tuple(sorted(one for one in found if one is not None))


def server_of(url: str) -> str | None:
    """The image server of a URL, `host` or `host:port`, without what it is asked with: two ways to
    log in are one server, and no secret is part of a scope. None for a file.
    """
    return urlsplit(url).netloc.rpartition("@")[2].lower() or None


def retry_slots(limits: FleetLimits) -> int:
    """How many operations may be tried once more at a time."""
    if limits.retries is not None:
        return limits.retries
    return max(1, limits.fleet // RETRY_SHARE)


def scopes_of(inventory: Inventory, demand: Demand) -> tuple[str, ...]:
    """The scopes in which an operation takes one slot each, in a fixed order; only limited ones.

    `fleet` always; `lane/...` where slots are reserved, and for a retry; `pool/NAME` where the pool
    has a limit; `label/KEY=VALUE` for each limited label that the node carries; `driver/NAME`,
    `conductor/GROUP` and `image/HOST` where these are limited.
    """
    limits, node = inventory.rules.limits, demand.node
    scopes = ["fleet", *_lanes(limits, demand)]
    pool = inventory.pool_of.get(node)
    if pool is not None and inventory.pools[pool].spec.limits.in_flight is not None:
        scopes.append(f"pool/{pool}")
    document = inventory.nodes[node]
    labels, spec = document.metadata.labels, document.spec
    scopes += [f"label/{key}={labels[key]}" for key in sorted(limits.labels) if key in labels]
    if spec.driver in limits.drivers:
        scopes.append(f"driver/{spec.driver}")
    if spec.conductor_group is not None and spec.conductor_group in limits.conductor_groups:
        scopes.append(f"conductor/{spec.conductor_group}")
    scopes += [f"image/{host}" for host in demand.image_servers if host in limits.image_servers]
    return tuple(scopes)


def _lanes(limits: FleetLimits, demand: Demand) -> Iterable[str]:
    reserved = limits.reserved
    operators = demand.priority >= reserved.operator_priority
    if reserved.releases and not demand.release:
        yield Lane.NOT_RELEASE.value
    if reserved.operators and not operators:
        yield Lane.NOT_OPERATOR.value
    if (reserved.releases or reserved.operators) and not demand.release and not operators:
        yield Lane.ORDINARY.value
    if demand.retry:
        yield Lane.RETRY.value


def limit_of(inventory: Inventory, scope: str) -> int:
    """How many slots a scope of `scopes_of` has. Raises KeyError where it is not limited."""
    limits = inventory.rules.limits
    kind, _, rest = scope.partition("/")
    match kind:
        case "fleet":
            return limits.fleet
        case "lane":
            return _lane_slots(limits, Lane(scope))
        case "pool":
            limit = inventory.pools[rest].spec.limits.in_flight
            if limit is None:
                raise KeyError(scope)
            return limit
        case "label":
            return limits.labels[rest.partition("=")[0]]
        case "driver":
            return limits.drivers[rest]
        case "conductor":
            return limits.conductor_groups[rest]
        case "image":
            return limits.image_servers[rest]
    raise KeyError(scope)


def _lane_slots(limits: FleetLimits, lane: Lane) -> int:
    reserved = limits.reserved
    match lane:
        case Lane.NOT_RELEASE:
            return limits.fleet - reserved.releases
        case Lane.NOT_OPERATOR:
            return limits.fleet - reserved.operators
        case Lane.ORDINARY:
            return limits.fleet - reserved.releases - reserved.operators
    return retry_slots(limits)


def fits(scopes: Iterable[str], limits: Mapping[str, int], held: Mapping[str, int]) -> bool:
    """Whether one more operation with these scopes stays within every limit."""
    return all(held.get(scope, 0) < limits[scope] for scope in scopes)
