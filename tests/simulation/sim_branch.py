"""The branch that everybody commits to: what it says, what it said before, and its events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim_git import GitWriter
from sim_inventory import Model, Shape, files_of
from sim_scenario import Event
from sim_time import START, Scheduler


class Branch:
    """`model` is what HEAD says, `models` what every commit said. `moved` is told of each move."""

    def __init__(
        self, directory: Path, shape: Shape, time: Scheduler, moved: Callable[[str, str], None]
    ) -> None:
        self.git = GitWriter(directory)
        self.model: Model = {}
        self.models: dict[str, Model] = {}
        self._states: list[tuple[str, Model]] = []
        self.shape, self._time, self._moved = shape, time, moved

    def commit(self, model: Model, subject: str, parent: str | None) -> None:
        """Let HEAD be a commit that says this."""
        self.model = model
        at_s = int(START.timestamp() + self._time.now_s)
        commit = self.git.commit(files_of(self.shape, model), subject, at_s, parent)
        self._states.append((commit, model))
        self.models[commit] = model
        self.git.move(commit)
        self._moved(commit, subject)

    def edit(self, edit: dict[str, Any], subject: str) -> None:
        """Commit a change of what HEAD says."""
        model = {key: value for key, value in (self.model | edit).items() if value is not None}
        self.commit(model, subject, self.git.head)

    def tidy(self) -> None:
        """When nothing happens any more: no hold, and no template that boots nothing, is left."""
        left = [key for key in self.model if key.startswith(("hold/", "bad/"))]
        if left:
            self.edit(dict.fromkeys(left), "Everything is mended")

    def happen(self, event: Event) -> None:
        """A change of git, as the scenario has it."""
        what = event.what
        if event.kind == "commit":
            self.edit(what["set"], "Turn the fleet over")
        elif event.kind == "revert":
            before = self._states[-2][1] if len(self._states) > 1 else self.model
            self.commit(_mended(before), "Revert", self.git.head)
        elif event.kind == "back":
            self.commit(self._states[0][1], "Revert all of it", self.git.head)
        elif event.kind == "broken":
            self.edit({"broken": True}, "A mistake")
            self._later(what["for_s"], {"broken": None}, "Mend")
        elif event.kind == "huge":
            self.edit(what["set"] | {"huge": 2_000}, "Very much")
        elif event.kind == "bad template":
            name = what["template"]
            edit = {f"bad/{name}": True, f"template/{name}": self.model[f"template/{name}"] + 1}
            self.edit(what["set"] | edit, "A kernel that is not there")
        elif event.kind == "hold in git":
            held = [f"hold/{name}" for name in what["nodes"] if name in self.shape.pool_of]
            self.edit(dict.fromkeys(held, True), "Hold some")
            self._later(what["for_s"], dict.fromkeys(held), "Let them go")
        elif event.kind == "storm":
            for number in range(what["commits"]):
                edit = what["edits"][number % len(what["edits"])]
                after_s = number * what["for_s"] / what["commits"]
                self._later(after_s, edit, "A merge of many")
        else:
            self._rewrite(event.kind, what["drop"])

    def _later(self, after_s: float, edit: dict[str, Any], subject: str) -> None:
        self._time.at(self._time.now_s + after_s, lambda: self.edit(edit, subject))

    def _rewrite(self, kind: str, drop: int) -> None:
        """Throw the last commits away, or write them anew under other names."""
        drop = min(drop, len(self._states) - 1)
        if drop == 0:
            return
        dropped = self._states[-drop:]
        del self._states[-drop:]
        parent, model = self._states[-1]
        if kind == "force push":
            self.commit(_mended(model), "History, as somebody wishes it had been", parent)
            return
        for _commit, model in dropped:
            self.commit(_mended(model), "Rebased", self._states[-1][0])


def _mended(model: Model) -> Model:
    """The model without a mistake that somebody has mended since."""
    return {key: value for key, value in model.items() if key != "broken"}
