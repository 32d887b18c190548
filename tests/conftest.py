"""Settings of every test: machines are noisy, so no property test has a deadline."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest
from hypothesis import Phase, settings

from .warm import Warm

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

LONG = ("live", "simulation", "scenarios", "cli")
"""The directories of the longest tests. Several workers begin with them, so that none is left alone
with one of them at the end.
"""

TOGETHER = ("test_corpus.py", "test_contract.py", "test_week.py", "test_postgresql.py")
"""Files whose tests share something that takes long to make: one worker has all of them."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What each worker runs, and in which order, for `--dist loadgroup`. Live tests stay together
    too: those of one file measure times, and are not to be each other's load.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    items.sort(key=lambda item: item.path.parent.name not in LONG)
    for item in items:
        if item.path.name in TOGETHER or item.path.parent.name == "live":
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI nothing is skipped: a test that cannot do its work there has failed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longreprtext}"
    return report


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """Runs `mw` without the time that its start takes."""
    with Warm() as started:
        yield started
