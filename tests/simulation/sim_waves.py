"""Books of the rollouts: wave after wave, a soak between, and nothing more once too many failed."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

from sim_limits import SLEW, seconds
from sim_record import Book, Known, Moment
from sim_room import CallLog

from metalwright.model.rollout import Rollout, RolloutState

GATE_SLACK_S = 1.0
"""A machine is told some time after the cycle that meant it."""


class WaveBooks(Book):
    """Judges by what was told to the machines, not by what the rollout says of itself.

    A soak time has to pass on the engine's clock, which goes on across every change of the wall's,
    and by true time too, but for the leap that a new process may make to a clock that was set.
    """

    def __init__(self) -> None:
        self.clock_was_set = False
        self.figures: Counter[str] = Counter()
        self._known: dict[str, tuple[RolloutState, int]] = {}
        self._wave: dict[str, int] = {}
        self._meant: dict[tuple[str, str], datetime] = {}  # when last, on the engine's clock
        self._told: dict[tuple[str, str], float] = {}  # when last, by true time
        self._brought: dict[str, str] = {}  # the target that a node was brought to last
        self._failed: dict[str, dict[str, float]] = {}
        self._forgiven: dict[str, dict[str, set[str]]] = {}  # by rollout and what was asked for
        self._began_s = 0.0

    def line(self, node: str, event: str, detail: str, moment: Moment) -> None:
        """Somebody says what a node is."""
        if event == "adopted":
            self._brought.pop(node, None)

    def process_began(self) -> None:
        """Another daemon drives."""
        self._began_s = self.now_s()

    def created(self, known: Known, moment: Moment) -> None:
        """Whose turn it is not gets no operation, nor anybody after too many failures."""
        rollout = _of(known, moment)
        if rollout is None:
            return
        wave = next((at for at, names in enumerate(rollout.waves) if known.node in names), None)
        if wave is not None and wave > rollout.wave:
            self.broken("waves in order", f"{known.node}: of wave {wave}, it is {rollout.wave}")
        for passed in range(self._wave.get(rollout.id, 0), rollout.wave):
            self._gate(rollout, passed, moment)
        self._wave[rollout.id] = max(rollout.wave, self._wave.get(rollout.id, 0))
        strategy = moment.model.get(f"rollout/{rollout.pool}")
        failed = {
            node for node, at_s in self._failed.get(rollout.id, {}).items() if at_s < moment.began_s
        }
        for token, names in self._forgiven.get(rollout.id, {}).items():
            if any(token.startswith(given) for given in moment.model.get(ACKNOWLEDGED, ())):
                failed -= names
        if strategy is None or rollout.reverts or known.node in self._failed.get(rollout.id, ()):
            return
        most = strategy["failuresMax"]
        if len(failed) > most:
            said = f"{known.node}: after {sorted(failed)} failed, {most} may"
            self.broken("nothing after a pause", said)

    def _gate(self, rollout: Rollout, passed: int, moment: Moment) -> None:
        """A wave is over: its machines are done, and were told nothing for the soak time."""
        strategy = moment.model.get(f"rollout/{rollout.pool}")
        if strategy is None or moment.plan is None:
            return
        self.figures["waves passed"] += 1
        soak_s = seconds(strategy["soak"])
        for node in rollout.waves[passed]:
            if node in rollout.failed:
                continue
            brought = self._brought.get(node, rollout.target_digest)
            if brought != rollout.target_digest:
                said = f"{node}: its wave was passed, and nobody saw it done"
                self.broken("waves in order", said)
            told_s = self._told.get((rollout.id, node))
            leaps = self.clock_was_set and told_s is not None and told_s < self._began_s
            if told_s is not None and not leaps:
                soaked_s = self.now_s() - told_s
                if soaked_s < soak_s / SLEW - GATE_SLACK_S:
                    self.broken("waves in order", f"{node} was told {soaked_s:.0f} s before")
            meant = self._meant.get((rollout.id, node))
            if meant is not None and moment.plan.at < meant + timedelta(seconds=soak_s):
                self.broken(
                    "waves in order", f"{node} was meant at {meant}, it is {moment.plan.at}"
                )

    def intended(self, known: Known, kind: str, moment: Moment) -> None:
        """Something is to be told to a machine: it is not what it was."""
        self._brought[known.node] = ""
        if known.rollout and moment.plan is not None:
            self._meant[known.rollout, known.node] = moment.plan.at

    def called(self, known: Known, log: CallLog) -> None:
        """A machine is told something for a rollout."""
        if known.rollout:
            self._told[known.rollout, log.node] = self.now_s()

    def ended(self, known: Known, event: str, moment: Moment) -> None:
        """Failures are counted here too."""
        if event == "active":
            self._brought[known.node] = known.want.rpartition(" ")[2]
        if not known.rollout:
            return
        failed = self._failed.setdefault(known.rollout, {})
        if event == "failed":
            failed[known.node] = self.now_s()
        elif event == "active":
            failed.pop(known.node, None)
        self.look(moment)

    def look(self, moment: Moment) -> None:
        """What a paused rollout asks for, and for which failures."""
        for rollout in moment.plan.rollouts if moment.plan is not None else ():
            self._count(rollout)
            if rollout.acknowledgement:
                asked = self._forgiven.setdefault(rollout.id, {})
                names = asked.setdefault(rollout.acknowledgement, set())
                names |= set(rollout.failed) | set(self._failed.get(rollout.id, ()))

    def _count(self, rollout: Rollout) -> None:
        """What became of the rollouts, for the figures."""
        state, accepted = self._known.get(rollout.id, (None, 0))
        if (state, accepted) == (rollout.state, rollout.accepted):
            return
        self._known[rollout.id] = rollout.state, rollout.accepted
        self.figures["rollouts begun"] += state is None
        self.figures["rollouts taken back"] += state is None and rollout.reverts
        self.figures["rollouts let go on"] += rollout.accepted > accepted
        if rollout.state is not state and rollout.state is not RolloutState.RUNNING:
            self.figures[f"rollouts {rollout.state}"] += 1


ACKNOWLEDGED = "policy/acknowledge"


def _of(known: Known, moment: Moment) -> Rollout | None:
    rollouts = moment.plan.rollouts if moment.plan is not None else ()
    return next((one for one in rollouts if known.rollout and one.id == known.rollout), None)
