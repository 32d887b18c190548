"""The daemon on a real PostgreSQL server and real BMCs: one drives, another takes over, and what
befalls the server costs cycles but no machine.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from .bmc_farm import BmcFarm
from .flights import flights, held_max
from .lab import SETTINGS, Lab
from .postgresql import PostgresServer, SmallDisk, postgres_server, small_disk

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

MACHINES = 6
LIMIT = 3
CONVERGE_S = 240.0
"""What a predecessor left without an answer is left alone for 66 s before it is read back."""
SOON_S = 60.0
EFFECTS_END_S = 7.0
"""By then every call that was begun is over."""
DISK_MB = 24
REASON = "x" * 900
HOLDS_MAX = 20


class Host:
    """A machine that may drive the fleet of a lab: settings and a state directory of its own."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.lab, self.name, self.starts = lab, name, 0
        home = lab.home / name
        home.mkdir()
        settings = SETTINGS.replace('"inventory"', f'"{lab.inventory}"')
        settings = settings.replace('"secrets"', f'"{lab.home / "secrets"}"')
        self.config = home / "metalwright.toml"
        self.config.write_text(f'store_url = "{lab.store_url}"\n{settings}', encoding="utf-8")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def _log(self) -> Path:
        return self.lab.home / f"daemon-{self.name}{self.starts:02}.log"

    def start(self) -> None:
        """Start its daemon."""
        self.starts += 1
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "metalwright", "daemon", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def says(self, words: str) -> bool:
        """Whether the daemon that was started last said this."""
        return words in self._log.read_text(errors="replace")

    def runs(self) -> bool:
        """Whether the daemon that was started last still runs."""
        return self.process is not None and self.process.poll() is None

    def ended(self) -> int:
        """The exit status of a daemon that ends by itself."""
        assert self.process is not None
        return self.process.wait(SOON_S)

    def kill(self) -> None:
        """Kill it, whatever state it is in."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(SOON_S)

    def started(self) -> None:
        """Start its daemon and wait until it drives."""
        self.start()
        self.lab.wait(lambda: self.says("started"), SOON_S, f"{self.name} drives")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def disk(server: PostgresServer) -> Iterator[SmallDisk]:
    """A small disk for the tables of the lab's database."""
    with small_disk(DISK_MB) as made:
        server.sql(f"CREATE TABLESPACE small LOCATION '{made.space}'")
        yield made
        server.sql("DROP TABLESPACE small")


