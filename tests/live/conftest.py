"""What several live tests share."""

from __future__ import annotations

import pytest

from .machines import Systems, make_systems, require_machines


@pytest.fixture(scope="session")
def systems(tmp_path_factory: pytest.TempPathFactory) -> Systems:
    """What machines can boot; skips, or fails in CI, where a component is missing."""
    require_machines()
    return make_systems(tmp_path_factory.mktemp("systems"))
