"""No operation without owner, deadline and exit: the table of states, held against the code.

`METALWRIGHT_REWRITE_GOLDEN=1` draws `docs/architecture.md` anew.
"""

from __future__ import annotations

import os
from dataclasses import fields, replace
from pathlib import Path

import pytest
from model_samples import APPLIED, START, an_empty_store, an_operation, at
from operation_world import World, a_running_operation

from metalwright.errors import StoreError
from metalwright.execute.situation import entry_timeout_s
from metalwright.model.lifecycle import CONTRACTS, LIVES, STAGE_LIVES, drawing, stage_table
from metalwright.model.operation import (
    INTERRUPTS,
    TERMINAL,
    Effect,
    EffectKind,
    Interrupt,
    Operation,
    OperationState,
    Stage,
)
from metalwright.model.policy import StageTimeouts
from metalwright.store import Store

ARCHITECTURE = Path(__file__).parents[2] / "docs" / "architecture.md"
BEGIN, END = "<!-- states:begin -->", "<!-- states:end -->"
EXITS = {life.state: {way.to for way in life.exits} for life in LIVES}


@pytest.mark.parametrize("state", OperationState)
def test_every_state_has_an_owner_a_deadline_and_an_exit(state: OperationState) -> None:
    (life,) = [each for each in LIVES if each.state is state]
    assert life.owner
    assert life.deadline
    assert bool(life.exits) is (state not in TERMINAL)
    assert len({way.to for way in life.exits}) == len(life.exits)
    assert all(way.when for way in life.exits)


@pytest.mark.parametrize("state", OperationState)
def test_every_state_leads_to_an_end(state: OperationState) -> None:
    reached, ahead = set(), {state}
    while ahead:
        reached |= ahead
        ahead = {to for each in ahead for to in EXITS[each]} - reached
    assert reached & TERMINAL


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_a_deadline_an_exit_and_a_contract(stage: Stage) -> None:
    (life,) = [each for each in STAGE_LIVES if each.stage is stage]
    named = {each.name: number for number, each in enumerate(fields(StageTimeouts), 100)}
    assert set(life.timeouts) <= named.keys()
    assert entry_timeout_s(stage, StageTimeouts(**named)) == named[life.timeouts[0]]
    assert life.done
    assert life.asked
    assert CONTRACTS[INTERRUPTS[stage]]


def test_every_contract_and_every_time_out_is_in_use() -> None:
    assert set(INTERRUPTS.values()) == set(Interrupt) == set(CONTRACTS)
    used = [name for life in STAGE_LIVES for name in life.timeouts]
    assert sorted(used) == sorted(each.name for each in fields(StageTimeouts))


@pytest.mark.parametrize("stage", Stage)
def test_a_newer_commit_finds_the_contract_kept(stage: Stage) -> None:
    """Once something of the stage was begun, it goes on to its end, or stops at once."""
    kinds = {
        Stage.POWER_OFF: EffectKind.SOFT_POWER_OFF,
        Stage.WIPE: EffectKind.WIPE,
        Stage.BOOT: EffectKind.POWER_ON,
    }
    world = World(operation=replace(a_running_operation(), stage=stage), superseded="newer")
    begun = world.operation
    if stage in kinds:
        effect = Effect(kind=kinds[stage], operation_id=begun.id)
        begun = replace(begun, intent=effect, intent_at=at(1), acknowledged_at=at(2))
    world.operation = begun
    world.pass_s(5)
    world.sees(None)
    world.step()
    assert (world.ended is not None) is (INTERRUPTS[stage] is Interrupt.CANCELLABLE)


CALLS = {
    "admit": (OperationState.RUNNING,),
    "save": (OperationState.RUNNING,),
    "retry": (OperationState.PENDING,),
    "finish": tuple(sorted(TERMINAL)),
}


def in_state(store: Store, state: OperationState) -> Operation:
    """The one operation of a store, brought to a state in the ways that there are."""
    store.adopt({"n1": APPLIED}, "ada", START)
    operation = an_operation("o1", "n1")
    store.create([operation], START, None)
    if state is OperationState.PENDING:
        return operation
    operation = replace(operation, state=OperationState.RUNNING, stage=Stage.POWER_OFF, fence=1)
    assert store.admit(operation, {"fleet": 1}, START)
    if state is OperationState.RUNNING:
        return operation
    operation = replace(operation, state=state, ended_at=at(1))
    assert store.finish(operation, APPLIED, START)
    return operation


def call(store: Store, name: str, operation: Operation, to: OperationState) -> bool:
    there = replace(operation, state=to)
    raised = replace(there, fence=operation.fence + 1)
    match name:
        case "admit":
            return store.admit(raised, {"fleet": 1}, START)
        case "save":
            return store.save(there, "outcome", START)
        case "retry":
            return store.retry(raised, START)
        case _:
            return store.finish(replace(there, ended_at=at(2)), APPLIED, START)


@pytest.mark.parametrize("state", OperationState)
def test_the_store_lets_every_exit_be_taken_and_none_of_an_end(
    state: OperationState, tmp_path: Path
) -> None:
    taken = set()
    for name, tos in CALLS.items():
        for to in tos:
            directory = tmp_path / f"{name}-{to}"
            directory.mkdir()
            with Store.open(an_empty_store(directory)) as store:
                operation = in_state(store, state)
                if call(store, name, operation, to):
                    taken.add(to)
                    found = store.operation("o1")
                    assert found is not None
                    assert found.state is to
    taken.discard(state)
    if state in TERMINAL:
        assert taken == set()
    else:
        assert EXITS[state] <= taken
        assert taken <= EXITS[state] | TERMINAL


def test_the_store_refuses_a_state_that_a_call_cannot_lead_to(tmp_path: Path) -> None:
    with Store.open(an_empty_store(tmp_path)) as store:
        operation = in_state(store, OperationState.RUNNING)
        for name, tos in CALLS.items():
            for to in set(OperationState) - set(tos):
                with pytest.raises(StoreError):
                    call(store, name, operation, to)


def test_the_drawing_in_the_manual_is_fresh() -> None:
    drawn = f"{BEGIN}\n```\n{drawing()}\n```\n\n{stage_table()}\n{END}"
    text = ARCHITECTURE.read_text(encoding="utf-8")
    start, end = text.index(BEGIN), text.index(END) + len(END)
    if os.environ.get("METALWRIGHT_REWRITE_GOLDEN"):
        text = text[:start] + drawn + text[end:]
        ARCHITECTURE.write_text(text, encoding="utf-8")
    assert text[start : text.index(END) + len(END)] == drawn
