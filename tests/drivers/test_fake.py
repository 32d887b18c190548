"""The simulated fleet as a driver: faults, healing, and one state in several processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from metalwright.drivers.fake import FakeDriver
from metalwright.drivers.fake_faults import Fault, FaultKind
from metalwright.drivers.fake_fleet import FakeFleet
from metalwright.errors import (
    CredentialsError,
    DriverError,
    PermanentError,
    SettingsError,
    TemporaryError,
)
from metalwright.model.checks import Check, Ping
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import Nic, NodeSpec
from metalwright.model.observed import BootProgress, Identity, Power
from metalwright.model.operation import Effect, EffectKind

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
ON = Effect(kind=EffectKind.POWER_ON, argument="netboot", template_digest="a" * 64)
OFF = Effect(kind=EffectKind.POWER_OFF)
SOFT = Effect(kind=EffectKind.SOFT_POWER_OFF)
UUID = "4c4c4544-0051-3010-8052-b4c04f4a3032"
NODE = Node(
    metadata=Metadata(name="n1"),
    spec=NodeSpec(
        driver="fake", serial="5Q0R2J2", system_uuid=UUID, nics=(Nic(mac="52:54:00:12:34:56"),)
    ),
)


class Bench:
    """A driver, its clock, and how long it waited."""

    def __init__(self, state: Path | None = None, **more: Any) -> None:
        self.now = NOW
        self.waited: list[float] = []
        self.driver = FakeDriver(
            state, seed=1, clock=lambda: self.now, wait=self.waited.append, **more
        )

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def power(self) -> Power:
        return self.driver.observe(NODE, 8.0).power

    def apply(self, effect: Effect) -> None:
        self.driver.apply(NODE, effect, 8.0)

    def inject(self, kind: FaultKind, **more: Any) -> None:
        self.driver.inject("n1", Fault(kind=kind, **more))


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.driver.close()


def test_identity_is_what_git_says(bench: Bench) -> None:
    assert bench.driver.observe(NODE, 8.0).identity == Identity(
        serial="5Q0R2J2", system_uuid=UUID, macs=("52:54:00:12:34:56",)
    )


def test_a_swapped_cable_answers_as_somebody_else_and_always_as_the_same(bench: Bench) -> None:
    true = bench.driver.observe(NODE, 8.0).identity
    bench.inject(FaultKind.WRONG_IDENTITY)
    other = bench.driver.observe(NODE, 8.0).identity
    assert other == bench.driver.observe(NODE, 8.0).identity
    assert other.serial != true.serial
    assert other.system_uuid != true.system_uuid
    assert not set(other.macs) & set(true.macs)
    assert Nic(mac=other.macs[0]).mac == other.macs[0]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FaultKind.SILENT, TemporaryError),
        (FaultKind.GARBAGE, PermanentError),
        (FaultKind.WRONG_PASSWORD, CredentialsError),
    ],
)
def test_an_ill_bmc_refuses_both_and_does_nothing(
    bench: Bench, kind: FaultKind, error: type[DriverError]
) -> None:
    bench.inject(kind, until=NOW + timedelta(seconds=60))
    with pytest.raises(error) as caught:
        bench.power()
    assert type(caught.value) is error
    with pytest.raises(error):
        bench.apply(ON)
    bench.later(60)
    assert bench.power() is Power.OFF


def test_silence_lasts_for_the_time_out_and_says_that_it_was_one(bench: Bench) -> None:
    bench.inject(FaultKind.SILENT)
    with pytest.raises(TemporaryError) as caught:
        bench.power()
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert bench.waited == [8.0]


def test_a_slow_bmc_answers_late_or_too_late(bench: Bench) -> None:
    bench.inject(FaultKind.SLOW, delay_s=5)
    assert bench.power() is Power.OFF
    assert bench.waited == [5.0]
    with pytest.raises(TemporaryError):
        bench.driver.observe(NODE, 4.0)
    assert bench.waited[1:] == [4.0]


def test_a_slow_bmc_may_do_what_it_was_told_and_not_say_so(bench: Bench) -> None:
    bench.inject(FaultKind.SLOW, delay_s=20)
    with pytest.raises(TemporaryError):
        bench.apply(ON)
    bench.driver.heal("n1")
    bench.later(10)
    assert bench.power() is Power.ON


def test_a_lost_acknowledgement_is_a_done_effect(bench: Bench) -> None:
    bench.inject(FaultKind.LOSES_ACKNOWLEDGEMENT)
    with pytest.raises(TemporaryError):
        bench.apply(ON)
    bench.later(10)
    assert bench.power() is Power.ON


def test_a_machine_that_ignores_power_acknowledges_it(bench: Bench) -> None:
    bench.inject(FaultKind.IGNORES_POWER)
    bench.apply(ON)
    bench.apply(Effect(kind=EffectKind.SET_BOOT_DEVICE, argument="pxe"))
    bench.later(3_600)
    seen = bench.driver.observe(NODE, 8.0)
    assert (seen.power, seen.boot_device) == (Power.OFF, "pxe")


def test_a_system_that_ignores_the_button_goes_off_when_forced(bench: Bench) -> None:
    bench.apply(ON)
    bench.later(1_000)
    bench.inject(FaultKind.SOFT_OFF_IGNORED)
    bench.apply(SOFT)
    bench.later(300)
    assert bench.power() is Power.ON
    bench.apply(OFF)
    bench.later(10)
    assert bench.power() is Power.OFF


def test_a_boot_hangs_and_the_next_one_after_healing_does_not(bench: Bench) -> None:
    bench.inject(FaultKind.NEVER_BOOTS)
    bench.apply(ON)
    bench.later(1_200)
    assert bench.driver.observe(NODE, 8.0).boot_progress is BootProgress.OS_BOOT_STARTED
    bench.driver.heal("n1")
    bench.apply(OFF)
    bench.later(10)
    bench.apply(ON)
    bench.later(400)
    assert bench.driver.observe(NODE, 8.0).boot_progress is BootProgress.OS_RUNNING


def test_a_flapping_bmc_answers_in_some_minutes_and_not_in_others(bench: Bench) -> None:
    bench.inject(FaultKind.FLAPPING, period_s=60)
    answered = []
    for _ in range(200):
        try:
            bench.power()
            answered.append(True)
        except TemporaryError:
            answered.append(False)
        bench.later(60)
    assert 60 < sum(answered) < 140
    bench.now = NOW
    repeated = []
    for _ in range(3):
        try:
            bench.power()
            repeated.append(True)
        except TemporaryError:
            repeated.append(False)
        bench.later(19)
    assert repeated == [answered[0]] * 3, "it makes up its mind once a period"


def test_speed_shortens_every_stage(bench: Bench) -> None:
    fast = Bench(speed=600)
    fast.apply(ON)
    fast.later(1)
    assert fast.driver.observe(NODE, 8.0).boot_progress is BootProgress.OS_RUNNING
    fast.driver.close()


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_is_none_is_refused(speed: float) -> None:
    with pytest.raises(SettingsError):
        Bench(speed=speed)


class TestHealing:
    @pytest.fixture
    def sick(self) -> Iterator[Bench]:
        silent = (Fault(kind=FaultKind.SILENT),)
        bench = Bench(faults={"n1": silent, "n2": silent})
        yield bench
        bench.driver.close()

    @staticmethod
    def ill(bench: Bench) -> set[str]:
        found = set()
        for name in ("n1", "n2", "n3"):
            node = Node(metadata=Metadata(name=name), spec=NodeSpec(driver="fake"))
            try:
                bench.driver.observe(node, 8.0)
            except TemporaryError:
                found.add(name)
        return found

    def test_one_node_is_healed_of_what_was_configured(self, sick: Bench) -> None:
        assert self.ill(sick) == {"n1", "n2"}
        sick.driver.heal("n1")
        assert self.ill(sick) == {"n2"}

    def test_one_node_is_healed_of_what_all_were_given(self, sick: Bench) -> None:
        sick.driver.inject("*", Fault(kind=FaultKind.SILENT))
        assert self.ill(sick) == {"n1", "n2", "n3"}
        sick.driver.heal("n3")
        assert self.ill(sick) == {"n1", "n2"}

    def test_all_are_healed(self, sick: Bench) -> None:
        sick.driver.inject("n3", Fault(kind=FaultKind.SILENT))
        sick.driver.heal("*")
        assert self.ill(sick) == set()

    def test_a_healed_node_may_fall_ill_again(self, sick: Bench) -> None:
        sick.driver.inject("n1", Fault(kind=FaultKind.SILENT))
        sick.driver.heal("n1")
        sick.driver.heal("*")
        sick.driver.inject("n1", Fault(kind=FaultKind.SILENT))
        assert self.ill(sick) == {"n1"}
        sick.driver.inject("*", Fault(kind=FaultKind.SILENT))
        assert self.ill(sick) == {"n1", "n2", "n3"}


WORKER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from metalwright.drivers.fake import FakeDriver
from metalwright.errors import CredentialsError
from metalwright.model.documents import Metadata, Node
from metalwright.model.hardware import NodeSpec

driver = FakeDriver(Path(sys.argv[1]), seed=1, clock=lambda: datetime.now(UTC))
node = Node(metadata=Metadata(name="n1"), spec=NodeSpec(driver="fake"))
print("ready", flush=True)
for _ in range(int(sys.argv[2])):
    try:
        driver.observe(node, 8.0)
    except CredentialsError:
        pass
driver.close()
"""


