"""Bugs of the kind that this product must not have, each a small change of one file.

A change is exact text and its replacement, applied to a copy; `caught_by` is what has to fail then.
A promise that is not in this table has not been shown to be tested.
"""

from __future__ import annotations

from dataclasses import dataclass

EXECUTE = "tests/execute/"
MODELS = "tests/models/"
PLAN = "tests/plan/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug: what it is, where, and the selection of tests that has to fail with it."""

    bug: str
    file: str
    before: str
    after: str
    caught_by: str

    @property
    def key(self) -> str:
        """A name for the command line."""
        return "-".join(self.bug.lower().replace(",", "").split())


LEDGER = (
    Mutant(
        bug="the fence of a write is not compared",
        file="store/ledger.py",
        before="return entry is not None and entry.fence == fence and state in (None, entry.state)",
        after="return entry is not None and state in (None, entry.state)",
        caught_by="tests/store/test_store.py::test_a_result_with_an_older_fence_is_refused",
    ),
    Mutant(
        bug="a store that was superseded goes on writing",
        file="store/pages.py",
        before="if claim is not None and claim != (row.epoch, row.claimed_at):",
        after="if claim is not None and claim[0] > row.epoch:",
        caught_by="tests/store/test_fencing.py::test_a_store_that_was_superseded_writes_nothing",
    ),
    Mutant(
        bug="a store that never claimed writes steps",
        file="store/pages.py",
        before="if self._claimed and not self._drives:",
        after="if self._claimed and self._drives is None:",
        caught_by="tests/store/test_fencing.py::test_a_store_that_never_claimed_writes_no_steps_where_somebody_drives",
    ),
    Mutant(
        bug="a scope has one slot too many",
        file="store/ledger.py",
        before="if any(standing.count(scope) >= limit for scope, limit in limits.items()):",
        after="if any(standing.count(scope) > limit for scope, limit in limits.items()):",
        caught_by="tests/store/test_store.py::test_admission_takes_a_slot_in_every_scope_or_in_none",
    ),
    Mutant(
        bug="only the fleet's limit is compared in the transaction",
        file="store/ledger.py",
        before="for scope, limit in limits.items()):\n            return False",
        after="for scope, limit in limits.items() if scope == 'fleet'):\n            return False",
        caught_by="tests/store/test_store.py::test_admission_takes_a_slot_in_every_scope_or_in_none",
    ),
    Mutant(
        bug="a slot is kept after the end",
        file="store/ledger.py",
        before="        self.release_slots(operation)\n        self._remember_end",
        after="        self._remember_end",
        caught_by="tests/store/test_store.py::test_an_active_end_is_remembered_and_gives_the_slots_back",
    ),
    Mutant(
        bug="a failed attempt keeps its slots",
        file="store/ledger.py",
        before='        self.release_slots(operation)\n        self.note(operation, "retry"',
        after='        self.note(operation, "retry"',
        caught_by="tests/models/test_ledger_model.py",
    ),
    Mutant(
        bug="a slot is free although its number is still taken",
        file="store/standing.py",
        before="        self._next = number + 1\n",
        after="        self._next = number\n",
        caught_by="tests/models/test_ledger_model.py",
    ),
    Mutant(
        bug="one scope is forgotten on release",
        file="store/standing.py",
        before="        freed = self.held.pop(operation_id, [])\n",
        after="        freed = self.held.pop(operation_id, [])[:1]\n",
        caught_by="tests/models/test_ledger_model.py",
    ),
    Mutant(
        bug="what another process wrote is not read again",
        file="store/pages.py",
        before="if standing is not None and standing.generation != row.generation:",
        after="if standing is None:",
        caught_by="tests/models/test_ledger_model.py",
    ),
    Mutant(
        bug="a node may have two unfinished operations",
        file="store/ledger.py",
        before="free = self.known(operation.node for operation in wanted) - standing.busy",
        after="free = self.known(operation.node for operation in wanted)",
        caught_by="tests/store/test_store.py::test_no_operation_for_a_node_that_is_not_adopted_or_is_busy",
    ),
    Mutant(
        bug="a held node is admitted",
        file="store/ledger.py",
        before="if operation.id in standing.cancelled or operation.node in standing.braked:",
        after="if operation.id in standing.cancelled:",
        caught_by="tests/store/test_brakes.py::test_nothing_begins_on_a_held_node_and_what_runs_goes_on",
    ),
    Mutant(
        bug="an operation that is to be cancelled is admitted",
        file="store/ledger.py",
        before="if operation.id in standing.cancelled or operation.node in standing.braked:",
        after="if operation.node in standing.braked:",
        caught_by="tests/store/test_brakes.py",
    ),
    Mutant(
        bug="a node in the middle of an operation counts as known",
        file="store/ledger.py",
        before='self.update_node(operation.node, {"in_doubt": 1})',
        after='self.update_node(operation.node, {"in_doubt": 0})',
        caught_by="tests/store/test_store.py::test_what_the_machine_carries_is_unknown_while_it_is_changed",
    ),
)

