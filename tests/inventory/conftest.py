from __future__ import annotations

from pathlib import Path

import pytest

from .git_repository import GitRepository


@pytest.fixture
def origin(tmp_path: Path) -> GitRepository:
    """An empty bare repository with a branch `main` to come."""
    return GitRepository(tmp_path / "origin.git")