class TestProcesses:
    @staticmethod
    def start(state: Path, times: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, str(state), str(times)],
            stdout=subprocess.PIPE,
            text=True,
        )

    def test_no_change_is_lost_between_processes(self, tmp_path: Path) -> None:
        """Each refused login is a change of the same row: read, add one, write."""
        state = tmp_path / "fleet.db"
        bench = Bench(state)
        bench.inject(FaultKind.WRONG_PASSWORD)
        workers = [self.start(state, 300) for _ in range(3)]
        for worker in workers:
            worker.communicate(timeout=60)
            assert worker.returncode == 0
        truth = FakeFleet(state)
        assert truth.node("n1").refused_logins == 900
        truth.close()
        bench.driver.close()

    def test_a_killed_process_leaves_a_state_that_others_go_on_with(self, tmp_path: Path) -> None:
        state = tmp_path / "fleet.db"
        bench = Bench(state)
        bench.inject(FaultKind.WRONG_PASSWORD)
        truth = FakeFleet(state)
        for _ in range(4):
            before = truth.node("n1").refused_logins
            with self.start(state, 1_000_000) as worker:
                assert worker.stdout is not None
                worker.stdout.readline()
                deadline = time.monotonic() + 30
                while truth.node("n1").refused_logins < before + 20:
                    assert time.monotonic() < deadline
                os.kill(worker.pid, signal.SIGKILL)
            with pytest.raises(CredentialsError):
                bench.power()
        with sqlite3.connect(state) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        database.close()
        truth.close()
        bench.driver.close()

    def test_a_node_is_healed_in_the_process_that_drives_it(self, tmp_path: Path) -> None:
        daemon, command = Bench(tmp_path / "fleet.db"), Bench(tmp_path / "fleet.db")
        command.inject(FaultKind.SILENT)
        with pytest.raises(TemporaryError):
            daemon.power()
        command.driver.heal("n1")
        assert daemon.power() is Power.OFF
        daemon.driver.close()
        command.driver.close()

    def test_what_was_done_is_there_after_a_restart(self, tmp_path: Path) -> None:
        first = Bench(tmp_path / "new" / "fleet.db")
        first.apply(ON)
        first.driver.close()
        second = Bench(tmp_path / "new" / "fleet.db")
        second.later(1_000)
        assert second.driver.observe(NODE, 8.0).template_digest == "a" * 64
        second.driver.close()


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "fleet.db"
    state.write_text("this is not a database, and it is long enough to be told from one" * 20)
    with pytest.raises(SettingsError, match=r"fleet\.db"):
        Bench(state)


