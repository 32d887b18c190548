"""How the nodes of a rollout are divided: canaries, then waves by count, per cent or a label."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection

from metalwright.model.inventory import Inventory
from metalwright.model.natural import natural
from metalwright.model.tenancy import RolloutStrategy

Waves = tuple[tuple[str, ...], ...]


def divide(
    members: Collection[str],
    strategy: RolloutStrategy,
    inventory: Inventory,
    away: Callable[[str], bool],
    begun: Collection[str] = frozenset(),
) -> Waves:
    """The waves, the canaries first; within each the natural order of names.

    Those that are away come last, so that the first wave has nodes that can go. A wave by label is
    one value of it, an empty one as well; the nodes without that label are the last wave, but for
    waves that are away as a whole. Members that were `begun` already are the first wave, all of
    them, filled up to the number of canaries.
    """
    tried = [name for name in members if name in begun]
    ordered = sorted(set(members).difference(tried), key=lambda name: (away(name), natural(name)))
    lacking = max(0, strategy.canaries - len(tried))
    canaries, rest = sorted([*tried, *ordered[:lacking]], key=natural), ordered[lacking:]
    waves = [canaries] if canaries else []
    if strategy.waves.label is not None:
        by_label = _by_label(rest, strategy.waves.label, inventory)
        waves += sorted(by_label, key=lambda wave: all(map(away, wave)))
    else:
        size = strategy.waves.nodes or math.ceil(len(members) * (strategy.waves.percent or 1) / 100)
        waves += [rest[at : at + size] for at in range(0, len(rest), size)]
    return tuple(tuple(wave) for wave in waves)


def _by_label(names: list[str], label: str, inventory: Inventory) -> list[list[str]]:
    found: dict[str | None, list[str]] = {}
    for name in names:
        value = inventory.nodes[name].metadata.labels.get(label)
        found.setdefault(value, []).append(name)
    last = found.pop(None, None)
    values = sorted((one for one in found if one is not None), key=natural)
    waves = [found[value] for value in values]
    return waves if last is None else [*waves, last]
