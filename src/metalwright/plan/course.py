"""The course of one rollout: from how it was to how it is now.

A wave is passed when all its nodes are done or failed, the soak time has gone by since the last of
them, and those that are done are seen healthy then. Too many failures pause it until a commit says
otherwise. Nothing here starts anything, and nothing is forgotten but nodes that left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from metalwright.model.digest import digest_of
from metalwright.model.fields import format_instant
from metalwright.model.natural import natural
from metalwright.model.noderange import fold
from metalwright.model.rollout import Rollout, RolloutState
from metalwright.model.tenancy import RolloutStrategy
from metalwright.plan.gates import ACKNOWLEDGED_DIGITS, acknowledged
from metalwright.plan.standing import Health, Key, Standing, View
from metalwright.plan.waves import divide

FAILED_NAMED_MAX: Final = 3
"""Failed nodes whose error the reason of a pause tells; all are named."""

_UNFINISHED: Final = frozenset({Standing.UNDER_WAY, Standing.READY, Standing.WAITS})


def acknowledgement_of(rollout: Rollout) -> str:
    """What a commit acknowledges to let this rollout go on: its id, or, once a pause of it was
    ended so, a name of it and of their number. So no acknowledgement holds for a later pause, also
    when what had failed was mended before it was accepted.
    """
    return digest_of([rollout.id, str(rollout.accepted)]) if rollout.accepted else rollout.id


@dataclass(slots=True)
class Course:
    """Takes one rollout as far as it goes at one instant. `due` is when time alone moves it."""

    rollout: Rollout
    strategy: RolloutStrategy
    view: View
    due: datetime | None = None

    @property
    def key(self) -> Key:
        """Pool, holder and target."""
        return self.rollout.pool, self.rollout.holder, self.rollout.target_digest

    @property
    def at(self) -> datetime:
        """The instant of the plan."""
        return self.view.ground.desired.at

    def run(self) -> Rollout:
        """The rollout as it is from now on."""
        self._go_on()
        # Each step passes a wave, or moves nodes that are away to the end of those that are not.
        for _ in range(2 * len(self.rollout.waves) + 2):
            if not self._step():
                break
        return self.rollout

    def _set(self, **fields: object) -> None:
        self.rollout = replace(self.rollout, **fields)  # type: ignore[arg-type]

    def _go_on(self) -> None:
        """Leave a pause that a commit acknowledges; what failed until now is forgiven."""
        rollout = self.rollout
        given = self.view.ground.desired.inventory.rules.acknowledge
        if rollout.state is RolloutState.PAUSED and acknowledged(rollout.acknowledgement, given):
            self._set(
                state=RolloutState.RUNNING,
                forgiven=rollout.failed,
                accepted=rollout.accepted + 1,
                acknowledgement="",
                why="",
            )

    def _step(self) -> bool:
        """Look at the wave whose turn it is; whether to look again."""
        now = {name: self._standing(name) for name in self.rollout.waves[self.rollout.wave]}
        now = {name: standing for name, standing in now.items() if standing is not Standing.GONE}
        self._keep(tuple(now))
        ended_at = self._ended_at(now)
        self._judge(now, ended_at)
        if self.rollout.state is RolloutState.PAUSED:
            return False
        open_ = {n: standing for n, standing in now.items() if n not in self.rollout.failed}
        unfinished = {n: standing for n, standing in open_.items() if standing in _UNFINISHED}
        if unfinished:
            still = all(standing is Standing.WAITS for standing in unfinished.values())
            why = f"waits for {fold(unfinished)}, which may not be started yet" if still else ""
            self._set(soaking_since=None, why=why)
            return False
        away = [name for name, standing in open_.items() if standing is Standing.AWAY]
        if away:
            return self._without(away, len(now) > len(away))
        if not now:
            return self._canaries_anew() if self._lost_canaries() else self._pass()
        assert ended_at is not None
        return self._soaked(ended_at, [n for n in open_ if open_[n] is Standing.DONE])

    def _standing(self, name: str) -> Standing:
        return self.view.standing(name, self.key)

    def _keep(self, names: tuple[str, ...]) -> None:
        """Drop those that left from the wave."""
        waves, at = self.rollout.waves, self.rollout.wave
        if names != waves[at]:
            self._set(waves=(*waves[:at], names, *waves[at + 1 :]))

    def _ended_at(self, now: dict[str, Standing]) -> datetime | None:
        """The end of the last operation of the wave; `None` while one is not at its end."""
        failed = self.rollout.failed
        if any(standing in _UNFINISHED and n not in failed for n, standing in now.items()):
            return None
        return max((self._end_of(name) for name in now), default=None)

    def _end_of(self, name: str) -> datetime:
        """When the node was done, or failed; not before its wave began."""
        remembered = self.view.ground.memory.nodes[name]
        ends = [self.rollout.wave_began_at]
        if remembered.applied is not None:
            ends.append(remembered.applied.at)
        if remembered.failed is not None and remembered.failed.ended_at is not None:
            ends.append(remembered.failed.ended_at)
        return max(ends)

    def _judge(self, now: dict[str, Standing], ended_at: datetime | None) -> None:
        """Count who failed, and pause when those are too many."""
        failed = set(self.rollout.failed)
        for name, standing in now.items():
            if standing is Standing.FAILED:
                failed.add(name)
            elif standing is Standing.DONE:
                health = self.view.health(name)
                if health is Health.HEALTHY:
                    failed.discard(name)  # somebody mended it, and had it tried again
                elif name not in failed and self._given_up(name, health, ended_at):
                    failed.add(name)
        if failed != set(self.rollout.failed):
            # One that was mended and fails again fails anew: nobody has accepted that.
            forgiven = tuple(name for name in self.rollout.forgiven if name in failed)
            self._set(failed=tuple(sorted(failed, key=natural)), forgiven=forgiven)
        counted = [one for one in self.rollout.failed if one not in self.rollout.forgiven]
        if len(counted) <= self.strategy.failures_max or self.rollout.reverts:
            return
        self._set(
            state=RolloutState.PAUSED,
            soaking_since=None,
            acknowledgement=acknowledgement_of(self.rollout),
            why=self._too_many(counted),
        )

    def _given_up(self, name: str, health: Health, ended_at: datetime | None) -> bool:
        """Whether a node that is done was to be seen healthy by now, and is not.

        With `confirm` that is also one that answers and tells nothing of its power, once nothing
        else is waited for. It has `observationTtl` more for that: one such answer is a hiccup.
        """
        confirm, soak = self.strategy.confirm, timedelta(seconds=self.strategy.soak)
        soaked = ended_at + soak if ended_at is not None else None
        by = self._end_of(name) + timedelta(seconds=confirm) if confirm is not None else soaked
        if by is None:
            return False
        if health is Health.UNKNOWN and self.at >= by:
            if confirm is None or soaked is None or not self.view.is_mute(name):
                return False
            ttl_s = self.view.ground.desired.inventory.rules.observation_ttl
            by = max(by, soaked) + timedelta(seconds=ttl_s)
        if self.at < by:
            self._wake(by)
            return False
        seen = self.view.ground.observed.nodes.get(name)
        return seen is not None and seen.at >= by

    def _wake(self, at: datetime) -> None:
        self.due = at if self.due is None else min(self.due, at)

    def _too_many(self, counted: list[str]) -> str:
        told = "; ".join(f"{n}: {self.view.error(n)}" for n in counted[:FAILED_NAMED_MAX])
        more = f"; {len(counted) - FAILED_NAMED_MAX} more" if counted[FAILED_NAMED_MAX:] else ""
        return (
            f"{len(counted)} failed ({fold(counted)}), {self.strategy.failures_max} may"
            f" (failuresMax): {told}{more}"
        )

    def _without(self, away: list[str], others: bool) -> bool:
        """Go on without those that are away: they come last."""
        waves, at = self.rollout.waves, self.rollout.wave
        later = [name for wave in waves[at + 1 :] for name in wave]
        left = (Standing.AWAY, Standing.GONE)
        if not others and all(self._standing(name) in left for name in later):
            later = []
        if not later:
            self._set(soaking_since=None, why=f"waits for {fold(away)}, which cannot be started")
            return False
        if not others and at == 0:
            return self._canaries_anew()
        kept = tuple(name for name in waves[at] if name not in away)
        last = tuple(sorted((*waves[-1], *away), key=natural))
        self._set(waves=(*waves[:at], kept, *waves[at + 1 : -1], last))
        return True

    def _lost_canaries(self) -> bool:
        """Whether the first wave is empty before anything was seen of it: cancelled, taken out of
        git. Nobody has tried the change then, so the next wave is not to be the first that does.
        """
        later = (name for wave in self.rollout.waves[1:] for name in wave)
        return self.rollout.wave == 0 and any(map(self._is_here, later))

    def _is_here(self, name: str) -> bool:
        return self._standing(name) is not Standing.GONE

    def _canaries_anew(self) -> bool:
        """Divide those that are left once more, the canaries from those that can go."""
        waves = divide(
            [name for wave in self.rollout.waves for name in wave if self._is_here(name)],
            self.strategy,
            self.view.ground.desired.inventory,
            lambda name: self._standing(name) is Standing.AWAY,
        )
        self._set(waves=waves)
        return True

    def _soaked(self, ended_at: datetime, done: list[str]) -> bool:
        """Whether the soak time is over and the wave is healthy; then the next one has its turn."""
        until = ended_at + timedelta(seconds=self.strategy.soak)
        if self.at < until:
            self._wake(until)
            said = f"soaks until {format_instant(until.replace(microsecond=0))}"
            self._set(soaking_since=ended_at, why=said)
            return False
        unsure = [name for name in done if self.view.health(name) is not Health.HEALTHY]
        if unsure:
            said = f"soaked; waits to see {fold(unsure)} healthy{self._way_out(unsure)}"
            self._set(soaking_since=ended_at, why=said)
            return False
        return self._pass()

    def _way_out(self, unsure: list[str]) -> str:
        """What a person can do where it is not to be expected that this passes by itself."""
        mute = [name for name in unsure if self.view.is_mute(name)]
        if not mute or self.strategy.confirm is not None:
            return ""
        return (
            f"; {fold(mute)} told nothing of the power: mend that, or commit `confirm` to the"
            " pool's rollout (it counts as failed then) or `lifecycle: broken` to the node"
        )

    def _pass(self) -> bool:
        """The next wave has its turn, or the rollout is at its end."""
        self.due = None
        if self.rollout.wave + 1 < len(self.rollout.waves):
            self._set(wave=self.rollout.wave + 1, wave_began_at=self.at, soaking_since=None, why="")
            return True
        self._set(state=RolloutState.DONE, soaking_since=None, why="")
        return False


def pause_text(rollout: Rollout) -> str:
    """Why a rollout is paused, and the line that lets it go on."""
    short = rollout.acknowledgement[:ACKNOWLEDGED_DIGITS]
    return (
        f"the rollout of {rollout.template} is paused: {rollout.why};"
        f" revert it, or to go on, commit to the Policy: acknowledge: [{short}]"
    )
