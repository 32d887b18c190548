"""Over random small fleets: a plan keeps its promises, and carrying it out leaves nothing to do."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from metalwright.model.desired import Holder
from metalwright.model.hardware import Hold, Lifecycle
from metalwright.model.observed import BootProgress, Identity, Power
from metalwright.model.operation import LocalHold, OperationState, Quarantined, Stage, Verb
from metalwright.model.plan import Action
from metalwright.model.policy import BlastRadius, Radius
from metalwright.model.rollout import RolloutState
from metalwright.model.tenancy import RolloutStrategy, Waves
from metalwright.plan import render_text
from metalwright.plan.blockers import stranger, unseen
from metalwright.plan.difference import Case, difference, plainly_as_desired

from ..schedule.fleet import T0, Fleet, hours, image_of  # noqa: TID252 - one fleet for both rooms
from .world import World

NAMES = [f"n-{number}" for number in range(1, 7)]
TEMPLATES: dict[str, dict[str, Any]] = {
    "ci": {},
    "debug": {"kernel_args": ("debug",)},
    "wiped": {"wipe": "metadata"},
    "local": {"method": "local"},
    "installed": {"method": "disk", "image": image_of("rocky", disk=True)},
}
STRATEGIES = [
    None,
    None,
    RolloutStrategy(waves=Waves(nodes=2), failures_max=1),
    RolloutStrategy(waves=Waves(label="rack"), canaries=0, soak=60),
    RolloutStrategy(waves=Waves(percent=50), soak=0, confirm=120),
]
TENANTS = [Holder(kind="Assignment", name="gone", owner=one) for one in ("alice", "bob", "carol")]
ABANDONED = "c0ffee" * 6 + "c0ff"


def declare(fleet: Fleet, draw: Any) -> None:
    """Random documents over the same six names; anything may differ from one call to the next."""
    for kind in (fleet.pools, fleet.assignments, fleet.schedules, fleet.freezes, fleet.templates):
        kind.clear()
    for name in NAMES:
        lifecycle = draw(st.sampled_from([Lifecycle.MANAGED] * 5 + [Lifecycle.BROKEN]))
        serial = draw(st.sampled_from([f"S-{name}", None]))
        driver = draw(st.sampled_from(["fake", "fake", "ipmi"]))
        rack = draw(st.sampled_from(["a01", "a02"]))
        hold = draw(st.sampled_from([None] * 7 + [Hold(reason="x")]))
        labels = {"rack": rack}
        fleet.node(
            name, serial=serial, driver=driver, labels=labels, lifecycle=lifecycle, hold=hold
        )
    if draw(st.integers(0, 7)) == 7:
        del fleet.nodes["n-3"]
    for name, fields in TEMPLATES.items():
        edited = {"user_data": draw(st.sampled_from(["a", "b"]))}
        fleet.template(name, **(fields | edited))
    template = st.sampled_from(list(TEMPLATES))
    consent = st.sampled_from([True, True, False])
    here = [name for name in NAMES if name in fleet.nodes]
    split = draw(st.integers(1, len(here) - 1))
    for pool, names in (("left", here[:split]), ("right", here[split:])):
        resting = draw(st.sampled_from([{"power": "off"}, {"power": "on"}, {"template": "t"}]))
        if "template" in resting:
            resting = {"template": draw(template)}
        fleet.pool(
            pool,
            "n-1",
            **resting,
            drift=draw(st.sampled_from(["report", "correct"])),
            template_edits=draw(st.sampled_from(["immediate", "at-boundary"])),
            data_loss_consent=draw(consent),
            rollout=draw(st.sampled_from(STRATEGIES)),
            reuse=draw(st.sampled_from(["wiped", "unwiped"])),
        )
        spec = fleet.pools[pool].spec
        fleet.pools[pool] = replace(fleet.pools[pool], spec=replace(spec, nodes=tuple(names)))
    fleet.schedule("shifts", (T0 - hours(4), T0), (T0, T0 + hours(4)))
    free = list(here)
    for number in range(draw(st.integers(0, 3))):
        node = draw(st.sampled_from(free))
        free.remove(node)
        when = draw(
            st.sampled_from([{}, {"schedule": "shifts"}, {"start": T0 - hours(1)}, {"end": T0}])
        )
        fleet.assignment(
            f"a{number}",
            "left" if node in here[:split] else "right",
            node,
            draw(template),
            owner=draw(st.sampled_from(["alice", "bob"])),
            priority=draw(st.sampled_from([100, 500, 900])),
            template_edits=draw(st.sampled_from(["immediate", "at-boundary"])),
            data_loss_consent=draw(consent),
            **({"when": when} if when else {}),
        )
    if draw(st.integers(0, 4)) == 4:
        fleet.freeze("f", selector="rack=a01", until=T0 + hours(1), pass_priority=600)
    few = st.sampled_from([None, None, None, 1, 2])
    fleet.rules(
        blast_radius=BlastRadius(
            nodes_max=draw(few),
            pools=Radius(nodes_max=draw(few)),
            labels={"rack": Radius(percent_max=draw(st.sampled_from([None, None, 20, 50])))},
        ),
        limits={"fleet": draw(st.integers(1, 4)), "labels": {"rack": 2}},
    )


def look(world: World, draw: Any, names: Iterable[str] = NAMES) -> None:
    """Each of these nodes is seen in some way, or not at all."""
    digests = [one.digest for one in world.fleet.templates.values()]
    for name in names:
        how = draw(st.integers(0, 12))
        if how == 12:
            world.unreachable(name)
        elif how == 11:
            world.observed.pop(name, None)
        else:
            power = draw(st.sampled_from([Power.ON, Power.ON, Power.OFF, Power.OFF, Power.UNKNOWN]))
            reading: dict[str, Any] = {}
            if power is Power.ON and draw(st.booleans()):
                reading["boot_progress"] = BootProgress.OS_RUNNING
                reading["template_digest"] = draw(st.sampled_from([None, *digests]))
            if draw(st.integers(0, 5)) == 5:
                serial = draw(st.sampled_from([None, "S-other"]))
                reading["identity"] = Identity(serial=serial)
            world.see(name, power, age_s=draw(st.sampled_from([1, 1, 120, 121])), **reading)


def remember(world: World, draw: Any, names: Collection[str] = NAMES) -> None:
    """What we did before: nothing, something finished, interrupted, failed or under way."""
    wanted = world.desired().nodes
    for name in [one for one in wanted if one in names]:
        how = draw(st.integers(0, 14))
        if how == 11:
            world.memory.pop(name, None)
            continue
        if name not in world.memory or how == 10:
            world.adopt(name, rebuild=how == 10)
        if draw(st.integers(0, 3)) == 3:
            world.remember(name, tenant=draw(st.sampled_from(TENANTS)))
        if how == 12:
            world.remember(name, hold=LocalHold(reason="x", by="ada", at=world.now))
        if how == 13:
            world.remember(name, quarantine=Quarantined(reason="x", at=world.now), failures=3)
        if how == 14:
            cancelled = world.operation(name, state=OperationState.CANCELLED, cancelled_by="ada")
            world.interrupted(name, failed=cancelled)
        if how in (8, 9):
            world.interrupted(name)
        if how == 9:
            failed = world.operation(name, state=OperationState.FAILED, attempt=3, last_error="x")
            world.remember(name, failed=failed)
        if how in (6, 7):
            state = draw(st.sampled_from([OperationState.PENDING, OperationState.RUNNING]))
            verb = draw(st.sampled_from(list(Verb)))
            attempt = draw(st.integers(0, 2))
            operation = world.operation(name, state=state, verb=verb, attempt=attempt)
            world.remember(name, operation=operation)
            if state is OperationState.RUNNING:
                world.interrupted(name)


@st.composite
def worlds(draw: Any) -> World:
    """A fleet that was one thing, was partly brought to it, and is declared otherwise now."""
    world = World()
    declare(world.fleet, draw)
    remember(world, draw)
    for _ in range(draw(st.integers(0, 2))):
        declare(world.fleet, draw)
        world.commit()
        look(world, draw)
        if draw(st.booleans()):
            world.succeed()
            world.forward(timedelta(minutes=draw(st.sampled_from([0, 1, 5, 60]))))
    look(world, draw)
    if draw(st.integers(0, 4)) == 4:
        world.context = replace(world.context, former_radius=BlastRadius(nodes_max=2))
    if draw(st.integers(0, 9)) == 9:
        world.context = replace(world.context, abandoned_revision=ABANDONED)
    if draw(st.integers(0, 9)) == 9:
        world.context = replace(world.context, limit_nodes=frozenset(NAMES[:3]))
    if draw(st.integers(0, 9)) == 9:
        world.context = replace(world.context, observed_kind="none")
    return world


def may_have(world: World, action: Action) -> bool:
    """Whether whoever gets the node may have what a tenant left on its disks, as far as it is."""
    tenant, known = world.memory[action.node].tenant, world.memory[action.node]
    if tenant is None or action.holder.kind == "Pool" or action.holder.owner == tenant.owner:
        return True
    if Stage.WIPE in action.stages or world.fleet.pools[action.pool].spec.reuse == "unwiped":
        return True
    before = known.applied or known.former
    same = before is not None and before.holder.name == action.holder.name
    return same and before is not None and before.holder.owner == tenant.owner


@settings(max_examples=150, deadline=None)
@given(worlds())
def test_a_plan_keeps_its_promises(world):
    plan = world.plan()  # checked, and made again from shuffled values
    asked = world.context.observed_kind != "none"
    for action in plan.actions:
        assert action.node in world.memory
        assert world.fleet.nodes[action.node].spec.lifecycle is Lifecycle.MANAGED
        assert world.memory[action.node].operation is None
        assert may_have(world, action), "data of one tenant in the hands of another"
        seen = world.observed.get(action.node)
        if asked:
            assert seen is not None
            assert seen.power is not Power.UNKNOWN
            assert seen.age_s(world.now) <= 120
    totals = plan.totals
    parts = totals.as_desired + totals.changes + totals.in_progress + totals.blocked
    assert parts == totals.nodes
    assert len(render_text(plan, width=80).splitlines()) >= 3


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_carrying_a_plan_out_leaves_nothing_that_could_be_done(world):
    world.context = replace(world.context, abandoned_revision=None)
    world.fleet.rules(limits={"fleet": 4})
    world.converged()


@settings(max_examples=60, deadline=None)
@given(worlds())
def test_every_rollout_comes_to_its_end_or_says_what_it_waits_for(world):
    world.context = replace(world.context, abandoned_revision=None, limit_nodes=None)
    world.context = replace(world.context, observed_kind="live", former_radius=None)
    world.fleet.rules(limits={"fleet": 4})
    for name, seen in list(world.observed.items()):
        if seen.error is not None:
            world.observed[name] = replace(seen, failures=3)
    for _ in range(14):
        world.succeed()
        world.forward(timedelta(minutes=10))
    plan = world.plan()
    assert plan.actions == ()
    for rollout in plan.rollouts:
        assert rollout.state in (RolloutState.RUNNING, RolloutState.PAUSED)
        assert rollout.why, "a rollout that stands still says why"
    if not plan.rollouts:
        assert "ROLLOUT_WAITS" not in plan.totals.by_blocked


@settings(max_examples=100, deadline=None)
@given(worlds())
def test_what_is_settled_cheaply_is_settled_in_depth_as_well(world):
    desired, observed, memory, context = world.values()
    for name, wanted in desired.nodes.items():
        remembered, seen = memory.nodes.get(name), observed.nodes.get(name)
        node = world.fleet.nodes[name]
        if remembered is None or not plainly_as_desired(node, wanted, remembered, seen):
            continue
        case = Case(
            node=node,
            wanted=wanted,
            remembered=remembered,
            observation=seen,
            inventory=desired.inventory,
            context=context,
            at=desired.at,
        )
        assert (difference(case), unseen(case), stranger(case)) == (None, None, None)
