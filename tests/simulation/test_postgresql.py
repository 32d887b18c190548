"""A few seeds of the simulation on PostgreSQL: the same daemon, its lock and store there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sim_scenario import Recipe, generate
from sim_world import play

from metalwright.store import Store

sys.path.insert(0, str(Path(__file__).parent.parent / "store"))  # the server is the store's

from postgres import TEMPLATE, Server, binaries, running_server

pytestmark = pytest.mark.live

SMALL = Recipe(nodes=(6, 8), changes=(2, 3), speed=(10.0,), features=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with one database that has the schema. Missing programs skip, and fail in CI."""
    programs = binaries()
    if programs is None:
        said = "no PostgreSQL server is installed: apt-get install postgresql"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(said)
    with running_server(programs) as running:
        running.sql(f"CREATE DATABASE {TEMPLATE}")
        Store.open(running.url(TEMPLATE)).close()
        yield running


@pytest.mark.parametrize("seed", [442])
def test_nothing_is_broken_on_postgresql_either(seed: int, home: Path, server: Server) -> None:
    with server.database(TEMPLATE) as url:
        result = play(generate(seed, SMALL), home, store=url)
    assert result.violations == []
    assert result.operations > 0
    assert result.faults["taken over"] == 1
    assert result.overshoot == 0
