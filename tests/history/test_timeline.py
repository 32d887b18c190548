"""The timeline groups operations by the commit that wanted them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from metalwright.history import timeline
from metalwright.model.desired import Holder, Target
from metalwright.model.inventory import Commit, Source
from metalwright.model.operation import Operation, OperationState, Stage, Verb
from metalwright.model.tenancy import PowerState

T0 = datetime(2026, 11, 20, 8, tzinfo=UTC)
LOAN = Commit(id="a" * 40, author="Ada <ada@lab.example>", subject="Lend four spares", at=T0)
REVERT = Commit(id="b" * 40, author="Bob <bob@lab.example>", subject="Revert", at=T0)


def _operation(
    node: str, commit: Commit, minute: int, state: OperationState = OperationState.ACTIVE
) -> Operation:
    began = T0 + timedelta(minutes=minute)
    ended = None if state is OperationState.RUNNING else began + timedelta(minutes=5)
    return Operation(
        id=f"{node}-{minute}",
        node=node,
        verb=Verb.DEPLOY if commit is LOAN else Verb.UNDEPLOY,
        state=state,
        target=Target(power=PowerState.ON, digest="d"),
        holder=Holder(kind="Assignment", name="loan", owner="storage"),
        pool="spare",
        priority=500,
        stages=(Stage.POWER_OFF,),
        commit=commit,
        source=Source(path="loan.yaml", line=2),
        created_at=began,
        last_error="no answer" if state is OperationState.FAILED else "an old trouble",
        ended_at=ended,
    )


def test_commits_come_latest_first_with_their_nodes_grouped() -> None:
    effects = timeline(
        [
            _operation("n2", LOAN, 0),
            _operation("n1", LOAN, 1),
            _operation("n3", LOAN, 2, OperationState.FAILED),
            _operation("n1", REVERT, 30, OperationState.RUNNING),
        ]
    )
    assert [effect.commit for effect in effects] == [REVERT, LOAN]
    revert, loan = effects
    assert revert.ended_at is None
    assert (loan.began_at, loan.ended_at) == (T0, T0 + timedelta(minutes=7))
    assert [(group.verb, group.state, group.nodes) for group in loan.groups] == [
        (Verb.DEPLOY, OperationState.ACTIVE, ("n1", "n2")),
        (Verb.DEPLOY, OperationState.FAILED, ("n3",)),
    ]
    assert [group.last_error for group in loan.groups] == ["", "no answer"]


def test_nothing_done_is_an_empty_timeline() -> None:
    assert timeline([]) == ()
