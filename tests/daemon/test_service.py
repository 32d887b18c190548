"""The daemon's loop: what it follows, what stays in force, what it keeps for the commands."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from metalwright.daemon import Service, driven_by, open_fleet
from metalwright.daemon.reconcile import FACT_CYCLE, Reconciler
from metalwright.errors import FencedError, LockedError
from metalwright.model.documents import Node
from metalwright.model.observed import Power

from .conftest import WAIT_S, Rig


def power(rig: Rig, names: str = "1234") -> dict[str, Power]:
    """What the simulated machines are, asked directly."""
    with open_fleet(rig.settings(), drive=False, wake=lambda: None) as fleet:
        reconciler = Reconciler(fleet)
        reconciler.follow_head()
        assert reconciler.inventory is not None
        nodes: dict[str, Node] = dict(reconciler.inventory.nodes)
        return {
            f"n{each}": fleet.drivers["fake"].observe(nodes[f"n{each}"], 1.0).power
            for each in names
        }


def test_a_commit_is_carried_out_and_reverted(rig: Rig) -> None:
    rig.adopt_all()
    rig.start()
    rig.wait_settled(rig.git("rev-parse", "HEAD"))
    rig.wait_settled(rig.loan("n[1-2]"))
    assert power(rig) == {"n1": "on", "n2": "on", "n3": "off", "n4": "off"}
    rig.git("revert", "--no-edit", "HEAD")
    result = rig.wait_settled(rig.git("rev-parse", "HEAD"))
    assert set(power(rig).values()) == {Power.OFF}
    assert result.sentence.endswith("4 as desired")


def test_an_operation_belongs_to_the_commit_that_wanted_it_not_to_the_newest(rig: Rig) -> None:
    rig.adopt_all()
    loan = rig.loan("n2")
    rig.write("note.yaml", "# nothing of any machine\n")
    newest = rig.commit("A remark")
    rig.start()
    rig.wait_settled(newest)
    rig.stop()
    with open_fleet(rig.settings(), drive=False, wake=lambda: None) as fleet:
        (operation,) = fleet.store.operations(None, 10)
    assert (operation.node, operation.commit.id) == ("n2", loan)
    assert operation.commit.author == "Ada <ada@lab.example>"
    assert str(operation.source) == "loan.yaml:4"


def test_nothing_is_done_to_nodes_that_nobody_handed_over(rig: Rig) -> None:
    commit = rig.loan("n[1-4]")
    rig.start()
    rig.wait(
        lambda result: result.observed is not None and len(result.observed.nodes) == 4, "all asked"
    )
    plan = rig.results[-1].plan
    assert plan is not None
    assert (plan.revision.id, plan.totals.blocked, plan.actions) == (commit, 4, ())
    assert set(power(rig).values()) == {Power.OFF}


def test_an_error_leaves_the_last_good_revision_in_force_also_after_a_restart(rig: Rig) -> None:
    rig.adopt_all()
    rig.start()
    good = rig.loan("n1")
    rig.wait_settled(good)
    rig.write("bad.yaml", "kind: [")
    rig.commit("A mistake")
    rig.wait(lambda result: "bad.yaml" in result.trouble, "the trouble told")
    assert "the last good commit stays in force" in rig.results[-1].sentence
    rig.stop()
    rig.start()
    result = rig.wait(lambda result: result.plan is not None, "a plan after the restart")
    assert result.plan is not None
    assert result.plan.revision.id == good
    rig.git("rm", "--quiet", "bad.yaml")
    rig.wait_settled(rig.loan("n2"))


def test_a_repository_without_any_good_revision_starts_nothing(rig: Rig) -> None:
    rig.write("rest.yaml", "kind: [")
    rig.commit("A mistake from the beginning")
    rig.start()
    result = rig.wait(lambda result: True, "a cycle")
    assert result.plan is None
    assert "rest.yaml" in result.sentence


def test_a_remote_repository_is_followed(rig: Rig) -> None:
    upstream = rig.home / "upstream.git"
    rig.git("clone", "--quiet", "--bare", str(rig.inventory), str(upstream), where=rig.home)
    rig.adopt_all()
    rig.start(repository=f"file://{upstream}", poll_interval_s=0.3)
    rig.wait_settled(rig.git("rev-parse", "HEAD"))
    commit = rig.loan("n3")
    rig.git("push", "--quiet", str(upstream), "main")
    rig.wait_settled(commit)
    upstream.rename(rig.home / "gone.git")  # unreachable: the last good one stays in force
    result = rig.wait(lambda result: result.trouble != "", "the trouble told")
    assert result.plan is not None
    assert result.plan.revision.id == commit
    assert "upstream.git" in result.sentence
    (rig.home / "gone.git").rename(upstream)
    commit = rig.loan("n4")
    rig.git("push", "--quiet", str(upstream), "main")
    assert rig.wait_settled(commit).trouble == ""


def test_a_repository_that_cannot_be_read_for_a_while_is_told_only_for_that_while(rig: Rig) -> None:
    rig.adopt_all()
    rig.start()
    commit = rig.git("rev-parse", "HEAD")
    rig.wait_settled(commit)
    away = rig.home / "away"
    rig.inventory.rename(away)
    result = rig.wait(lambda result: result.trouble != "", "the trouble told")
    assert result.plan is not None
    assert result.plan.revision.id == commit
    away.rename(rig.inventory)
    rig.wait(lambda result: result.trouble == "", "the trouble over")
    rig.wait_settled(rig.loan("n1"))


def test_the_last_cycle_is_kept_for_the_commands(rig: Rig) -> None:
    rig.adopt_all()
    rig.start()
    commit = rig.git("rev-parse", "HEAD")
    rig.wait_settled(commit)
    loan = rig.loan("n1")
    rig.wait(lambda result: result.plan is not None and result.plan.revision.id == loan, "the loan")
    rig.stop()
    with open_fleet(rig.settings(), drive=False, wake=lambda: None) as fleet:
        kept = fleet.store.fact(FACT_CYCLE)
        assert kept is not None
        assert json.loads(kept[0])["revision"] == loan, "also one of a moment before the end"
        assert set(fleet.store.observed().nodes) == {"n1", "n2", "n3", "n4"}


def test_only_one_process_drives(rig: Rig) -> None:
    with (
        open_fleet(rig.settings(), drive=True, wake=lambda: None),
        pytest.raises(LockedError, match="drives"),
        open_fleet(rig.settings(), drive=True, wake=lambda: None),
    ):
        pass
    with open_fleet(rig.settings(), drive=True, wake=lambda: None):
        pass


def test_who_drives_is_told_beside_it(rig: Rig) -> None:
    assert driven_by(rig.settings()) is None
    rig.start()
    rig.wait(lambda result: True, "a cycle")
    assert driven_by(rig.settings()) == os.getpid()
    rig.stop()
    assert driven_by(rig.settings()) is None


def until_fenced(rig: Rig) -> tuple[threading.Thread, list[Exception]]:
    """A daemon in a thread, and why it ended by itself once it has."""
    service = Service(rig.settings(), rig.config, rig.results.append)
    ended: list[Exception] = []

    def run() -> None:
        try:
            service.run()
        except FencedError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    rig.wait_settled(rig.git("rev-parse", "HEAD"))
    return thread, ended


def test_a_daemon_that_has_lost_its_lock_ends(rig: Rig) -> None:
    rig.adopt_all()
    thread, ended = until_fenced(rig)
    (rig.settings().state_dir / "fleet.lock").unlink()
    rig.loan("n1")
    thread.join(WAIT_S)
    assert not thread.is_alive()
    assert "was removed" in str(ended[0])
    assert power(rig)["n1"] is Power.OFF


def test_a_daemon_that_another_one_has_taken_over_from_ends(rig: Rig) -> None:
    rig.adopt_all()
    thread, ended = until_fenced(rig)
    with open_fleet(rig.settings(), drive=False, wake=lambda: None) as other:
        other.store.claim("another daemon", other.clock())
        rig.loan("n[1-4]")
        thread.join(WAIT_S)
        assert not thread.is_alive()
        (error,) = ended
        assert "another daemon drives" in str(error)
        assert other.store.operations(None, 9) == ()
        assert set(power(rig).values()) == {Power.OFF}


def test_settings_are_reloaded_when_the_file_changes(rig: Rig) -> None:
    service = rig.start()
    rig.wait(lambda result: True, "a cycle")
    text = rig.config.read_text()
    rig.config.write_text(text.replace("interval_s = 0.5\n", "interval_s = 0.4\n"))
    service.wake()
    before = len(rig.results)
    rig.wait(lambda result: len(rig.results) > before + 1, "two more cycles")
    assert service.settings.observe.interval_s == 0.4
    rig.config.write_text("nonsense")
    service.wake()
    before = len(rig.results)
    rig.wait(lambda result: len(rig.results) > before + 1, "two more cycles")
    assert service.settings.observe.interval_s == 0.4


ODD = """
from pathlib import Path

