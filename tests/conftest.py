"""Settings of every test: machines are noisy, so no property test has a deadline."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile(
    "metalwright", deadline=None, derandomize=os.environ.get("CI") == "true", print_blob=True
)
settings.load_profile("metalwright")
