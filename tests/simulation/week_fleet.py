"""The inventory of the week: racks of forty in three pools, lent out in part every day.

Every commit of the week changes every machine; a twentieth of each pool is booked each day.
"""

from __future__ import annotations

import math
import random
import sys
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "schedule"))

from fleet import T0, Fleet

from metalwright.model.policy import FleetLimits, Retries
from metalwright.model.template import Timeouts

RACK_NODES = 40
FLEET_LIMIT, RACK_LIMIT, RETRY_LIMIT = 200, 3, 20
RETRIES = Retries(attempts_max=3, backoff_min=60, backoff_max=1_800)
TIMEOUTS = Timeouts(soft_power_off=90, power_off=30, boot=400)


def limit_as_declared(scope: str) -> int:
    """What the policy of the week allows in a scope, said apart from the code that reads it."""
    return {"fleet": FLEET_LIMIT, "lane/retry": RETRY_LIMIT}.get(scope, RACK_LIMIT)


def make_fleet(seed: int, nodes: int, days: float) -> Fleet:
    """The fleet as it is declared at first."""
    fleet = Fleet()
    racks = -(-nodes // RACK_NODES)
    for number in range(nodes):
        fleet.node(f"n{number:05}", labels={"rack": f"r{number // RACK_NODES:03}"})
    for name in ("rest", "lent"):
        fleet.template(name, kernel_args=(f"role={name}",), timeouts=TIMEOUTS)
    edges = [0, int(0.5 * racks) * RACK_NODES, int(0.8 * racks) * RACK_NODES, nodes]
    for name, first, last in zip(("ci", "hpc", "web"), edges[:-1], edges[1:], strict=True):
        fleet.pool(name, f"n[{first:05}-{last - 1:05}]", template="rest", data_loss_consent=True)
        count = max(1, (last - first) // 20)
        for day in range(math.ceil(days)):
            start = T0 + timedelta(days=day, hours=1)
            chosen = random.Random(f"{seed}-{name}-{day}").randint(first, last - count)
            fleet.assignment(
                f"{name}-{day}",
                name,
                f"n[{chosen:05}-{chosen + count - 1:05}]",
                "lent",
                when={"start": start, "end": start + timedelta(hours=9)},
                template_edits="immediate",
                data_loss_consent=True,
            )
    limits = FleetLimits(fleet=FLEET_LIMIT, labels={"rack": RACK_LIMIT}, retries=RETRY_LIMIT)
    fleet.rules(limits=limits, retries=RETRIES)
    return fleet


def change_everything(fleet: Fleet, revision: int) -> None:
    """What each commit of the week does."""
    for name in tuple(fleet.templates):
        args = (f"role={name}", f"revision={revision}")
        fleet.template(name, kernel_args=args, timeouts=TIMEOUTS)