STEPS = (
    Mutant(
        bug="an effect is repeated without a read-back",
        file="execute/advance.py",
        before="    if in_doubt(operation) and ours is not None:\n"
        "        resolved = _read_back(operation, ours)",
        after="    if in_doubt(operation) and ours is not None and operation.effects < 0:\n"
        "        resolved = _read_back(operation, ours)",
        caught_by=EXECUTE + "test_advance.py",
    ),
    Mutant(
        bug="one that may be coming on is let go",
        file="execute/situation.py",
        before="    if not told_on or seen.power is not Power.OFF:\n",
        after="    if not told_on or touch is not None:\n",
        caught_by=EXECUTE + "test_advance.py",
    ),
    Mutant(
        bug="an answer from before the effect counts as younger",
        file="execute/situation.py",
        before="return observation.reading if touch is None or observation.at > touch else None",
        after="return observation.reading",
        caught_by=MODELS
        + "test_operation_model.py::test_no_decision_from_any_state_breaks_a_promise",
    ),
    Mutant(
        bug="the age of an observation does not matter",
        file="execute/situation.py",
        before="if observation.age_s(situation.now) > situation.observation_ttl_s:",
        after="if observation.age_s(situation.now) > 1_000 * situation.observation_ttl_s:",
        caught_by=MODELS
        + "test_operation_model.py::test_no_decision_from_any_state_breaks_a_promise",
    ),
    Mutant(
        bug="an observation from the future is a fresh one",
        file="model/observed.py",
        before="return abs((now - self.at).total_seconds())",
        after="return max(0.0, (now - self.at).total_seconds())",
        caught_by=EXECUTE + "test_advance.py",
    ),
    Mutant(
        bug="unknown power counts as an answer",
        file="execute/situation.py",
        before="    if observation.power is Power.UNKNOWN"
        " and not wakes(operation, observation.reading):\n        return None\n",
        after="",
        caught_by=MODELS
        + "test_operation_model.py::test_no_decision_from_any_state_breaks_a_promise",
    ),
    Mutant(
        bug="no identity is asked for before an effect",
        file="execute/advance.py",
        before="    if check.match is not Match.SAME:",
        after="    if check.match is None:",
        caught_by=EXECUTE + "test_advance.py",
    ),
    Mutant(
        bug="a machine that does not say who it is may be wiped",
        file="execute/stages.py",
        before="    if check.match is Match.UNKNOWN and not destroys:",
        after="    if check.match is Match.UNKNOWN:",
        caught_by=EXECUTE + "test_engine.py::test_a_machine_of_unknown_identity_is_not_wiped",
    ),
    Mutant(
        bug="what another machine shows ends a stage",
        file="execute/stages.py",
        before="return node is None or compare_identity(node.spec, reading.identity).match "
        "is not Match.OTHER",
        after="return True",
        caught_by=EXECUTE + "test_advance.py",
    ),
    Mutant(
        bug="a wipe is superseded in the middle",
        file="model/operation.py",
        before="Stage.WIPE: Interrupt.IRREVERSIBLE",
        after="Stage.WIPE: Interrupt.CANCELLABLE",
        caught_by=MODELS + "test_lifecycle.py " + EXECUTE + "test_engine.py",
    ),
    Mutant(
        bug="the evidence of another operation's wipe is accepted",
        file="execute/stages.py",
        before="return reading.power is Power.OFF and reading.last_wipe == operation.id",
        after="return reading.power is Power.OFF and reading.last_wipe is not None",
        caught_by=EXECUTE + "test_advance.py",
    ),
    Mutant(
        bug="a deadline never fails an attempt",
        file="execute/situation.py",
        before="return until is not None and situation.now >= until",
        after="return False",
        caught_by=EXECUTE
        + "test_engine.py::test_a_boot_that_never_happens_fails_after_its_attempts",
    ),
    Mutant(
        bug="any trouble with asking a system to shut down cuts its power",
        file="execute/life.py",
        before="    if soft and isinstance(error, NotSupportedError):",
        after="    if soft:",
        caught_by=EXECUTE + "test_advance.py::test_what_an_answer_makes_of_an_operation",
    ),
    Mutant(
        bug="a system that was never asked to shut down is switched off",
        file="execute/advance.py",
        before='return _failed(operation, situation, f"{operation.last_error} (for {wait_s} s)")',
        after="return _force_off(operation, situation)",
        caught_by=EXECUTE + "test_hardware_engine.py",
    ),
    Mutant(
        bug="a node that git took away gives its slots back at once",
        file="execute/situation.py",
        before="return not situation.asked and out_of_time(operation, situation)",
        after="return not situation.asked",
        caught_by=EXECUTE
        + "test_engine.py::test_a_boot_of_a_node_that_vanishes_keeps_its_slots"
        + "_while_the_machine_may_be_coming_on",
    ),
    Mutant(
        bug="an answer counts again after a commit that was not confirmed",
        file="execute/cycle.py",
        before="if operation.intent_at != outcome.intent_at or operation.acknowledged_at",
        after="if operation.intent_at is None and outcome.intent_at",
        caught_by=EXECUTE
        + "test_engine.py::test_an_answer_counts_once_also_where_the_commit_was_not_confirmed",
    ),
    Mutant(
        bug="what one BMC was told is finished by another",
        file="execute/steps.py",
        before='moved = node is not None and operation.bmc not in ("", place_of(node.spec))',
        after="moved = False",
        caught_by=EXECUTE
        + "test_engine.py::test_what_one_bmc_was_told_is_never_finished_by_the_answer_of_another",
    ),
    Mutant(
        bug="a quick wipe bounds a thorough one",
        file="model/operation.py",
        before='return f"{key}/{template.wipe.value}" if template',
        after="return key if template",
        caught_by=EXECUTE + "test_deadlines.py",
    ),
    Mutant(
        bug="an attempt ends before the node was asked again",
        file="execute/changes.py",
        before="        if not failure.probed:\n",
        after="        if failure is None:\n",
        caught_by=EXECUTE
        + "test_engine.py::test_a_dead_bmc_gives_its_slot_back_only_after_it_was_asked_again",
    ),
    Mutant(
        bug="the tries of one effect have no bound",
        file="execute/advance.py",
        before="    if tries >= situation.tries_max:",
        after="    if tries < 0:",
        caught_by=EXECUTE + "test_engine.py::test_tries_of_one_effect_are_bounded",
    ),
    Mutant(
        bug="a retry keeps the fence",
        file="execute/life.py",
        before="        fence=operation.fence + 1,\n        not_before=not_before,",
        after="        fence=operation.fence,\n        not_before=not_before,",
        caught_by=EXECUTE + "test_advance.py",
    ),
    Mutant(
        bug="pauses have no jitter",
        file="execute/life.py",
        before="return uniform(low, max(low, high))",
        after="return max(low, high)",
        caught_by=EXECUTE + "test_advance.py",
    ),
    Mutant(
        bug="there is no pause between two attempts",
        file="execute/changes.py",
        before="not_before = self._now + timedelta(seconds=pause_s)",
        after="not_before = self._now + timedelta(seconds=0 * pause_s)",
        caught_by=EXECUTE,
    ),
    Mutant(
        bug="the driver is called before the intent is durable",
        file="execute/steps.py",
        before='            self._changes.tally.say(f"{operation.node}: {effect.kind}")\n',
        after='            self._changes.tally.say(f"{operation.node}: {effect.kind}")\n'
        "            self._around.effects.start(self.tasks.pop(operation.node))\n",
        caught_by=EXECUTE
        + "test_engine.py::test_every_intent_is_durable_before_the_driver_is_called",
    ),
    Mutant(
        bug="an intent is not journalled",
        file="execute/steps.py",
        before='        if self._changes.save(operation, "intent", self._words(operation) if first '
        'else ""):',
        after="        if first is not None:",
        caught_by=EXECUTE + "test_engine.py",
    ),
    Mutant(
        bug="an effect that came back wakes nobody",
        file="execute/effects.py",
        before="        self._wake()\n",
        after="",
        caught_by=EXECUTE + "test_engine.py",
    ),
    Mutant(
        bug="an effect is sent by a process that lost the fleet",
        file="execute/effects.py",
        before="            sent = self._still_ours()\n",
        after="            sent = True\n",
        caught_by=EXECUTE + "test_fencing.py",
    ),
    Mutant(
        bug="a node that left git is touched on",
        file="execute/steps.py",
        before="return node if node is not None and node.spec.lifecycle is Lifecycle.MANAGED "
        "else None",
        after="return node",
        caught_by=EXECUTE + "test_engine.py",
    ),
)

