"""Books of the rollouts: wave after wave, a soak between, and nothing more once too many failed."""

from __future__ import annotations

from sim_inventory import Model
from sim_limits import SLEW, seconds
from sim_record import Book, Known, Moment
from sim_room import CallLog

from metalwright.model.rollout import Rollout


class WaveBooks(Book):
    """Judges by what was told to the machines, not by what the rollout says of itself."""

    def __init__(self) -> None:
        self.clock_was_set = False
        self.passed = self.pauses = 0
        self._wave: dict[str, int] = {}
        self._told: dict[tuple[str, str], float] = {}  # when a machine was last told for a rollout
        self._failed: dict[str, dict[str, float]] = {}
        self._paused: set[str] = set()
        self._forgiven: dict[str, dict[str, set[str]]] = {}  # by rollout and what was asked for
        self._began_s = 0.0

    def process_began(self) -> None:
        """Another daemon drives: after a clock was set, its soak times are another matter."""
        self._began_s = self.now_s()

    def created(self, known: Known, moment: Moment) -> None:
        """Whose turn it is not gets no operation, nor anybody after too many failures."""
        rollout = _of(known, moment)
        if rollout is None:
            return
        wave = next((at for at, names in enumerate(rollout.waves) if known.node in names), None)
        if wave is not None and wave > rollout.wave:
            self.broken("waves in order", f"{known.node}: of wave {wave}, it is {rollout.wave}")
        self._gate(rollout, moment.model)
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

    def _gate(self, rollout: Rollout, model: Model) -> None:
        """The first time that a wave has its turn: the one before was told nothing for its soak."""
        if self._wave.get(rollout.id, 0) >= rollout.wave:
            return
        self._wave[rollout.id] = rollout.wave
        strategy = model.get(f"rollout/{rollout.pool}")
        if strategy is None or (self.clock_was_set and self._wave):
            return
        self.passed += 1
        for node in rollout.waves[rollout.wave - 1]:
            told_s = self._told.get((rollout.id, node))
            if told_s is None or node in rollout.failed:
                continue
            if self.now_s() - told_s < seconds(strategy["soak"]) / SLEW - 1.0:
                self.broken("waves in order", f"{node} was told at {told_s:.0f} s: no soak")

    def ended(self, known: Known, event: str, moment: Moment) -> None:
        """Failures are counted here too."""
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
            if rollout.acknowledgement and rollout.acknowledgement not in self._paused:
                self._paused.add(rollout.acknowledgement)
                self.pauses += 1
            if rollout.acknowledgement:
                asked = self._forgiven.setdefault(rollout.id, {})
                names = asked.setdefault(rollout.acknowledgement, set())
                names |= set(rollout.failed) | set(self._failed.get(rollout.id, ()))

    def called(self, known: Known, log: CallLog) -> None:
        """A machine is told something for a rollout."""
        if known.rollout:
            self._told[known.rollout, log.node] = self.now_s()


ACKNOWLEDGED = "policy/acknowledge"


def _of(known: Known, moment: Moment) -> Rollout | None:
    rollouts = moment.plan.rollouts if moment.plan is not None else ()
    return next((one for one in rollouts if known.rollout and one.id == known.rollout), None)
