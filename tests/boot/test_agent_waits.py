"""The agent and a service that is away, that refuses, or that breaks off."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from .agent_rig import MIB, SHELLS, Machine, Service, serving

in_every_shell = pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
AN_HOUR_IN_TRIES = 6
PASSES = """echo >>{root}/pauses
read -r up rest <{root}/proc/uptime
echo "$((${{up%.*}} + 600)).00 $rest" >{root}/proc/uptime"""
"""A sleep of ten minutes that takes no time."""


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as made:
        yield made


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "machine")
    made.tools["sleep"] = PASSES.format(root=made.root)
    return made


def pauses(machine: Machine) -> int:
    told = machine.root / "pauses"
    return len(told.read_text().splitlines()) if told.exists() else 0


def phases(service: Service) -> list[str]:
    return [each["phase"] for each in service.reports]


@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"]], ids=lambda shell: shell[0])
def test_a_ramdisk_waits_for_its_service_for_as_long_as_it_is_on(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    device = machine.disk("mwd0", 40)
    service.statuses = [503] * 50
    service.answers = ["wipe mwd0 metadata\n"]
    done = machine.run(shell, f"mw.url={service.base}/b/T mw.mode=wipe")
    assert done.returncode == 0, done.stderr
    assert phases(service) == ["ready", "wiping", "wiped"]
    assert service.reports[-1]["wipes"][0]["verified"] is True
    assert device.stat().st_size == 40 * MIB
    assert pauses(machine) == 50
    assert done.stderr.count("503") == 1  # the same words are said once


def test_a_running_system_waits_for_its_service_for_an_hour(machine: Machine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = machine.run(["dash"], f"mw.url=http://127.0.0.1:{port}/b/T")
    assert done.returncode == 1
    assert "no answer to the report 'running'" in done.stderr
    assert pauses(machine) == AN_HOUR_IN_TRIES


@pytest.mark.parametrize("mode", ["wipe", "install", "run"])
def test_a_service_that_keeps_refusing_is_believed(
    machine: Machine, service: Service, mode: str
) -> None:
    machine.tools["sleep"] = f"echo >>{machine.root}/pauses"
    service.statuses = [403, 429, *[403] * 40]
    done = machine.run(["dash"], f"mw.url={service.base}/b/T mw.mode={mode}")
    assert done.returncode == 1
    assert pauses(machine) == 30
    assert service.reports == []


@in_every_shell
def test_an_answer_counts_when_it_is_whole(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    """What is told to be checked may hold a backslash, and comes as it was written."""
    service.answers = ["check one 5 printf 'a\\\\tb'\n"]
    done = machine.run(shell, f"mw.url={service.base}/b/T")
    assert done.returncode == 0, done.stderr
    assert service.reports[1]["checks"] == [{"name": "one", "exit_status": 0, "message": "a\\tb"}]


@in_every_shell
def test_an_image_whose_download_breaks_off_is_fetched_anew(
    machine: Machine, service: Service, shell: list[str]
) -> None:
    device = machine.disk("mwd0", 4)
    service.image = bytes(range(256)) * 4096 * 2
    service.breaks = [0, MIB + 10]
    sha256 = hashlib.sha256(service.image).hexdigest()
    service.answers = [f"install mwd0 {sha256} {len(service.image)}\n"]
    done = machine.run(shell, f"mw.url={service.base}/b/T mw.mode=install")
    assert done.returncode == 0, done.stderr
    assert phases(service) == ["ready", *["installing"] * 3, "installed"]
    assert device.read_bytes() == service.image + bytes(2 * MIB)


def test_an_image_that_is_another_one_is_not_installed(machine: Machine, service: Service) -> None:
    machine.disk("mwd0", 4)
    service.image = b"another image"
    service.answers = [f"install mwd0 {'0' * 64} {len(service.image)}\n"]
    done = machine.run(["dash"], f"mw.url={service.base}/b/T mw.mode=install")
    assert done.returncode == 1
    assert phases(service) == ["ready", *["installing"] * 5, "failed"]
    assert "it should be 0000" in service.reports[-1]["message"]
