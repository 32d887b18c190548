"""The whole line on a real Ironic: a commit becomes the state of twenty machines; a change of their
template, and its revert, follow; also when Ironic is killed in the middle.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .ironic_lab import LIMIT, IronicLab
from .ironic_rig import Ironic
from .lab import in_flight_max, overlap_max

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

CONVERGE_S = 240.0


@pytest.fixture
def ironic(tmp_path: Path) -> Iterator[Ironic]:
    with Ironic(tmp_path / "ironic", deploys_max=6, deploy_delay="1,3") as ironic:
        yield ironic


@pytest.fixture
def lab(tmp_path: Path, ironic: Ironic) -> Iterator[IronicLab]:
    lab = IronicLab(tmp_path / "lab", ironic, 20)
    try:
        done = lab.mw("adopt", "*")
        assert done.returncode == 0, done.stderr
        yield lab
    finally:
        lab.close()


def names(first: int, last: int) -> set[str]:
    return {f"n{number:02}" for number in range(first, last + 1)}


def converge(lab: IronicLab, on: set[str]) -> None:
    lab.wait(lambda: lab.settled(on), CONVERGE_S, f"{sorted(on)} deployed and on")
    assert lab.failures() == []


def deployments(lab: IronicLab) -> dict[str, list[tuple[float, float]]]:
    """When each machine was being deployed, by its own book."""
    spans: dict[str, list[tuple[float, float]]] = {}
    begun: dict[str, float] = {}
    for at, name, words in lab.ironic.book("deploy"):
        if words == "begin":
            begun[name] = float(at)
        elif words == "end":
            spans.setdefault(name, []).append((begun.pop(name), float(at)))
    return spans


def test_a_commit_is_deployed_changed_and_reverted_within_the_limit(lab: IronicLab) -> None:
    lab.give("ram", "n[01-14]", "live")
    lab.give("disk", "n[15-18]", "disk")
    lab.start()
    converge(lab, names(1, 18))
    first = lab.deployed()
    assert len(set(first.values())) == 2
    erased = [name for _, name, words in lab.ironic.book("erase") if words == "metadata"]
    assert sorted(erased) == sorted(names(15, 18)), "each once, at the level of the template"
    assert len(lab.ironic.book("erase")) == 4, "nothing that git did not ask for"

    lab.template("live", "console=ttyS1")
    lab.commit("Say it elsewhere")
    lab.wait(lambda: lab.settled(names(1, 18)) and lab.deployed()["n01"] != first["n01"], 240, "B")
    assert {lab.deployed()[name] for name in names(15, 18)} == {first["n15"]}
    lab.git("revert", "--no-edit", "HEAD")
    lab.wait(lambda: lab.deployed() == first and lab.idle(), CONVERGE_S, "A again")

    spans = deployments(lab)
    assert {name: len(each) for name, each in spans.items()} == {
        **dict.fromkeys(names(1, 14), 3),
        **dict.fromkeys(names(15, 18), 1),
    }
    assert 1 < overlap_max([span for each in spans.values() for span in each]) <= LIMIT
    assert 1 < in_flight_max(lab.journal()) <= LIMIT
    assert lab.plan()[0] == 0

    lab.git("rm", "--quiet", "assignments/ram.yaml", "assignments/disk.yaml")
    lab.commit("Give them back")
    lab.wait(lambda: not lab.deployed() and lab.idle(), CONVERGE_S, "all off")
    assert set(lab.ironic.states(names(1, 18)).values()) == {"active"}, "off, with what they hold"
    assert len(lab.ironic.book("erase")) == 4, "giving back erases nothing"
    assert lab.failures() == []


@pytest.mark.parametrize("down_s", [0.0, 12.0])
def test_ironic_killed_in_mid_deployment_is_told_of_and_got_over(
    lab: IronicLab, down_s: float
) -> None:
    lab.give("ram", "n[01-08]", "live")
    lab.start()
    lab.wait(lambda: "deploying" in lab.ironic.states(names(1, 8)).values(), 60, "a deployment")
    lab.ironic.kill()
    time.sleep(down_s)
    lab.ironic.start()
    converge(lab, names(1, 8))
    assert in_flight_max(lab.journal()) <= LIMIT
    retries = [entry for entry in lab.journal() if entry.event == "retry"]
    broken = [each.node for each in retries if "can't be resumed by conductor" in each.detail]
    assert broken, f"the kill came in mid-deployment: {[each.detail for each in retries]}"
    history = lab.mw("explain", broken[0]).stdout + lab.mw("history").stdout
    assert "deploy failed" in lab.log() + history
    assert lab.plan()[0] == 0