def test_a_state_of_another_format_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "fleet.db"
    with sqlite3.connect(state) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(SettingsError, match="99"):
        Bench(state)


def test_a_state_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError):
        Bench(tmp_path / "file" / "fleet.db")


def test_a_state_held_by_another_process_is_temporary(tmp_path: Path) -> None:
    """A hung process in the middle of a change is waited for, and then told."""
    bench = Bench(tmp_path / "fleet.db")
    other = sqlite3.connect(tmp_path / "fleet.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert bench.power() is Power.OFF, "reading does not wait for a writer"
    began = time.monotonic()
    with pytest.raises(TemporaryError, match="locked"):
        bench.apply(ON)
    assert time.monotonic() - began < 10
    other.execute("ROLLBACK")
    other.close()
    bench.apply(ON)
    bench.driver.close()


def test_a_machine_passes_its_checks_when_its_system_runs_and_it_is_well() -> None:
    bench, ping = Bench(), Check(name="ping", ping=Ping())
    assert bench.driver.check(NODE, ping, 5.0) == "no answer: the power is off, the boot at None"
    bench.driver.apply(NODE, ON, 8.0)
    bench.later(10)
    assert bench.driver.check(NODE, ping, 5.0).startswith("no answer: the power is on, the boot at")
    bench.later(600)
    assert bench.driver.check(NODE, ping, 5.0) == ""
    bench.driver.inject("n1", Fault(kind=FaultKind.FAILS_CHECKS))
    assert bench.driver.check(NODE, ping, 5.0) == "the simulated machine fails ping"
    bench.driver.heal("n1")
    assert bench.driver.check(NODE, ping, 5.0) == ""
