"""Values that the store's tests write, and what they expect to read back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from metalwright.model.desired import Holder, Target
from metalwright.model.inventory import Commit, ResolvedTemplate, Source
from metalwright.model.operation import (
    Applied,
    Effect,
    EffectKind,
    Operation,
    OperationState,
    Stage,
    Verb,
)
from metalwright.model.template import Artifact, ImageSpec, Method, Timeouts, WipePolicy
from metalwright.model.tenancy import PowerState

NOW = datetime(2026, 11, 20, 8, 0, 0, 123456, tzinfo=UTC)
COMMIT = Commit(id="c" * 40, author="Ada <ada@lab.example>", subject="Give ci a node", at=NOW)
SOURCE = Source(path="pools/ci.yaml", line=3, field="spec.resting.template")
HOLDER = Holder(kind="Pool", name="ci", owner="lab", since=NOW - timedelta(days=2))


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def a_target(name: str = "debian", digest: str = "d" * 64) -> Target:
    kernel = Artifact(url="https://images.example/vmlinuz", sha256="a" * 64)
    template = ResolvedTemplate(
        name=name,
        chain=(name, "base"),
        method=Method.NETBOOT,
        image=ImageSpec(kernel=kernel, initrd=kernel),
        kernel_args=("quiet", "console=ttyS0"),
        user_data="#cloud-config\n# ünïcode\n",
        wipe=WipePolicy.METADATA,
        timeouts=Timeouts(boot=90, wipe=3_601),
        digest=digest,
    )
    return Target(power=PowerState.ON, template=template, digest=digest)


def an_applied(**changes: Any) -> Applied:
    values: dict[str, Any] = {
        "target": a_target(),
        "holder": HOLDER,
        "revision": COMMIT.id,
        "source": SOURCE,
        "at": NOW,
    }
    return Applied(**(values | changes))


def an_operation(key: str, node: str, **changes: Any) -> Operation:
    values: dict[str, Any] = {
        "id": key,
        "node": node,
        "verb": Verb.DEPLOY,
        "state": OperationState.PENDING,
        "target": a_target(),
        "holder": HOLDER,
        "pool": "ci",
        "priority": 500,
        "stages": (Stage.POWER_OFF, Stage.WIPE, Stage.BOOT),
        "commit": COMMIT,
        "source": SOURCE,
        "created_at": NOW,
    }
    return Operation(**(values | changes))


def admitted(operation: Operation, seconds: float = 1) -> Operation:
    return replace(
        operation,
        state=OperationState.RUNNING,
        stage=Stage.POWER_OFF,
        attempt=operation.attempt + 1,
        fence=operation.fence + 1,
        intent=Effect(kind=EffectKind.SOFT_POWER_OFF, operation_id=operation.id),
        intent_at=after(seconds),
        acknowledged_at=None,
        stage_deadline_at=after(seconds + 300),
    )


def ended(operation: Operation, state: OperationState, seconds: float = 9) -> Operation:
    return replace(operation, state=state, ended_at=after(seconds))


def pending_again(operation: Operation) -> Operation:
    return replace(
        operation,
        state=OperationState.PENDING,
        stage=None,
        intent=None,
        fence=operation.fence + 1,
        last_error="silence",
        not_before=after(60),
    )
