"""Breadth-first exploration of a protocol: every state once, with the shortest way to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol


class Explorable(Protocol):
    """What can be explored: states are hashable, steps have a name and the state after them."""

    first: Any

    def steps(self, state: Any) -> Iterator[Any]:
        """Every step that may come next."""

    def check(self, state: Any) -> None:
        """Raises AssertionError in a state that must not be."""

    def is_goal(self, state: Any) -> bool:
        """Whether nothing more is to be done."""


@dataclass
class Explored:
    """What was found: all of it, or the shortest way to the first thing that is wrong."""

    states: int = 0
    transitions: int = 0
    goals: int = 0
    stuck: int = 0
    broken: str = ""
    trace: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        figures = f"{self.states} states, {self.transitions} transitions, {self.goals} goals"
        return f"{figures}\n{self.broken}\n" + "\n".join(self.trace)


def explore(protocol: Explorable, states_max: int) -> Explored:
    """Visit every state that can be reached; stop at the first that breaks a promise.

    `stuck` counts the states from which no goal can be reached.
    """
    found = Explored()
    number = {protocol.first: 0}
    states = [protocol.first]
    came: list[tuple[int, str]] = [(0, "")]
    before: list[list[int]] = [[]]
    goals: list[int] = []
    ahead = deque([0])
    while ahead:
        here = ahead.popleft()
        state = states[here]
        try:
            protocol.check(state)
            if protocol.is_goal(state):
                goals.append(here)
            for step in protocol.steps(state):
                found.transitions += 1
                there = number.get(step.state)
                if there is None:
                    there = number[step.state] = len(states)
                    states.append(step.state)
                    came.append((here, step.what))
                    before.append([])
                    ahead.append(there)
                    assert len(states) <= states_max, "there is no end to the states"
                before[there].append(here)
        except AssertionError as broken:
            found.broken = str(broken)
            found.trace = _way(came, here)
            break
    found.states, found.goals = len(states), len(goals)
    if not found.broken:
        found.stuck = len(states) - len(_leads_to(before, goals))
    return found


def _way(came: list[tuple[int, str]], here: int) -> list[str]:
    steps: list[str] = []
    while here:
        here, what = came[here]
        steps.append(what)
    return steps[::-1]


def _leads_to(before: list[list[int]], goals: list[int]) -> set[int]:
    reached, ahead = set(goals), deque(goals)
    while ahead:
        for each in before[ahead.popleft()]:
            if each not in reached:
                reached.add(each)
                ahead.append(each)
    return reached
