"""The life of an operation as a table: whose turn it is in every state, until when, every way out.

There is no state without an owner, a deadline and an exit: tests drive the engine and the store
through all of them and compare. `docs/architecture.md` is drawn from here. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from metalwright.model.frozen import FrozenDict
from metalwright.model.operation import INTERRUPTS, Interrupt, OperationState, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """One way out of a state, and what takes it there."""

    to: OperationState
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A state: who acts next, what bounds the waiting, and where it can lead."""

    state: OperationState
    owner: str
    deadline: str
    exits: tuple[Exit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageLife:
    """A stage of a running operation. `timeouts` are fields of `StageTimeouts`, as they run out."""

    stage: Stage
    asked: str
    done: str
    timeouts: tuple[str, ...]
    read_back: str


LIVES: tuple[Life, ...] = (
    Life(
        state=OperationState.PENDING,
        owner="admission",
        deadline="the bound of the queue",
        exits=(
            Exit(
                to=OperationState.RUNNING,
                when="admitted: slots, fence and first intent in one transaction",
            ),
            Exit(
                to=OperationState.CANCELLED,
                when="git no longer wants it, or an operator cancelled it",
            ),
        ),
    ),
    Life(
        state=OperationState.RUNNING,
        owner="its stage",
        deadline="the deadline of the stage",
        exits=(
            Exit(to=OperationState.ACTIVE, when="every stage is seen to be done"),
            Exit(
                to=OperationState.PENDING,
                when="the attempt failed; the node was asked since; slots given back, fence raised",
            ),
            Exit(to=OperationState.FAILED, when="the last attempt failed, or none can help"),
            Exit(to=OperationState.SUPERSEDED, when="git wants something else, at a safe point"),
            Exit(to=OperationState.CANCELLED, when="an operator cancelled it, at a safe point"),
        ),
    ),
    Life(state=OperationState.ACTIVE, owner="nobody", deadline="none: it is over"),
    Life(state=OperationState.FAILED, owner="nobody", deadline="none: it is over"),
    Life(state=OperationState.CANCELLED, owner="nobody", deadline="none: it is over"),
    Life(state=OperationState.SUPERSEDED, owner="nobody", deadline="none: it is over"),
)

STAGE_LIVES: tuple[StageLife, ...] = (
    StageLife(
        stage=Stage.POWER_OFF,
        asked="soft power off, after its time-out power off",
        done="power is off",
        timeouts=("soft_power_off", "power_off"),
        read_back="power",
    ),
    StageLife(
        stage=Stage.WIPE,
        asked="wipe, at the template's level",
        done="the disks carry this operation's evidence, and power is off",
        timeouts=("wipe",),
        read_back="evidence of the wipe",
    ),
    StageLife(
        stage=Stage.BOOT,
        asked="set boot device, power on",
        done="power is on, and the system runs where something can tell",
        timeouts=("boot",),
        read_back="power (the boot device is set again: it changes nothing by itself)",
    ),
    StageLife(
        stage=Stage.INSTALLING,
        asked="nothing: the installer works",
        done="the installed system runs",
        timeouts=("install",),
        read_back="nothing was asked",
    ),
    StageLife(
        stage=Stage.VALIDATING,
        asked="nothing: the checks look at the machine",
        done="power is on, and every check has passed since the stage began",
        timeouts=("validate",),
        read_back="nothing was asked",
    ),
)

CONTRACTS: Mapping[Interrupt, str] = FrozenDict(
    {
        Interrupt.CANCELLABLE: "may interrupt",
        Interrupt.FINISH_FIRST: "waits for the stage to finish",
        Interrupt.IRREVERSIBLE: "waits, and cannot undo it",
    }
)


def drawing() -> str:
    """The states and their exits, as text for a fixed-width font."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    for life in LIVES:
        if not life.exits:
            continue
        yield f"{life.state}: {life.owner} acts next, until {life.deadline}"
        for number, way in enumerate(life.exits, 1):
            branch = "└" if number == len(life.exits) else "├"
            yield f"  {branch}──▶ {way.to:<12}{way.when}"
    over = ", ".join(str(life.state) for life in LIVES if not life.exits)
    yield f"{over}: the end"


def stage_table() -> str:
    """The stages as a Markdown table."""
    head = (
        "stage",
        "asked of the hardware",
        "done when",
        "deadline",
        "read back before a repeat",
        "a newer commit",
    )
    rows = [
        (
            life.stage,
            life.asked,
            life.done,
            ", then ".join(f"`{_camel(name)}`" for name in life.timeouts),
            life.read_back,
            CONTRACTS[INTERRUPTS[life.stage]],
        )
        for life in STAGE_LIVES
    ]
    rule = "|---" * len(head) + "|"
    return "\n".join((_row(head), rule, *map(_row, rows)))


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
