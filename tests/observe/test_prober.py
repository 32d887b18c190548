"""The prober: who is checked when, whose verdict counts, and how many are checked at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from metalwright.errors import StoreError, TemporaryError
from metalwright.model.checks import Check, Command, PhoneHome, Ping, Ssh, Verdict
from metalwright.model.documents import Metadata, Node
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import NodeSpec
from metalwright.model.report import CheckResult, Phase, Report
from metalwright.model.validation import Validation
from metalwright.observe import Prober, ProbeSettings

from .parts import Clock, HeldExecutor, SerialExecutor

PING, SSH = Check(name="ping", ping=Ping(), timeout=7), Check(name="ssh", ssh=Ssh())
HOME = Check(name="home", phone_home=PhoneHome())
MOUNT = Check(name="mount", command=Command(run="true"))


class Lab:
    """Machines that pass or fail as they are told, and their reports."""

    def __init__(self, executor: Executor | None = None, **settings: Any) -> None:
        self.clock = Clock()
        self.wakes = 0
        self.asked: list[tuple[str, str, float]] = []
        self.said: dict[tuple[str, str], str] = {}
        self.reported: dict[str, Report] = {}
        self.unreadable = False
        self.executor = executor or SerialExecutor()
        self.prober = Prober(
            self.clock,
            self.executor,
            self.wake,
            checkers={"fake": self},
            reports=self.reports,
            settings=ProbeSettings(**settings),
        )

    def wake(self) -> None:
        self.wakes += 1

    def check(self, node: Node, check: Check, timeout_s: float) -> str:
        name = node.metadata.name
        self.asked.append((name, check.name, timeout_s))
        said = self.said.get((name, check.name), "")
        if said == "raises":
            raise TemporaryError("no session is free")
        return said

    def reports(self, nodes: Iterable[str]) -> Mapping[str, Report]:
        if self.unreadable:
            raise StoreError("the disk is full")
        return {name: self.reported[name] for name in nodes if name in self.reported}

    def follow(self, *validations: Validation) -> None:
        self.prober.follow(FrozenDict({each.node.metadata.name: each for each in validations}))

    def validation(self, name: str = "n1", driver: str = "fake", **changes: Any) -> Validation:
        values: dict[str, Any] = {
            "node": Node(metadata=Metadata(name=name), spec=NodeSpec(driver=driver)),
            "operation_id": "o1",
            "attempt": 1,
            "template_digest": "d" * 64,
            "since": self.clock.now,
            "checks": (PING, SSH),
        }
        return Validation(**(values | changes))

    def report(self, **changes: Any) -> Report:
        values: dict[str, Any] = {
            "node": "n1",
            "at": self.clock.now,
            "boot_id": "b1",
            "phase": Phase.RUNNING,
            "operation_id": "o1",
            "attempt": 1,
            "template_digest": "d" * 64,
        }
        return Report(**(values | changes))

    def verdicts(self, node: str = "n1") -> dict[str, str | None]:
        """What is known: the reason, empty for a pass."""
        return {name: each.message for name, each in self.prober.snapshot()[node].items()}


def test_every_check_is_made_at_once_and_its_verdict_is_as_old_as_the_asking() -> None:
    lab = Lab()
    lab.said["n1", "ssh"] = "connection refused"
    lab.follow(lab.validation())
    assert sorted(lab.asked) == [("n1", "ping", 7.0), ("n1", "ssh", 10.0)]
    assert lab.prober.snapshot() == {
        "n1": {
            "ping": Verdict(at=lab.clock.now, passed=True),
            "ssh": Verdict(at=lab.clock.now, passed=False, message="connection refused"),
        }
    }
    assert lab.wakes == 2


def test_a_failed_check_is_made_again_ever_later_and_a_passed_one_seldom() -> None:
    lab = Lab(pause_min_s=1.0, pause_max_s=8.0)
    lab.said["n1", "ssh"] = "connection refused"
    mine, times = lab.validation(), []
    began = lab.clock.now
    for _ in range(40):
        lab.asked.clear()
        lab.follow(mine)
        at = (lab.clock.now - began).total_seconds()
        times += [(name, at) for _, name, _ in lab.asked]
        due = lab.prober.next_due_at()
        assert due is not None
        lab.clock.now = due
        if at >= 40:
            break
    assert [at for name, at in times if name == "ssh"] == [0, 1, 3, 7, 15, 23, 31, 39]
    assert [at for name, at in times if name == "ping"] == [0, 8, 16, 24, 32, 40]


def test_the_latest_verdict_counts_and_only_news_wakes() -> None:
    lab = Lab()
    lab.said["n1", "ssh"] = "connection refused"
    mine = lab.validation()
    lab.follow(mine)
    lab.wakes = 0
    lab.clock.forward(2)
    lab.follow(mine)
    assert lab.wakes == 0
    lab.said.clear()
    lab.clock.forward(5)
    lab.follow(mine)
    assert lab.wakes == 1
    assert lab.verdicts() == {"ping": "", "ssh": ""}


def test_an_exception_is_no_pass() -> None:
    lab = Lab()
    lab.said["n1", "ping"] = "raises"
    lab.follow(lab.validation())
    assert lab.verdicts()["ping"] == "no session is free"
    assert not lab.prober.snapshot()["n1"]["ping"].passed


def test_what_an_attempt_that_is_over_said_is_forgotten_also_when_it_comes_late() -> None:
    held = HeldExecutor()
    lab = Lab(held)
    lab.follow(lab.validation(checks=(PING,)))
    lab.clock.forward(60)
    lab.follow(lab.validation(checks=(PING,), attempt=2))
    assert len(held.held) == 2
    held.release(0)
    assert lab.prober.snapshot() == {"n1": {}}
    assert lab.wakes == 0
    held.release(0)
    assert lab.verdicts() == {"ping": ""}
    lab.follow()
    assert lab.prober.snapshot() == {}
    assert lab.prober.next_due_at() is None


@pytest.mark.parametrize("kept", [True, False])
def test_an_edited_check_is_made_anew_and_the_others_keep_their_verdict(kept: bool) -> None:
    lab = Lab()
    mine = lab.validation()
    lab.follow(mine)
    lab.asked.clear()
    edited = PING if kept else replace(PING, timeout=9)
    lab.follow(replace(mine, checks=(edited, SSH)))
    assert lab.asked == ([] if kept else [("n1", "ping", 9.0)])


def test_a_machine_whose_address_was_edited_is_another_one() -> None:
    lab = Lab()
    mine = lab.validation()
    lab.follow(mine)
    lab.asked.clear()
    moved = replace(mine.node, spec=replace(mine.node.spec, address="10.0.0.8"))
    lab.follow(replace(mine, node=moved))
    assert len(lab.asked) == 2


def test_so_many_are_checked_at_once_and_no_more() -> None:
    held = HeldExecutor()
    lab = Lab(held, in_flight_max=3)
    lab.follow(*(lab.validation(f"n{number}") for number in range(10)))
    assert len(held.held) == 3
    while held.held:
        held.release(0)
    assert held.most == 3
    assert len(lab.asked) == 20
    assert {name for name, _, _ in lab.asked} == {f"n{number}" for number in range(10)}


def test_a_machine_of_another_driver_is_asked_over_the_network() -> None:
    lab = Lab()
    node = Node(metadata=Metadata(name="no-such-machine.invalid"), spec=NodeSpec(driver="ipmi"))
    lab.follow(lab.validation(node=node, checks=(SSH, HOME)))
    assert lab.asked == []
    (verdict,) = lab.prober.snapshot()["no-such-machine.invalid"].values()
    assert verdict.message.startswith("no-such-machine.invalid: ")


def test_a_report_is_judged_as_soon_as_it_is_there() -> None:
    lab = Lab()
    mine = lab.validation(driver="ipmi", checks=(HOME, MOUNT))
    lab.follow(mine)
    assert lab.prober.snapshot() == {"n1": {}}
    due = lab.prober.next_due_at()
    assert due is not None
    assert lab.clock.now < due <= lab.clock.now + timedelta(seconds=30)
    lab.reported["n1"] = lab.report(attempt=7, at=lab.clock.now - timedelta(hours=1))
    lab.follow(mine)
    assert lab.prober.snapshot() == {"n1": {}}
    lab.reported["n1"] = lab.report()
    lab.follow(mine)
    assert lab.verdicts() == {"home": ""}
    assert lab.wakes == 1


def test_the_result_of_a_command_is_not_lost_when_a_later_report_has_none() -> None:
    lab = Lab()
    mine = lab.validation(driver="ipmi", checks=(MOUNT,))
    lab.reported["n1"] = lab.report(checks=(CheckResult(name="mount", exit_status=0),))
    lab.follow(mine)
    lab.reported["n1"] = lab.report()
    lab.follow(mine)
    assert lab.verdicts() == {"mount": ""}


def test_a_store_that_cannot_be_read_does_not_stop_the_other_checks() -> None:
    lab = Lab()
    lab.unreadable = True
    mine, other = lab.validation("n1"), lab.validation("n2", driver="ipmi", checks=(HOME,))
    with pytest.raises(StoreError):
        lab.follow(mine, other)
    assert lab.verdicts() == {"ping": "", "ssh": ""}


def test_a_snapshot_is_the_same_value_until_something_changes() -> None:
    lab = Lab()
    mine = lab.validation()
    lab.follow(mine)
    first = lab.prober.snapshot()
    lab.follow(mine)
    assert lab.prober.snapshot() is first


def test_after_the_end_nothing_is_asked() -> None:
    lab = Lab()
    lab.prober.close()
    lab.follow(lab.validation())
    assert lab.asked == []


def test_an_executor_that_is_shut_down_is_no_error() -> None:
    class Ended(SerialExecutor):
        def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
            raise RuntimeError("cannot schedule new futures after shutdown")

    lab = Lab(Ended())
    lab.follow(lab.validation())
    assert lab.prober.snapshot() == {"n1": {}}