ADMISSION = (
    Mutant(
        bug="waiting raises no priority",
        file="model/waiting.py",
        before="return min(PRIORITY_MAX, waiting.priority + ageing.step * intervals)",
        after="return min(PRIORITY_MAX, waiting.priority + 0 * intervals)",
        caught_by="tests/model/test_admission.py",
    ),
    Mutant(
        bug="the weight of a pool does not count",
        file="model/granting.py",
        before="return (held + 1) / self._room.weights.get(pool, 1)",
        after="return held + 1.0",
        caught_by="tests/model/test_admission.py",
    ),
    Mutant(
        bug="an overdue one claims nothing",
        file="model/granting.py",
        before="            self._take(narrow[:full])\n",
        after="            return True\n",
        caught_by="tests/model/test_admission.py",
    ),
    Mutant(
        bug="retries stand before first attempts",
        file="model/granting.py",
        before="return -turn[0], stream.retry, self._load(stream.pool), turn[1]",
        after="return -turn[0], not stream.retry, self._load(stream.pool), turn[1]",
        caught_by="tests/model/test_admission.py",
    ),
    Mutant(
        bug="a retry needs no slot in its lane",
        file="model/limits.py",
        before="    if demand.retry:\n        yield Lane.RETRY.value\n",
        after="",
        caught_by="tests/model/test_limits.py",
    ),
    Mutant(
        bug="slots that are reserved for releases are not",
        file="model/limits.py",
        before="    if reserved.releases and not demand.release:",
        after="    if reserved.releases and demand.release:",
        caught_by="tests/model/test_limits.py",
    ),
    Mutant(
        bug="a label is one scope whatever its value",
        file="model/limits.py",
        before='scopes += [f"label/{key}={labels[key]}" for key in',
        after='scopes += [f"label/{key}=" for key in',
        caught_by="tests/model/test_limits.py",
    ),
    Mutant(
        bug="a scope that was limited later does not count what runs",
        file="execute/operations.py",
        before="        if lacking:\n",
        after="        if not lacking:\n",
        caught_by=EXECUTE + "test_engine.py",
    ),
    Mutant(
        bug="a slot that is freed is used a cycle later",
        file="execute/granting.py",
        before="again = taken > 0 and operations.released > released",
        after="again = taken < 0 and operations.released > released",
        caught_by=EXECUTE + "test_brakes.py",
    ),
    Mutant(
        bug="the tokens of a start rate are full again after a restart",
        file="execute/changes.py",
        before="        if starts:\n            self._journal.take_starts(starts)\n",
        after="",
        caught_by=EXECUTE + "test_starts.py",
    ),
    Mutant(
        bug="a bucket from before the clock was set back blocks",
        file="execute/rates.py",
        before="        if full_at > now + rate.span:\n",
        after="        if full_at is None:\n",
        caught_by=EXECUTE + "test_rates.py",
    ),
    Mutant(
        bug="a power-on takes no token",
        file="execute/steps.py",
        before="            if effect.kind in _powers_on(provisioner):\n                "
        "self.starts.take(node)\n",
        after="",
        caught_by=EXECUTE + "test_starts.py",
    ),
    Mutant(
        bug="the steady clock follows a jump at once",
        file="daemon/clock.py",
        before="reach = elapsed * self._slew",
        after="reach = abs(apart)",
        caught_by="tests/daemon/test_clock.py",
    ),
)

