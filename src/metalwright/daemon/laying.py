"""What machines reported, laid over what was observed of them: only what changed since last time.

A fleet of ten thousand machines reports once and is observed for years, so a cycle looks at the
nodes whose observation, report or operation is another one than before. It reads nothing and
writes nothing; that a boot is over it tells by `ended`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import compress
from operator import eq, is_not
from typing import TypeVar

from metalwright.model.boots import Heard
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory
from metalwright.model.observed import Observation, Observed, Reading
from metalwright.model.operation import Memory, NodeMemory, Operation
from metalwright.model.overlay import is_over, overlaid

V = TypeVar("V")


_From = tuple[Reading | None, Heard | None, Operation | None]


class Laying:
    """The overlay of one fleet. For one thread.

    `engines` are the drivers that know what runs by themselves: their nodes stay as they are.
    """

    def __init__(self, engines: Collection[str] = ()) -> None:
        self._engines = frozenset(engines)
        self.forget()

    def forget(self) -> None:
        """Look at every node next time."""
        self._seen: Mapping[str, Observation] = FrozenDict()
        self._memory: Mapping[str, NodeMemory] = FrozenDict()
        self._inventory: Inventory | None = None
        self._laid: dict[str, Observation] = {}
        self._laid_from: dict[str, _From] = {}
        self._nodes: Mapping[str, Observation] = FrozenDict()

    def over(
        self,
        observed: Observed,
        memory: Memory,
        inventory: Inventory,
        heard: Mapping[str, Heard],
        news: Collection[str],
    ) -> tuple[Observed, list[str]]:
        """The observations with what `heard` adds, and the nodes whose boots are over: their
        machines were seen off. `news` are the nodes that were heard since the last call.
        """
        nodes = observed.nodes
        if inventory is not self._inventory:
            names: set[str] = {*nodes, *self._laid}
        else:
            names = {*news, *changed(self._seen, nodes), *changed(self._memory, memory.nodes)}
        ended: list[str] = []
        for name in names:
            node, observation, said = inventory.nodes.get(name), nodes.get(name), heard.get(name)
            if node is None or observation is None or node.spec.driver in self._engines:
                self._drop(name)
                continue
            if said is not None and is_over(observation, said):
                ended.append(name)
                said = replace(said, live=False)
            mine = memory.nodes.get(name)
            self._lay(observation, said, mine.operation if mine is not None else None)
        if names or not self._nodes:
            self._nodes = FrozenDict({**nodes, **self._laid}) if self._laid else nodes
        self._seen, self._memory, self._inventory = nodes, memory.nodes, inventory
        return (observed if self._nodes is nodes else replace(observed, nodes=self._nodes)), ended

    def _lay(
        self, observation: Observation, heard: Heard | None, operation: Operation | None
    ) -> None:
        name, reading = observation.node, observation.reading
        before, now = self._laid_from.get(name), (reading, heard, operation)
        if (
            before is not None
            and before[1] is heard
            and before[2] is operation
            and before[0] == reading
            and not (reading is not None and reading.wakes)  # its report turns too old
        ):  # the same answer to a later question
            self._laid[name] = replace(observation, reading=self._laid[name].reading)
            return
        made = overlaid(observation, heard, operation) if heard or operation else observation
        if made is observation:
            self._drop(name)
        else:
            self._laid[name], self._laid_from[name] = made, now

    def _drop(self, name: str) -> None:
        self._laid.pop(name, None)
        self._laid_from.pop(name, None)


def changed(old: Mapping[str, V], new: Mapping[str, V]) -> Iterable[str]:
    """The keys whose values are not the very same objects, or that only one of the two has."""
    if old is new:
        return ()
    if len(old) == len(new) and all(map(eq, old, new)):
        return compress(new, map(is_not, old.values(), new.values()))
    there = [key for key, value in new.items() if old.get(key) is not value]
    return [*there, *(old.keys() - new.keys())]
