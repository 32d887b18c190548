"""Repositories and stores of the simulation live in memory where there is a place for that."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the sim_ modules are shared with simulate.py


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A directory for runs, in memory where the system has such a place."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="simulation-", dir=memory if memory.is_dir() else None))
    yield made
    shutil.rmtree(made, ignore_errors=True)
