from __future__ import annotations

import pytest

from .parts import Clock, Fleet


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()