PLANS = (
    Mutant(
        bug="the blast radius counts only what could start now",
        file="plan/radius.py",
        before="    for line in lines.blocked:\n        if line.verb in POWERS_OFF and",
        after="    for line in lines.blocked:\n        if line.verb is None and",
        caught_by=PLAN + "test_radius.py " + PLAN + "test_gates.py",
    ),
    Mutant(
        bug="a consent holds for every state of its node",
        file="plan/consents.py",
        before="[wanted.target.digest, holder_key(wanted.holder), since.isoformat()]",
        after='["", "", since.isoformat()]',
        caught_by=PLAN + "test_radius.py",
    ),
    Mutant(
        bug="without a readable parent a commit widens the radius for itself",
        file="daemon/former.py",
        before="        return before.former if before.revision == revision else before.radius\n",
        after="        return None\n",
        caught_by="tests/daemon/test_reconcile.py::test_where_the_parent_cannot_be_read_the_radius_that_was_in_force_counts",
    ),
    Mutant(
        bug="an acknowledgement passes the same set whenever it comes back",
        file="plan/consents.py",
        before="            rows[verb] = [node, verb.value, *state, *_loss(",
        after="            rows[verb] = [node, verb.value, *state[:2], *_loss(",
        caught_by=PLAN + "test_radius.py",
    ),
    Mutant(
        bug="what was acknowledged without a wipe passes with one",
        file="plan/consents.py",
        before="digest_of([*goal, *_loss(node, verb, ground)])",
        after="digest_of(goal)",
        caught_by=PLAN + "test_radius.py",
    ),
    Mutant(
        bug="a consent outlives what git wanted of a silent node",
        file="plan/consents.py",
        before="            (over if same else spent).append(key)\n",
        after="            (spent if same else over).append(key)\n",
        caught_by=PLAN + "test_radius.py",
    ),
    Mutant(
        bug="consents that lapsed stay in the store",
        file="execute/changes.py",
        before="            self._journal.lapse(gone)\n",
        after="            self._journal.lapse(())\n",
        caught_by=EXECUTE + "test_brakes.py",
    ),
    Mutant(
        bug="a failure domain has no blast radius",
        file="plan/scale.py",
        before="            if key in labels:\n",
        after="            if key not in labels:\n",
        caught_by=PLAN + "test_radius.py",
    ),
    Mutant(
        bug="corrections of drift are not counted together",
        file="plan/radius.py",
        before="    now = counted + scale.count(names) + scale.count(lately)\n",
        after="    now = counted + scale.count(names)\n",
        caught_by=PLAN + "test_radius.py",
    ),
    Mutant(
        bug="drift is corrected again and again",
        file="plan/blockers.py",
        before="applied.corrections < CORRECTIONS_MAX",
        after="applied.corrections < 1_000 * CORRECTIONS_MAX",
        caught_by=PLAN + "test_make.py tests/daemon/test_reconcile.py",
    ),
    Mutant(
        bug="the failures of a canary do not count",
        file="plan/course.py",
        before="        if len(counted) <= self.strategy.failures_max or self.rollout.reverts:",
        after="        if counted is not None:",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="the soak time is skipped",
        file="plan/course.py",
        before="until = ended_at + timedelta(seconds=self.strategy.soak)",
        after="until = ended_at + timedelta(seconds=0 * self.strategy.soak)",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="a wave is passed although it is not seen healthy",
        file="plan/course.py",
        before="        if unsure:\n",
        after="        if unsure is None:\n",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="an observation from before the operation is its health",
        file="plan/standing.py",
        before="(applied is not None and seen.at < applied.at)",
        after="(applied is not None and seen.at is None)",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="nodes with an empty label are in no wave",
        file="plan/waves.py",
        before="(one for one in found if one is not None)",
        after="(one for one in found if one)",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="who came back to the assignment counts as done",
        file="plan/standing.py",
        before="return Standing.DONE if self._has(remembered, wanted) else Standing.GONE",
        after="return Standing.DONE if remembered.applied is not None else Standing.GONE",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="a node that tells nothing of its power is waited for for ever",
        file="plan/course.py",
        before="if confirm is None or soaked is None or not self.view.is_mute(name):",
        after="if confirm is None or soaked is None or self.view.is_mute(name):",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="a node that was forgiven once is forgiven for good",
        file="plan/course.py",
        before="for name in self.rollout.forgiven if name in failed)",
        after="for name in self.rollout.forgiven if name)",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="a plan as JSON tells the texts of a template",
        file="plan/encode.py",
        before="    if key in _TEXTS:\n",
        after="    if key in _COUNTS:\n",
        caught_by=PLAN + "test_encode.py",
    ),
    Mutant(
        bug="an unexpected exception of a cycle ends the daemon",
        file="daemon/service.py",
        before="        except Exception as error:  # noqa: BLE001  no odd value may end",
        after="        except FORESEEN as error:  # no odd value may end",
        caught_by="tests/daemon/test_service.py",
    ),
    Mutant(
        bug="all nodes are canaries",
        file="plan/waves.py",
        before="    lacking = max(0, strategy.canaries - len(tried))\n",
        after="    lacking = len(ordered)\n",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="what was queued before the strategy came is beside the waves",
        file="plan/rollout.py",
        before="        if rollout is None and line.node in staged:\n",
        after="        if rollout is None and line.node not in staged:\n",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="what runs when the strategy comes is in no wave",
        file="plan/waves.py",
        before="    tried = [name for name in members if name in begun]\n",
        after="    tried = [name for name in members if name not in members]\n",
        caught_by=PLAN + "test_rollout.py",
    ),
    Mutant(
        bug="the end of a hold of git takes the operator's along",
        file="plan/holds.py",
        before="    return wanted.hold.until is None",
        after="    return True",
        caught_by=PLAN + "test_holds.py",
    ),
    Mutant(
        bug="a plan on a stale observation is made",
        file="plan/blockers.py",
        before="    _not_observed,\n    _stale,\n    _stranger,\n    _anonymous,",
        after="    _not_observed,\n    _stranger,\n    _anonymous,",
        caught_by=PLAN + "test_make.py",
    ),
    Mutant(
        bug="data is lost without consent",
        file="plan/blockers.py",
        before="    if not found.destroys_data or found.consented:\n",
        after="    if not found.destroys_data or found.verb:\n",
        caught_by=PLAN + "test_make.py",
    ),
    Mutant(
        bug="a quarantined node is planned for",
        file="plan/holds.py",
        before="    if quarantine is not None:\n",
        after="    if quarantine is not None and wanted.hold is not None:\n",
        caught_by=PLAN + "test_holds.py",
    ),
    Mutant(
        bug="a rewritten history goes on",
        file="plan/gates.py",
        before="BlockedReason.HISTORY_REWRITTEN, lambda _: text, kept)",
        after="BlockedReason.HISTORY_REWRITTEN, lambda _: None, kept)",
        caught_by=PLAN + "test_gates.py",
    ),
    Mutant(
        bug="check does not count the blast radius again",
        file="plan/check.py",
        before="    history,\n    blast_radius,\n",
        after="    history,\n",
        caught_by=PLAN + "test_check.py " + PLAN + "test_radius.py",
    ),
    Mutant(
        bug="check does not look at rollouts",
        file="plan/check.py",
        before="    blast_radius,\n    rollouts,\n",
        after="    blast_radius,\n",
        caught_by=PLAN + "test_check_rollouts.py",
    ),
    Mutant(
        bug="check does not ask whether every node is told of",
        file="plan/check.py",
        before="    rollouts,\n    completeness,\n",
        after="    rollouts,\n",
        caught_by=PLAN + "test_check.py",
    ),
)

