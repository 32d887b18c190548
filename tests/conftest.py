"""Settings of every test: machines are noisy, so no property test has a deadline."""

from __future__ import annotations

import os

from hypothesis import Phase, settings

# Who only wants to know whether a test fails (tests/mutation) need not have the example shrunk.
SHRINKS = os.environ.get("TESTS_SHRINK") != "no"

settings.register_profile(
    "metalwright",
    deadline=None,
    derandomize=os.environ.get("CI") == "true",
    print_blob=True,
    phases=[phase for phase in Phase if SHRINKS or phase not in (Phase.shrink, Phase.explain)],
)
settings.load_profile("metalwright")
