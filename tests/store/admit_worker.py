"""A process beside the test's own: opens the store and writes to it as it is told."""

from __future__ import annotations

import itertools
import os
import sys

from store_samples import NOW, admitted, an_applied, an_operation, ended

from metalwright.model.operation import OperationState
from metalwright.store import Store


def admit(store: Store, fleet: int, rack: int) -> None:
    """Admit and end operations until none is left; print how many were admitted here."""
    count = 0
    while True:
        nodes = store.memory().nodes.values()
        pending = [node.operation for node in nodes if node.operation is not None]
        if not pending:
            break
        mine = []
        for operation in pending:
            if operation.state is OperationState.PENDING:
                running = admitted(operation)
                if store.admit(running, {"fleet": fleet, "label/rack=a01": rack}, NOW):
                    mine.append(running)
        count += len(mine)
        for running in mine:
            assert store.finish(ended(running, OperationState.ACTIVE), an_applied(), NOW)
    print(count)


def churn(store: Store, name: str) -> None:
    """Start and end an operation on every node, again and again, a batch each."""
    print("begun", flush=True)
    nodes = list(store.memory().nodes)
    for turn in itertools.count():
        running = []
        with store.batch():
            for node in nodes:
                operation = an_operation(f"o-{name}-{turn}-{node}", node)
                store.create([operation], NOW, None)
                running.append(admitted(operation))
                assert store.admit(running[-1], {"fleet": 4}, NOW)
        with store.batch():
            for operation in running:
                assert store.finish(ended(operation, OperationState.ACTIVE), an_applied(), NOW)


def main() -> None:
    url, what, *arguments = sys.argv[1:]
    with Store.open(url) as store:
        if what == "open":
            store.adopt({f"p{os.getpid()}": None}, "ada", NOW)
        elif what == "admit":
            admit(store, int(arguments[0]), int(arguments[1]))
        else:
            churn(store, arguments[0])


main()
