"""The agent, run by real shells on this very machine: what it reports, and what it is told."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .agent_rig import AGENT, SHELLS, Service, serving


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as made:
        yield made


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_running_system_tells_what_it_is(service: Service, shell: list[str]) -> None:
    done = subprocess.run(
        [*shell, str(AGENT), f"{service.base}/b/T"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert service.paths == ["/b/T/report"]
    (report,) = service.reports
    assert report["phase"] == "running"
    assert len(report["boot_id"]) == 36
    facts = report["facts"]
    assert facts["cpus"] == os.cpu_count()
    assert facts["cpu_arch"] == os.uname().machine
    assert abs(facts["memory_mib"] - os.sysconf("SC_PHYS_PAGES") * 4_096 / 2**20) < 64
    for disk in facts["disks"]:
        sectors = Path(f"/sys/block/{disk['name']}/size").read_text()
        assert disk["bytes"] == int(sectors) * 512


def test_the_checks_that_the_service_asks_for_are_made_on_the_machine(service: Service) -> None:
    service.answers = [
        'check good 5 echo "it is" fine\ncheck bad 5 cat; exit 3\ncheck slow 1 sleep 9\n'
    ]
    done = subprocess.run(["sh", str(AGENT), f"{service.base}/b/T"], timeout=60, check=False)
    assert done.returncode == 0
    first, second = service.reports
    assert "checks" not in first
    assert second["checks"] == [
        {"name": "good", "exit_status": 0, "message": "it is fine"},
        {"name": "bad", "exit_status": 3, "message": ""},
        {"name": "slow", "exit_status": 124, "message": ""},
    ]


def test_checks_are_made_again_for_as_long_as_the_service_says_so(service: Service) -> None:
    service.answers = ["check first 5 exit 1\n", "again 1\ncheck first 5 true\n", "again 1\n"]
    done = subprocess.run(["sh", str(AGENT), f"{service.base}/b/T"], timeout=60, check=False)
    assert done.returncode == 0
    told = [[each["exit_status"] for each in one.get("checks", [])] for one in service.reports]
    assert told == [[], [1], [0], []]
    assert all(one["phase"] == "running" and one["facts"]["cpus"] for one in service.reports)


def test_a_system_on_its_own_disk_asks_for_its_address_until_it_is_known(service: Service) -> None:
    environment = os.environ | {"MW_SERVICE": service.base}
    done = subprocess.run(["sh", str(AGENT)], env=environment, timeout=60, check=False)
    assert done.returncode == 0
    assert [path.partition("?")[0] for path in service.paths] == ["/hello", "/hello", "/b/T/report"]


def test_an_agent_that_is_told_of_no_service_does_nothing(service: Service) -> None:
    done = subprocess.run(["sh", str(AGENT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "neither mw.url nor mw.service is given" in done.stderr