RECOVERY = (
    Mutant(
        bug="a slot is given back by time",
        file="store/ledger.py",
        before="        if any(standing.count(scope) >= limit for",
        after="        from datetime import timedelta\n"
        "        from sqlalchemy import select\n"
        "        from metalwright.store.schema import slots\n"
        "        old = slots.c.granted_at < at - timedelta(hours=1)\n"
        "        for holder in set(self.run(select(slots.c.operation_id).where(old)).scalars()):\n"
        "            self._freed.update(standing.release(holder))\n"
        "        if any(standing.count(scope) >= limit for",
        caught_by="tests/store/test_store.py::test_time_alone_gives_no_slot_back",
    ),
    Mutant(
        bug="the first effect is asked for before the slot is taken",
        file="execute/granting.py",
        before="        if not self._changes.admit(begun, limits):\n"
        '            return "a slot"\n'
        '        self._steps.step(begun, "")\n',
        after='        self._steps.step(begun, "")\n'
        "        if not self._changes.admit(begun, limits):\n"
        '            return "a slot"\n',
        caught_by=EXECUTE + "test_engine.py",
    ),
    Mutant(
        bug="an empty store adopts every node",
        file="plan/decide.py",
        before="    if remembered is None:\n        return Found(line=not_adopted(name))\n",
        after="    if remembered is None:\n"
        "        from metalwright.model.operation import NodeMemory\n\n"
        '        remembered = NodeMemory(node=name, adopted_at=desired.at, adopted_by="")\n',
        caught_by=PLAN + "test_make.py::test_an_empty_memory_starts_nothing_at_all",
    ),
    Mutant(
        bug="a BMC that does not answer counts as power off",
        file="model/observed.py",
        before="return self.reading.power if self.reading is not None else Power.UNKNOWN",
        after="return self.reading.power if self.reading is not None else Power.OFF",
        caught_by=PLAN + "test_make.py",
    ),
    Mutant(
        bug="a broken commit drops the last good revision",
        file="daemon/following.py",
        before="        if self.inventory is None and not self.unsure:\n",
        after="        if self._refused:\n            self.inventory = None\n        if False:\n",
        caught_by="tests/daemon/test_reconcile.py::test_with_a_broken_head_the_last_commit_that_was_carried_out_stays_in_force",
    ),
    Mutant(
        bug="a good commit below a broken one is not looked at",
        file="daemon/following.py",
        before="        if found.inventory is not None:\n",
        after="        if found.inventory is None:\n",
        caught_by="tests/daemon/test_following.py",
    ),
    Mutant(
        bug="a node is brought back to an older commit than it is recorded at",
        file="plan/gates.py",
        before="    if later:\n",
        after="    if not later:\n",
        caught_by=PLAN + "test_gates.py",
    ),
    Mutant(
        bug="the daemon does not ask whether history was rewritten",
        file="daemon/reconcile.py",
        before="            and not self.fleet.repository.is_ancestor(last, head)\n",
        after="            and self.fleet.repository.is_ancestor(head, head) is None\n",
        caught_by="tests/daemon/test_reconcile.py::test_a_history_without_what_was_carried_out_starts_nothing",
    ),
)

