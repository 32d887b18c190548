"""What the command line writes beside a running daemon.

It never writes a step of an operation: that is for the process that drives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from metalwright.model.operation import Applied
from metalwright.store import brakes
from metalwright.store.opened import Opened


class Operators(Opened):
    """The part of a store for operators. Every method raises `StoreError` when the database
    fails.
    """

    def adopt(self, nodes: Mapping[str, Applied | None], by: str, at: datetime) -> None:
        """Take nodes over, each as what it was brought to, or with `None` as not known.

        A node that was adopted already is recorded anew, and a failure of it forgotten.

        Raises:
            StoreError: an operation is under way on one of them; none is taken over.
        """
        with self._writing() as ledger:
            brakes.adopt(ledger, nodes, by, at)

    def forget(self, node: str, by: str, at: datetime) -> bool:
        """Let a node go: it is not adopted any more. False when it was not adopted.

        Raises:
            StoreError: an operation is under way on it.
        """
        with self._writing() as ledger:
            return brakes.forget(ledger, node, by, at)

    def retry_failed(self, nodes: Iterable[str], by: str, at: datetime) -> tuple[str, ...]:
        """Forget the failures and cancellations of these nodes, so that they are planned again;
        their names.
        """
        with self._writing() as ledger:
            return brakes.retry_failed(ledger, nodes, by, at)

    def hold(self, nodes: Iterable[str], reason: str, by: str, at: datetime) -> tuple[str, ...]:
        """Put a local hold on these nodes; those held, which are the adopted ones.

        An earlier hold is replaced. Once this returns, no operation of theirs is admitted.
        """
        with self._writing() as ledger:
            return brakes.hold(ledger, nodes, reason, by, at)

    def drop_holds(self, nodes: Iterable[str], at: datetime, detail: str) -> None:
        """Take local holds off again; `detail` says in the journal why."""
        with self._writing() as ledger:
            brakes.drop_holds(ledger, nodes, at, detail)

    def quarantine(self, node: str, reason: str, at: datetime) -> None:
        """Leave an adopted node alone until `resume`. One in quarantine stays there as it is."""
        with self._writing() as ledger:
            brakes.quarantine(ledger, node, reason, at)

    def resume(self, nodes: Iterable[str], by: str, at: datetime) -> tuple[str, ...]:
        """Lift the local holds and quarantines of these nodes, and count their failures from none;
        those that had a hold or a quarantine.
        """
        with self._writing() as ledger:
            return brakes.resume(ledger, nodes, by, at)

    def cancel(self, nodes: Iterable[str], by: str, at: datetime) -> tuple[str, ...]:
        """Ask for the end of the unfinished operations of these nodes; the nodes of those that
        nobody had asked for yet.

        The mark stays whatever the engine writes, and a pending operation with it is not admitted.
        """
        with self._writing() as ledger:
            return brakes.cancel(ledger, nodes, by, at)
