"""A week of 10,000 machines in less than a minute: rollouts of everything, turn-overs, sick BMCs.

    python tests/simulation/week.py [--seed 7] [--nodes 10000] [--days 7]

It fails when a limit was exceeded, somebody waited longer than the bound says, slots were idle
while work waited, or a rollout took longer than its share. What of it is the product's own code is
said in `week_loop.py` and in docs/verification.md.

A rollout counts as long as a first attempt of it runs that succeeds; what fails is tried again
later, in its own lane. Its lower bound is that of list scheduling: the slot-seconds of all that ran
in that time, over the slots; the same for each rack; the longest attempt.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time

from week_figures import report
from week_loop import Week


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--days", type=float, default=7.0)
    arguments = parser.parse_args()
    gc.disable()  # nothing here is circular
    wall, cpu = time.monotonic(), time.process_time()
    figures = Week(arguments.seed, arguments.nodes, arguments.days).run()
    print(report(figures, time.monotonic() - wall, time.process_time() - cpu))
    return 0 if figures.holds else 1


if __name__ == "__main__":
    sys.exit(main())
