"""Slot scopes and their limits: which slots a node needs, and how many of each there are.

The planner forecasts with these and the ledger holds to them, so both speak of the same scopes.
"""

from __future__ import annotations

from collections.abc import Mapping

from metalwright.model.inventory import Inventory


def scopes_of(inventory: Inventory, node: str) -> tuple[str, ...]:
    """The scopes in which an operation on `node` takes one slot each, in a fixed order.

    Only limited scopes: `fleet` always, `pool/NAME` where the pool has a limit, `label/KEY=VALUE`
    for each limited label that the node carries.
    """
    rules = inventory.rules
    scopes = ["fleet"]
    pool = inventory.pool_of.get(node)
    if pool is not None and inventory.pools[pool].spec.limits.in_flight is not None:
        scopes.append(f"pool/{pool}")
    labels = inventory.nodes[node].metadata.labels
    scopes += [f"label/{key}={labels[key]}" for key in sorted(rules.limits.labels) if key in labels]
    return tuple(scopes)


def limit_of(inventory: Inventory, scope: str) -> int:
    """How many slots a scope of `scopes_of` has. Raises KeyError where it is not limited."""
    kind, _, rest = scope.partition("/")
    if kind == "fleet":
        return inventory.rules.limits.fleet
    if kind == "pool":
        limit = inventory.pools[rest].spec.limits.in_flight
        if limit is None:
            raise KeyError(scope)
        return limit
    return inventory.rules.limits.labels[rest.partition("=")[0]]


def fits(scopes: tuple[str, ...], limits: Mapping[str, int], held: Mapping[str, int]) -> bool:
    """Whether one more operation with these scopes stays within every limit."""
    return all(held.get(scope, 0) < limits[scope] for scope in scopes)
