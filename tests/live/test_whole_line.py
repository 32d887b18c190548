"""The whole line on real parts: a commit becomes the state of twelve machines, and a revert undoes
it.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metalwright.model.observed import BootDevice, Power
from metalwright.model.operation import EffectKind

from .bmc_farm import BmcFarm
from .lab import Lab, in_flight_max, overlap_max

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

LIMIT = 3
CONVERGE_S = 120.0


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with BmcFarm(12, tmp_path / "farm") as farm:
        lab = Lab(tmp_path / "lab", farm)
        try:
            yield lab
        finally:
            lab.close()


def adopted(lab: Lab) -> Lab:
    done = lab.mw("adopt", "*")
    assert done.returncode == 0, done.stderr
    return lab


def names(first: int, last: int) -> set[str]:
    return {f"n{number:02}" for number in range(first, last + 1)}


def converge(lab: Lab, wanted: set[str]) -> None:
    lab.wait(lambda: lab.on() == wanted and lab.idle(), CONVERGE_S, f"{sorted(wanted)} on")


def assert_nothing_twice(lab: Lab, transitions: list[str]) -> None:
    """Each machine of the eight was switched just so, the four others never."""
    for index in lab.farm:
        seen = [each.words for each in lab.farm.log(index) if each.words.startswith("power")]
        assert seen == (transitions if index < 8 else []), (lab.name(index), lab.farm.log(index))


def test_a_commit_becomes_the_state_of_machines_and_a_revert_takes_it_back(lab: Lab) -> None:
    adopted(lab)
    code, plan = lab.plan()
    assert (code, plan["actions"]) == (0, [])

    commit = lab.assign("eight", "n[01-08]")
    code, plan = lab.plan()
    assert code == 2
    assert {action["node"] for action in plan["actions"]} == names(1, 8)
    assert sum(action["startsNow"] for action in plan["actions"]) == LIMIT
    reason = plan["actions"][0]["reasons"][0]
    assert reason["commit"]["id"] == commit
    assert reason["source"]["path"] == "assignments/eight.yaml"

    lab.start()
    converge(lab, names(1, 8))
    for index in lab.farm:
        assert lab.farm.ipmitool_power(index) is (Power.ON if index < 8 else Power.OFF)
        if index < 8:
            assert lab.farm.ipmitool_boot_device(index) is BootDevice.PXE
    assert lab.plan()[0] == 0
    assert 1 < in_flight_max(lab.journal()) <= LIMIT
    spans = [(log[0].at, log[-1].at) for index in range(8) for log in [lab.farm.log(index)]]
    assert overlap_max(spans) <= LIMIT
    assert_nothing_twice(lab, ["power 1"])

    lab.git("revert", "--no-edit", "HEAD")
    revert = lab.git("rev-parse", "HEAD")
    converge(lab, set())
    assert all(lab.farm.ipmitool_power(index) is Power.OFF for index in lab.farm)
    assert lab.plan()[0] == 0
    assert in_flight_max(lab.journal()) <= LIMIT
    assert_nothing_twice(lab, ["power 1"])  # off by the soft way, which is no `power 0`

    assert lab.end() == 0
    history = lab.mw("history").stdout
    assert history.index(revert[:12]) < history.index(commit[:12])
    assert "Ada Operator <ada@lab.example>" in history
    assert "8 x n[01-08]" in history
    assert_no_secret(lab, lab.mw("status", "--format", "json").stdout + history)


def assert_no_secret(lab: Lab, shown: str) -> None:
    """The password is in its own file, and in nothing that was shown, logged or kept."""
    secret = lab.farm.password.encode()
    files = [path for path in lab.home.rglob("*") if path.is_file() and path.name != "password"]
    assert any(path.suffix == ".sqlite" for path in files)
    assert secret not in shown.encode()
    assert [path for path in files if secret in path.read_bytes()] == []


def test_kill_9_at_ten_random_points_changes_nothing_about_the_end(lab: Lab) -> None:
    adopted(lab)
    dice = random.Random(20261121)
    lab.assign("eight", "n[01-08]")
    for kill in range(10):
        lab.start()
        time.sleep(dice.uniform(0.6, 2.4))
        if kill == 5:
            lab.git("revert", "--no-edit", "HEAD")
        if kill == 7:
            lab.git("revert", "--no-edit", "HEAD")
        lab.end(signal.SIGKILL)
    lab.start()
    converge(lab, names(1, 8))
    assert lab.plan()[0] == 0
    assert in_flight_max(lab.journal()) <= LIMIT
    assert_each_intent_once(lab)


def assert_each_intent_once(lab: Lab) -> None:
    """No machine was switched more often than there were operations that wanted it switched."""
    operations: dict[str, set[str]] = {}
    for entry in lab.journal():
        effect, operation = entry.effect, entry.operation_id
        if entry.event == "intent" and effect is not None and operation is not None:
            kinds = operations.setdefault(entry.node, set())
            kinds |= {operation} if effect.kind is EffectKind.POWER_ON else set()
    for index in lab.farm:
        switched = [each for each in lab.farm.log(index) if each.words == "power 1"]
        allowed = operations.get(lab.name(index), set())
        assert len(switched) <= len(allowed), (lab.name(index), lab.farm.log(index), allowed)
        assert not [each for each in lab.farm.log(index) if each.words.startswith("reset")]


def test_sick_bmcs_are_reported_and_come_back_while_the_others_converge(lab: Lab) -> None:
    adopted(lab)
    lab.farm.kill(0)
    lab.farm.set_password(1, "Another-one-9")
    lab.assign("eight", "n[01-08]")
    lab.farm.hang_mid_session(2, commands=4)
    lab.start()
    healthy = names(4, 8)
    lab.wait(lambda: healthy <= lab.on(), 60, "the healthy nodes on")
    for name, words in (("n01", ()), ("n02", ("credentials",)), ("n03", ())):
        lab.wait(lambda name=name: reported(lab, name) != "", 60, f"{name} reported")
        verdict = reported(lab, name)
        assert "NOT_OBSERVED" in verdict or "in progress" in verdict, verdict
        observed = lab.mw("explain", name).stdout
        assert "asked again at" in observed, observed
        for word in words:
            assert word in observed.lower(), observed
    assert lab.on() == healthy

    lab.farm.restart(0)
    lab.farm.set_password(1, lab.farm.password)
    assert lab.daemon is not None
    lab.daemon.send_signal(signal.SIGHUP)  # the secret was right: only a person can know
    lab.farm.heal(2)
    converge(lab, names(1, 8))
    assert lab.plan()[0] == 0
    assert in_flight_max(lab.journal()) <= LIMIT


def reported(lab: Lab, name: str) -> str:
    """The verdict on a node that is not as desired."""
    said = lab.mw("explain", name).stdout
    line = next((line for line in said.splitlines() if line.startswith("verdict")), "")
    return "" if "as desired" in line else line


def test_a_broken_commit_leaves_the_last_good_one_in_force(lab: Lab) -> None:
    adopted(lab)
    lab.start()
    lab.assign("two", "n[01-02]")
    converge(lab, names(1, 2))
    (lab.inventory / "assignments" / "bad.yaml").write_text(
        "kind: Assignment\nspec: {a: 1, a: 2}\n"
    )
    lab.commit("A mistake")
    lab.wait(lambda: "bad.yaml:2" in lab.log(), 20, "the finding in the log")
    assert lab.on() == names(1, 2)
    assert "bad.yaml:2" in lab.mw("status").stdout
    lab.git("rm", "--quiet", "assignments/bad.yaml")
    lab.assign("one-more", "n03")
    converge(lab, names(1, 3))


def test_a_rewritten_history_stops_and_asks(lab: Lab) -> None:
    adopted(lab)
    before = lab.git("rev-parse", "HEAD")
    lab.start()
    commit = lab.assign("two", "n[01-02]")
    converge(lab, names(1, 2))
    lab.git("reset", "--quiet", "--hard", before)
    lab.assign("other", "n[03-04]")
    lab.wait(lambda: "HISTORY_REWRITTEN" in lab.log(), 20, "the question")
    time.sleep(2)
    assert lab.on() == names(1, 2)
    assert lab.plan()[0] == 3
    policy = lab.inventory / "policy.yaml"
    policy.write_text(policy.read_text() + f"  acknowledge: ['{commit}']\n")
    lab.commit("The rewritten history is what we want")
    converge(lab, names(3, 4))


def test_one_process_drives_the_fleet_and_settings_are_reloaded(lab: Lab) -> None:
    adopted(lab)
    lab.start()
    lab.wait(lambda: "as desired" in lab.log(), 30, "the first sentence")
    refused = lab.mw("apply")
    assert refused.returncode == 1
    assert "drives" in refused.stderr

    text = lab.config.read_text()
    lab.config.write_text(text.replace("interval_s = 2\nbusy", "interval_s = 3\nbusy"))
    lab.wait(lambda: "settings reloaded" in lab.log(), 20, "the reload")
    lab.config.write_text(lab.config.read_text() + "\n[drivers.ipmi]\nworkers_max = 4\n")
    assert lab.daemon is not None
    lab.daemon.send_signal(signal.SIGHUP)
    lab.wait(lambda: "take a restart" in lab.log(), 20, "what takes a restart")
    lab.config.write_text("nonsense = [")
    lab.wait(lambda: "the old ones stay" in lab.log(), 20, "a broken file is refused")
    assert lab.end() == 0
    assert "Traceback" not in lab.log()
