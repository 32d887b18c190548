"""`mw hold`, `mw resume`, `mw cancel` and `mw retry`: the operator's brakes, and their release.

None of them says what a machine should be, that is git's alone. They stop, end or begin anew what
git wants. A brake has to work on a bad day too: while git cannot be read, nodes are told by name.
"""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import typer

from metalwright.cli.common import ERROR, ConfigOption, RepoOption, report, say, settings_from
from metalwright.cli.common import select as select_nodes
from metalwright.cli.look import in_force
from metalwright.cli.suggest import hold_text
from metalwright.daemon.clock import system_clock
from metalwright.daemon.fleet import driven_by, open_fleet
from metalwright.errors import MetalwrightError, SettingsError, StoreError
from metalwright.model.desired import Desired
from metalwright.model.noderange import NodeRangeError, fold, unfold
from metalwright.model.operation import Memory, Operation
from metalwright.settings import Settings
from metalwright.store import Store, fleet_lock

NodesArgument = Annotated[
    list[str], typer.Argument(metavar="NODE", help="Names, ranges (r640-[01-16]) or selectors.")
]
REASON_CHARACTERS_MAX = 1_000


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("hold")(hold)
    app.command("resume")(resume)
    app.command("cancel")(cancel)
    app.command("retry")(retry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The nodes that a command is about. `desired` is `None` while git cannot be read."""

    names: tuple[str, ...]
    memory: Memory
    desired: Desired | None

    @property
    def adopted(self) -> list[str]:
        """Those that somebody handed over."""
        return [name for name in self.names if name in self.memory.nodes]

    def held_in_git(self, *, without_end: bool = False) -> list[str]:
        """Those that git holds at this moment; only those `without_end` if that is asked for."""
        wanted = self.desired.nodes if self.desired is not None else {}
        holds = {name: wanted[name].hold for name in self.names if name in wanted}
        return [
            name
            for name, hold in holds.items()
            if hold is not None and not (without_end and hold.until is not None)
        ]

    def under_way(self) -> Mapping[str, Operation]:
        """Their unfinished operations."""
        found = {name: self.memory.nodes[name].operation for name in self.adopted}
        return {name: operation for name, operation in found.items() if operation is not None}


@contextmanager
def opened(settings: Settings, texts: list[str]) -> Iterator[tuple[Store, Chosen]]:
    """The store, and the nodes of git and of the store that these texts name or select.

    The store is opened by itself: a brake is written there, whatever has become of the repository.

    Raises:
        typer.BadParameter: one is no selector, or neither git nor the store knows such a node.
        MetalwrightError: git cannot be read, and one of them is not the name of an adopted node;
            or the store cannot be opened.
    """
    wanted = _wanted(settings)
    lock = fleet_lock(settings.store, settings.state_dir)
    with Store.open(settings.store, lock) as store:
        yield store, _choose(store.memory(), wanted, texts)


def _wanted(settings: Settings) -> Desired | MetalwrightError:
    """What git wants, or why that cannot be read."""
    try:
        with open_fleet(settings, drive=False, wake=lambda: None) as fleet:
            return in_force(fleet)
    except (StoreError, SettingsError):
        raise
    except MetalwrightError as error:
        return error


def _choose(memory: Memory, wanted: Desired | MetalwrightError, texts: list[str]) -> Chosen:
    known = [_known(text, memory) for text in texts]
    names = {name for group in known for name in group}
    if isinstance(wanted, MetalwrightError):
        if not all(known):
            raise wanted
        report(f"warning: git cannot be read ({wanted}); the nodes are taken by name")
        return Chosen(names=tuple(sorted(names)), memory=memory, desired=None)
    others = [text for text, group in zip(texts, known, strict=True) if not group]
    names |= select_nodes(wanted.inventory, others)
    return Chosen(names=tuple(sorted(names)), memory=memory, desired=wanted)


def _known(text: str, memory: Memory) -> tuple[str, ...]:
    """The adopted nodes that a text names; none where it names any other, or is no range."""
    try:
        names = unfold(text)
    except NodeRangeError:
        return ()
    return names if all(name in memory.nodes for name in names) else ()


def hold(
    nodes: NodesArgument,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it is shown with every wait.")
    ],
    repo: RepoOption = None,
    config: ConfigOption = None,
) -> None:
    """Start nothing on these nodes until `mw resume`.

    A brake that git does not know of: what is pending there is dropped, what runs gives way at its
    next safe point. The answer has the words that make it permanent in git; once git holds a node
    without an end, its hold is the only one.

    Example: mw hold r640-07 --reason 'a fan is being changed'
    """
    if not 0 < len(reason.strip()) <= REASON_CHARACTERS_MAX:
        raise typer.BadParameter(
            f"a reason has 1 to {REASON_CHARACTERS_MAX:,} characters", param_hint="--reason"
        )
    settings = settings_from(config, repository=repo)
    with opened(settings, nodes) as (store, chosen):
        in_git = chosen.held_in_git(without_end=True)
        free = sorted(set(chosen.adopted).difference(in_git))
        held = store.hold(free, reason.strip(), getpass.getuser(), system_clock())
        ending = {name: one for name, one in chosen.under_way().items() if name in held}
    if held:
        say(f"held {len(held)}: {fold(held)}")
        running = [name for name, one in ending.items() if one.stage is not None]
        if running:
            say(f"what runs gives way at its next safe point: {fold(running)}")
        queued = sorted(ending.keys() - set(running))
        if queued:
            say(f"what is queued is dropped: {fold(queued)}")
        say("to hold them in git instead, commit this to each Node:")
        say(hold_text(reason.strip()))
    if in_git:
        say(f"held in git already: {fold(in_git)}")
    _not_adopted(chosen)
    if not held:
        raise typer.Exit(ERROR)
    _remind(settings)


def resume(nodes: NodesArgument, repo: RepoOption = None, config: ConfigOption = None) -> None:
    """Lift the holds that were put on here, and quarantines.

    The failures of these nodes are counted from none again, and what failed last is tried again.

    Example: mw resume r640-07
    """
    settings = settings_from(config, repository=repo)
    with opened(settings, nodes) as (store, chosen):
        before = chosen.memory.nodes
        by, now = getpass.getuser(), system_clock()
        with store.batch():
            lifted = store.resume(chosen.adopted, by, now)
            mended = [name for name in lifted if before[name].quarantine is not None]
            store.retry_failed(mended, by, now)
        in_git = chosen.held_in_git()
    if lifted:
        say(f"resumed {len(lifted)}: {fold(lifted)}")
        if mended:
            say(f"out of quarantine, to be tried again: {fold(mended)}")
    else:
        say("nothing holds these nodes here")
    if in_git:
        say(f"git holds them still, until a commit takes spec.hold out: {fold(in_git)}")
    _not_adopted(chosen)
    if not lifted:
        raise typer.Exit(ERROR)
    _remind(settings)


def cancel(nodes: NodesArgument, repo: RepoOption = None, config: ConfigOption = None) -> None:
    """End what is under way on these nodes.

    What is queued ends at once, what runs at its next safe point: a power-off and a wipe are
    finished first. The node is then left as it is, until `mw retry` or until git wants something
    else of it.

    Example: mw cancel r640-07
    """
    settings = settings_from(config, repository=repo)
    with opened(settings, nodes) as (store, chosen):
        under_way = chosen.under_way()
        marked = store.cancel(sorted(under_way), getpass.getuser(), system_clock())
    for name in marked:
        operation = under_way[name]
        stage = operation.stage.value if operation.stage is not None else "queued"
        say(f"to be cancelled: {name} ({operation.verb}, {stage})")
    asked = sorted(under_way.keys() - set(marked))
    if asked:
        say(f"asked for already: {fold(asked)}")
    idle = sorted(set(chosen.adopted) - under_way.keys())
    if idle:
        say(f"nothing is under way: {fold(idle)}")
    _not_adopted(chosen)
    if not under_way:
        raise typer.Exit(ERROR)
    _remind(settings)


def retry(nodes: NodesArgument, repo: RepoOption = None, config: ConfigOption = None) -> None:
    """Begin anew what failed or was cancelled.

    Example: mw retry r640-07
    """
    settings = settings_from(config, repository=repo)
    with opened(settings, nodes) as (store, chosen):
        failed = store.retry_failed(chosen.adopted, getpass.getuser(), system_clock())
        known = chosen.memory.nodes
        left = [name for name in chosen.adopted if known[name].quarantine is not None]
    if failed:
        say(f"tried again: {fold(failed)}")
    else:
        say("no operation of these nodes has failed or was cancelled")
    if left:
        say(f"in quarantine until `mw resume`: {fold(left)}")
    _not_adopted(chosen)
    if failed:
        _remind(settings)


def _not_adopted(chosen: Chosen) -> None:
    strange = set(chosen.names).difference(chosen.adopted)
    if strange:
        say(f"not adopted, so nothing is ever started on them: {fold(strange)}")


def _remind(settings: Settings) -> None:
    """Say so when nobody is there to act on it."""
    if driven_by(settings) is None:
        say("no daemon drives this fleet now; the next one acts on it")
