"""Machines that only their own reports tell of: they are asked to go on, and may."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from metalwright.boot.limits import BootLimits
from metalwright.model.waking import BEAT_S, TOKEN_REST_S

from .boot_world import FACTS, World, a_node, world
from .test_agent import AGENT, SHELLS, Service, service  # noqa: F401

ASKED = f"beat {BEAT_S}\nok\n"
LIFE = timedelta(seconds=BootLimits().token_life_s)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as made:
        made.follow(a_node(driver="wol"))
        yield made
        assert made.trouble == []


def test_it_is_asked_to_report_again_and_again_and_that_is_no_news(lab: World) -> None:
    lab.adopt(lab.template())
    path = lab.boot()
    first = lab.report(path, "running", facts=FACTS)
    assert first.text == ASKED
    at = lab.store.heard()["n1"].report.at
    for _ in range(3):
        assert lab.report(path, "running", facts=FACTS).text == ASKED
    assert lab.store.heard()["n1"].report.at == at + timedelta(seconds=3)
    assert lab.events("reported") == ["running"]


def test_its_checks_come_first(lab: World) -> None:
    lab.adopt()
    template = lab.template()
    lab.operate(template)
    path = lab.boot()
    assert lab.report(path, "running", facts=FACTS).text == "check disk 10 test -b /dev/vda\nok\n"
    passed = [{"name": "disk", "exit_status": 0, "message": ""}]
    assert lab.report(path, "running", facts=FACTS, checks=passed).text == ASKED


def test_a_machine_whose_driver_tells_its_power_is_not_asked(lab: World) -> None:
    lab.follow(a_node(driver="ipmi"))
    lab.adopt(lab.template())
    path = lab.boot()
    assert lab.report(path, "running", facts=FACTS).text == "ok\n"
    lab.now += LIFE
    assert lab.report(path, "running", facts=FACTS).status_code == 403


def test_its_token_lives_for_as_long_as_it_reports(lab: World) -> None:
    lab.adopt(lab.template())
    path = lab.boot()
    for step in (timedelta(), LIFE - timedelta(seconds=TOKEN_REST_S - 60), *[LIFE / 200] * 3):
        lab.now += step
        assert lab.report(path, "running", facts=FACTS).status_code == 200
    lab.now += timedelta(seconds=TOKEN_REST_S + 1)
    assert lab.report(path, "running", facts=FACTS).status_code == 403


def test_a_token_that_nobody_reported_with_gets_no_older(lab: World) -> None:
    lab.adopt(lab.template())
    path = lab.boot()
    lab.now += LIFE - timedelta(seconds=5)
    assert lab.client.get(f"{path}/kernel").status_code == 200
    lab.now += timedelta(seconds=10)
    assert lab.client.get(f"{path}/kernel").status_code == 403


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_the_agent_ends_and_goes_on_reporting(
    service: Service,  # noqa: F811
    shell: list[str],
) -> None:
    service.answers = ["beat 1\nok\n"]
    started = subprocess.Popen(
        [*shell, str(AGENT), f"{service.base}/b/T"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    try:
        said, _ = started.communicate(timeout=60)
        assert (started.returncode, said) == (0, b"")
        until = time.monotonic() + 60
        while len(service.reports) < 3:
            assert time.monotonic() < until, service.reports
            time.sleep(0.05)
    finally:
        os.killpg(started.pid, signal.SIGKILL)
    first, second, third = service.reports[:3]
    assert second == third == first
