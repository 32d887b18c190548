from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalwright.store import Store

sys.path.insert(0, str(Path(__file__).parent))  # store_samples is shared with the worker scripts

from postgres import TEMPLATE, Server, binaries, running_server

SQLITE, POSTGRESQL = "sqlite", "postgresql"


@pytest.fixture(scope="session")
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


@pytest.fixture(params=[SQLITE, pytest.param(POSTGRESQL, marks=pytest.mark.live)])
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of database."""
    return str(request.param)


@pytest.fixture
def url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A store that may not be there yet (SQLite), or is empty (PostgreSQL)."""
    if kind == SQLITE:
        yield f"sqlite:///{tmp_path / 'store.sqlite'}"
        return
    with request.getfixturevalue("server").database(TEMPLATE) as address:
        yield address


@pytest.fixture
def empty_url(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database without any table."""
    if kind == SQLITE:
        yield f"sqlite:///{tmp_path / 'empty.sqlite'}"
        return
    with request.getfixturevalue("server").database("template0") as address:
        yield address


@pytest.fixture
def opened(url: str) -> Iterator[Callable[[], Store]]:
    """Opens the store of this test; every opening is closed at the end."""
    stores: list[Store] = []

    def again() -> Store:
        stores.append(Store.open(url))
        return stores[-1]

    yield again
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[[], Store]) -> Store:
    return opened()
