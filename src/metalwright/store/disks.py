"""What a step of an operation means for the disks of its node: whether they are still what they
were, and whose data may be on them. It is written in the transaction of the step, so before the
effect.
"""

from __future__ import annotations

from metalwright.model.operation import EffectKind, Operation, Stage
from metalwright.store.codec import holder_to_text


def disk_columns(operation: Operation) -> dict[str, str | int | None]:
    """What changes in the row of the node with this step of a running operation.

    From the intent of a wipe on, or to start an installer, whatever becomes of it, nobody knows
    what the disks have, until the node is brought to something or adopted anew. From the intent to
    start a system for an assignment on, they may hold data of its owner, until a wipe is proven.
    """
    columns: dict[str, str | int | None] = {}
    kind = operation.intent.kind if operation.intent is not None else None
    installs = Stage.INSTALLING in operation.stages
    if kind is EffectKind.WIPE or (kind is EffectKind.POWER_ON and installs):
        columns["wiped"] = 1
    if kind is EffectKind.POWER_ON and operation.stage is Stage.BOOT:
        if operation.holder.kind == "Assignment":
            columns["tenant"] = holder_to_text(operation.holder)
    elif operation.stage is Stage.BOOT and kind is None and _just_wiped(operation):
        columns["tenant"] = None
    return columns


def _just_wiped(operation: Operation) -> bool:
    """Whether a wipe is proven, and nothing was started since. A later attempt may find the wipe
    of an earlier one, which has started a system after it.
    """
    before = operation.stages[: operation.stages.index(Stage.BOOT)]
    return Stage.WIPE in before and operation.attempt == 1