RESTORED = (
    Mutant(
        bug="an answer to an attempt that is over counts for the next one",
        file="execute/cycle.py",
        before="                or operation.fence != outcome.fence\n",
        after="",
        caught_by=EXECUTE
        + "test_fencing.py::test_an_answer_to_an_attempt_that_is_over_says_nothing_of_the_next_one",
    ),
    Mutant(
        bug="an old copy of the store is driven on",
        file="daemon/takeover.py",
        before="    older = marks.older(store.reached())\n",
        after='    older = ""\n',
        caught_by="tests/daemon/test_takeover.py::test_an_old_copy_of_the_store_starts_nothing",
    ),
    Mutant(
        bug="a store of another name is taken for the one that was driven",
        file="store/marks.py",
        before='return "another store was driven at its address" if self.path in kept else ""',
        after='return ""',
        caught_by="tests/daemon/test_takeover.py::test_a_store_that_takes_the_place_of_another_starts_nothing",
    ),
    Mutant(
        bug="what operators write hides that a store is an old copy",
        file="store/pages.py",
        before="row.driven + (1 if self._drives else 0)",
        after="row.driven + 1",
        caught_by="tests/store/test_restored.py",
    ),
    Mutant(
        bug="the mark of a store is not moved while it is driven",
        file="daemon/reconcile.py",
        before="        fleet.note()",
        after="        fleet.clock()",
        caught_by="tests/daemon/test_takeover.py::test_what_a_cycle_wrote_is_noted_before_the_next_one",
    ),
    Mutant(
        bug="a claim that is not followed by anything makes an old copy new",
        file="store/opened.py",
        before="update(meta).values(epoch=meta.c.epoch + 1, claimed_by=by, claimed_at=at)",
        after="update(meta).values(\n                        epoch=meta.c.epoch + 1,"
        " claimed_by=by, claimed_at=at, driven=meta.c.driven + 1)",
        caught_by="tests/store/test_restored.py::test_the_count_rises_with_what_is_driven_and_never_falls",
    ),
    Mutant(
        bug="the operations of an old copy stay unfinished",
        file="store/restored.py",
        before="    for operation in unfinished:\n",
        after="    for operation in unfinished[:0]:\n",
        caught_by="tests/store/test_restored.py",
    ),
    Mutant(
        bug="an old copy that was let go of counts as old for ever",
        file="store/restored.py",
        before="        restored=restored + 1,\n",
        after="        restored=restored,\n",
        caught_by="tests/daemon/test_takeover.py::test_a_crash_while_an_old_copy_is_let_go_of_changes_nothing",
    ),
    Mutant(
        bug="an operation wipes what no plan showed",
        file="execute/cycle.py",
        before="            stages=action.stages,\n",
        after="            stages=(*action.stages[:-1], Stage.WIPE, *action.stages[-1:]),\n",
        caught_by="tests/execute/test_engine.py",
    ),
    Mutant(
        bug="a wipe that was begun is forgotten",
        file="store/disks.py",
        before='columns["wiped"] = 1',
        after='columns["wiped"] = 0',
        caught_by="tests/store/test_wiped.py",
    ),
    Mutant(
        bug="an installation that was begun is forgotten",
        file="store/disks.py",
        before="(kind is EffectKind.POWER_ON and installs)",
        after="(kind is EffectKind.POWER_ON and not kind)",
        caught_by="tests/store/test_wiped.py",
    ),
    Mutant(
        bug="the wipe of an earlier attempt clears what that one booted",
        file="store/disks.py",
        before=" and operation.attempt == 1",
        after="",
        caught_by="tests/store/test_tenants.py",
    ),
    Mutant(
        bug="a node goes to another tenant with what is on its disks",
        file="plan/blockers.py",
        before="    _data_loss,\n    not_wiped,\n",
        after="    _data_loss,\n",
        caught_by=PLAN + "test_remanence.py",
    ),
    Mutant(
        bug="a plan may hand on what a tenant left on the disks",
        file="plan/check_actions.py",
        before="            _not_exposed,\n",
        after="",
        caught_by=PLAN + "test_remanence.py::test_a_plan_that_hands_it_on_as_it_is_is_refused",
    ),
    Mutant(
        bug="disks that a wipe was begun on are only booted",
        file="plan/difference.py",
        before="    if case.remembered.overwritten:\n        return Verb.REBUILD\n",
        after="",
        caught_by=PLAN
        + "test_make.py::test_disks_that_a_wipe_was_begun_on_are_made_anew_although_git_went_back",
    ),
    Mutant(
        bug="a plan may boot disks that a wipe was begun on",
        file="plan/check_actions.py",
        before="            _made_anew,\n",
        after="",
        caught_by=PLAN
        + "test_make.py::test_a_plan_that_boots_disks_that_a_wipe_was_begun_on_is_refused",
    ),
    Mutant(
        bug="a write that fails keeps the database's transaction open",
        file="store/connect.py",
        before="        with given_up_when_it_fails(connection):\n"
        "            connection.commit()\n",
        after="        connection.commit()\n",
        caught_by="tests/store/test_faults.py::test_a_write_outside_of_a_batch_that_fails_leaves_no_transaction_open",
    ),
    Mutant(
        bug="a store is upgraded while an old version drives with it",
        file="store/migrate.py",
        before="    if found > SCHEMA_REVISION or (lock is not None and lock.is_held):\n",
        after="    if found:\n",
        caught_by="tests/store/test_upgrade.py::test_a_store_is_not_upgraded_while_somebody_drives_with_it",
    ),
    Mutant(
        bug="an old version writes in a store that was upgraded under it",
        file="store/pages.py",
        before="        if row.schema != SCHEMA_REVISION:\n",
        after="        if row.schema < SCHEMA_REVISION:\n",
        caught_by="tests/store/test_upgrade.py::test_a_process_whose_store_was_upgraded_under_it_writes_nothing_more",
    ),
)