from metalwright.model.observed import Identity, Power, Reading
from metalwright.model.operation import EffectKind

class Odd:
    capabilities = frozenset(EffectKind)

    def __init__(self, settings, secrets, clock):
        self.odd = Path(settings["odd"])

    def observe(self, node, timeout_s):
        serial = {"https://admin:s3cret@192.0.2.1/"} if self.odd.exists() else node.spec.serial
        return Reading(power=Power.OFF, identity=Identity(serial=serial))

    def apply(self, node, effect, timeout_s):
        pass

    def close(self):
        pass
"""


def test_a_cycle_that_breaks_off_ends_no_daemon_and_is_told_without_its_text(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A driver of somebody else's makes a reading with a value of a type that nobody expects."""
    site, odd = rig.home / "site", rig.home / "odd"
    about = site / "odd_bmc-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: odd_bmc\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[metalwright.drivers]\nodd = odd_bmc:Odd\n")
    (site / "odd_bmc.py").write_text(ODD)
    monkeypatch.syspath_prepend(site)
    with rig.config.open("a", encoding="utf-8") as config:
        config.write(f'[drivers.odd]\nodd = "{odd}"\n')
    rig.write("nodes.yaml", (rig.inventory / "nodes.yaml").read_text().replace("fake", "odd", 1))
    rig.commit("A machine of another kind")
    rig.adopt_all()
    odd.touch()
    rig.loan("n1")
    rig.start()
    rig.wait(lambda result: "mistake" in result.trouble, "a cycle that broke off")
    loan = rig.loan("n[1-2]")
    before = len(rig.results)
    rig.wait(lambda result: len(rig.results) > before + 1, "cycles after the commit")
    assert {result.trouble != "" for result in rig.results[before:]} == {True}
    assert power(rig, "2")["n2"] is Power.OFF
    with open_fleet(rig.settings(), drive=False, wake=lambda: None) as fleet:
        kept = fleet.store.fact(FACT_CYCLE)
    assert kept is not None
    assert "AttributeError at identity.py:" in json.loads(kept[0])["sentence"]
    odd.unlink()
    result = rig.wait(lambda result: result.plan is not None, "a plan once more")
    assert result.plan is not None
    assert result.plan.revision.id == loan
    rig.wait(lambda result: power(rig, "2")["n2"] is Power.ON, "the others carried out")
    rig.stop()
    told = capsys.readouterr().err
    assert "a cycle was broken off" in told
    assert "s3cret" not in told + kept[0]


