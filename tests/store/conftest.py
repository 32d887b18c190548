from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metalwright.store import Store

sys.path.insert(0, str(Path(__file__).parent))  # store_samples is shared with the worker scripts


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'store.sqlite'}"


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