VALIDATION = (
    Mutant(
        bug="a check that failed counts as passed",
        file="execute/validating.py",
        before="elif not verdict.passed:",
        after="elif False:",
        caught_by="tests/execute/test_validating.py",
    ),
    Mutant(
        bug="no verdict counts as a pass",
        file="execute/validating.py",
        before="if verdict is None or not _counts(verdict, operation):",
        after="if verdict is not None and not _counts(verdict, operation):",
        caught_by="tests/execute/test_validating.py",
    ),
    Mutant(
        bug="a verdict from before the stage counts",
        file="execute/validating.py",
        before="return operation.entered_at is not None and verdict.at >= operation.entered_at",
        after="return operation.entered_at is not None",
        caught_by="tests/execute/test_validating.py",
    ),
    Mutant(
        bug="a machine that runs something else is validated",
        file="execute/validating.py",
        before="return _runs(operation, reading) and not any(_missing(operation, situation))",
        after="return not any(_missing(operation, situation))",
        caught_by="tests/execute/test_validating.py",
    ),
    Mutant(
        bug="the report of an earlier attempt counts",
        file="model/validation.py",
        before="return report.phase is Phase.RUNNING and (mine or report.at >= validation.since)",
        after="return report.phase is Phase.RUNNING",
        caught_by="tests/model/test_validation.py",
    ),
    Mutant(
        bug="a late answer of an attempt that is over counts for the next",
        file="observe/prober.py",
        before="if not future.cancelled() and not this.gone:",
        after="if not future.cancelled():",
        caught_by="tests/observe/test_prober.py",
    ),
)

MUTANTS = (*LEDGER, *STEPS, *ADMISSION, *PLANS, *RECOVERY, *RESTORED, *VALIDATION)

SEEDS: dict[str, int] = {
    "a slot is kept after the end": 100,
    "a failed attempt keeps its slots": 101,
    "one scope is forgotten on release": 100,
    "no identity is asked for before an effect": 102,
    "a deadline never fails an attempt": 101,
    "a retry keeps the fence": 101,
    "the driver is called before the intent is durable": 101,
    "an intent is not journalled": 100,
    "a scope that was limited later does not count what runs": 101,
    "the blast radius counts only what could start now": 102,
    "an operation wipes what no plan showed": 101,
}
"""Bugs that the simulation finds as well, and the seed of `tests/simulation` that shows each."""