@pytest.fixture
def lab(server: PostgresServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Machines that are handed over to a store in a new database, on the small disk if there is
    one.
    """
    on_disk = "TABLESPACE small" if "disk" in request.fixturenames else ""
    with BmcFarm(MACHINES, tmp_path / "farm") as farm:
        server.sql(f"CREATE DATABASE lab TEMPLATE template0 {on_disk}")
        made = Lab(tmp_path / "lab", farm, store_url=server.url("lab"))
        done = made.mw("adopt", "*")
        assert done.returncode == 0, done.stderr
        yield made
        server.sql("DROP DATABASE lab WITH (FORCE)")


@pytest.fixture
def hosts(lab: Lab) -> Iterator[tuple[Host, Host]]:
    pair = (Host(lab, "hv1"), Host(lab, "hv2"))
    yield pair
    for host in pair:
        host.kill()


def all_nodes(lab: Lab) -> set[str]:
    return {lab.name(index) for index in lab.farm}


def converge(lab: Lab, wanted: set[str]) -> None:
    """Wait until just these are on, and see that every machine was told what was journalled first,
    within the limit, and never on again while on.
    """
    lab.wait(lambda: lab.on() == wanted and lab.idle(), CONVERGE_S, f"{sorted(wanted)} on")
    assert lab.plan()[0] == 0
    entries = lab.journal()
    for index in lab.farm:
        log = lab.farm.log(index)
        assert flights(lab.name(index), log, entries)[1] == [], lab.name(index)
        switching = [each.words for each in log if not each.words.startswith("boot")]
        assert ("power 1", "power 1") not in pairwise(switching), (lab.name(index), switching)
    assert 1 < held_max(entries, lambda _node: "fleet")[0]["fleet"] <= LIMIT


def commands(lab: Lab) -> int:
    """How often machines were told something."""
    return sum(len(lab.farm.log(index)) for index in lab.farm)


def under_way(lab: Lab) -> None:
    """Wait until machines are being changed."""
    before = commands(lab)
    lab.wait(lambda: commands(lab) > before + 1, SOON_S, "work under way")


def test_one_host_drives_and_the_other_goes_on_when_it_is_killed(
    lab: Lab, hosts: tuple[Host, Host]
) -> None:
    first, second = hosts
    first.started()
    lab.assign("some", "n[01-03]")
    converge(lab, {"n01", "n02", "n03"})

    second.start()
    assert second.ended() == 1
    assert first.process is not None
    assert second.says(f"process {first.process.pid} on ")
    assert second.says("drives this fleet")
    assert not second.says("Traceback")

    lab.assign("rest", "n[04-06]")
    under_way(lab)
    first.kill()
    second.started()
    converge(lab, all_nodes(lab))
    lab.git("revert", "--no-edit", "HEAD")
    converge(lab, {"n01", "n02", "n03"})


def test_a_host_that_was_frozen_wakes_up_as_the_standby(
    lab: Lab, server: PostgresServer, hosts: tuple[Host, Host]
) -> None:
    """The server takes a machine that fell silent for dead, and its lock is free."""
    first, second = hosts
    first.started()
    lab.assign("all", "n[01-06]")
    under_way(lab)
    assert first.process is not None
    first.process.send_signal(signal.SIGSTOP)
    second.start()
    assert second.ended() == 1
    assert second.says("drives this fleet"), "a frozen one still has the lock"
    server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'lab' "
        f"AND application_name LIKE 'metalwright {first.process.pid} %'"
    )
    second.started()
    lab.wait(lambda: second.says("running") or second.says("as desired"), SOON_S, "a cycle of it")
    first.process.send_signal(signal.SIGCONT)
    assert first.ended() == 1
    assert first.says("drives no more and ends")
    assert second.runs()
    converge(lab, all_nodes(lab))


def test_without_its_server_the_daemon_ends_and_starts_nothing_until_it_is_back(
    lab: Lab, server: PostgresServer, hosts: tuple[Host, Host]
) -> None:
    host, _ = hosts
    host.started()
    lab.assign("all", "n[01-06]")
    under_way(lab)
    server.stop()
    try:
        assert host.ended() == 1
        assert host.says("the connection that held the fleet lock is gone") or host.says(
            "the store cannot be reached"
        )
        assert host.says("drives no more and ends")
        told = commands(lab)
        host.start()  # as systemd does, again and again
        assert host.ended() == 1
        assert host.says("the store cannot be reached, read or written")
        assert not host.says("Traceback")
        refused = lab.mw("status")
        assert refused.returncode == 1
        assert "the store cannot be reached" in refused.stderr
        assert commands(lab) == told
    finally:
        server.start()
    host.started()
    converge(lab, all_nodes(lab))


def test_a_full_disk_of_the_server_holds_everything_up_and_loses_nothing(
    disk: SmallDisk, lab: Lab, hosts: tuple[Host, Host]
) -> None:
    host, _ = hosts
    host.started()
    lab.assign("some", "n[01-02]")
    lab.wait(lambda: lab.on() == {"n01", "n02"} and lab.idle(), CONVERGE_S, "two on")
    disk.fill()
    refused = lab.mw("hold", "n06", "--reason", REASON)
    for _ in range(HOLDS_MAX):  # until the last page of the journal is full
        if refused.returncode != 0:
            break
        refused = lab.mw("hold", "n06", "--reason", REASON)
    assert refused.returncode == 1
    assert "No space left on device" in refused.stderr
    assert "Traceback" not in refused.stderr

    lab.assign("more", "n[03-06]")
    lab.wait(lambda: host.says("nothing is started in this cycle"), SOON_S, "the daemon says so")
    assert host.says("No space left on device")
    time.sleep(EFFECTS_END_S)
    told = commands(lab)
    assert lab.mw("status").returncode == 0, "looking needs no room"
    time.sleep(EFFECTS_END_S)
    assert commands(lab) == told
    assert lab.on() < all_nodes(lab)
    assert host.runs()

    disk.empty()
    lab.wait(lambda: lab.mw("resume", "n06").returncode == 0, SOON_S, "there is space")
    converge(lab, all_nodes(lab))
    assert host.runs()
    assert not host.says("Traceback")
