"""Operations, targets and empty stores for the models: small, and the same in every run."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from metalwright.model.desired import Holder, Target
from metalwright.model.inventory import Commit, ResolvedTemplate, Source
from metalwright.model.operation import Applied, Operation, OperationState, Stage, Verb
from metalwright.model.template import Method, WipePolicy
from metalwright.model.tenancy import PowerState
from metalwright.store import Store

START = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
COMMIT = Commit(id="c" * 40, author="Ada <ada@lab.example>", subject="Give ci a node", at=START)
SOURCE = Source(path="pools/ci.yaml", line=3)
HOLDER = Holder(kind="Pool", name="ci", owner="lab")


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def a_target(method: Method = Method.NETBOOT, wipe: WipePolicy = WipePolicy.NONE) -> Target:
    template = ResolvedTemplate(
        name="debian", chain=("debian",), method=method, wipe=wipe, digest="d" * 64
    )
    return Target(power=PowerState.ON, template=template, digest="d" * 64)


TARGET = a_target()
APPLIED = Applied(target=TARGET, holder=HOLDER, revision=COMMIT.id, source=SOURCE, at=START)


def an_operation(key: str, node: str, **changes: Any) -> Operation:
    values: dict[str, Any] = {
        "id": key,
        "node": node,
        "verb": Verb.REBOOT,
        "state": OperationState.PENDING,
        "target": TARGET,
        "holder": HOLDER,
        "pool": "ci",
        "priority": 500,
        "stages": (Stage.POWER_OFF, Stage.BOOT),
        "commit": COMMIT,
        "source": SOURCE,
        "created_at": START,
    }
    return Operation(**(values | changes))


@cache
def _empty() -> Path:
    """A store that was opened once and closed: making the tables costs more than all the rest."""
    directory = tempfile.TemporaryDirectory(prefix="metalwright-models-")
    atexit.register(directory.cleanup)
    path = Path(directory.name) / "store.sqlite"
    Store.open(f"sqlite:///{path}").close()
    return path


def an_empty_store(directory: Path) -> str:
    """The address of a new store in this directory."""
    path = directory / "store.sqlite"
    shutil.copy(_empty(), path)
    return f"sqlite:///{path}"