@contextmanager
def no_temporary_files(home: Path) -> Iterator[None]:
    """Their directory is gone, as after a clean-up that went too far; or its disk is full."""
    tempfile.tempdir = str(home / "nowhere")
    try:
        yield
    finally:
        tempfile.tempdir = None


@pytest.mark.parametrize("remote", [True, False])
def test_a_full_disk_for_temporary_files_ends_neither_the_daemon_nor_its_fetching(
    rig: Rig, remote: bool
) -> None:
    rig.adopt_all()
    pushed, chosen = rig.inventory, {}
    if remote:
        pushed = rig.home / "upstream.git"
        rig.git("clone", "--quiet", "--bare", str(rig.inventory), str(pushed), where=rig.home)
        chosen = {"repository": f"file://{pushed}", "poll_interval_s": 0.2}
    rig.start(**chosen)
    rig.wait_settled(rig.git("rev-parse", "HEAD"))
    with no_temporary_files(rig.home):
        commit = rig.loan("n1")
        if remote:
            rig.git("push", "--quiet", str(pushed), "main")
        result = rig.wait(lambda result: "no temporary file" in result.trouble, "the trouble told")
        assert result.plan is not None
    assert rig.wait_settled(commit).trouble == ""


def test_a_repository_that_cannot_be_watched_is_told_and_tried_again(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = rig.settings(repository="https://git.example/inv.git", poll_interval_s=0.05)
    service = Service(refused)
    with open_fleet(rig.settings(), drive=False, wake=lambda: None) as fleet:
        watcher = threading.Thread(
            target=service._watcher.watch, args=(Reconciler(fleet),), kwargs={"remote": False}
        )
        watcher.start()
        watcher.join(0.5)
        assert watcher.is_alive()
        service.stop()
        watcher.join(WAIT_S)
        assert not watcher.is_alive()
    assert capsys.readouterr().err.count("the repository is not watched, only looked at") == 1
