"""Boots, reports and evidence: what ends what, what stays, and who may write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from store_samples import NOW, after, an_applied

from metalwright.errors import FencedError
from metalwright.model.boot import Served
from metalwright.model.boots import IssuedBoot, Noted
from metalwright.model.report import DiskFact, DiskWipe, Facts, Phase, Report
from metalwright.store import Store
from metalwright.store.boots import BOOTS_KEPT_MAX

DISK = DiskFact(name="vda", serial="S1", bytes=1_000)


def a_boot(number: int = 1, **changes: Any) -> IssuedBoot:
    values: dict[str, Any] = {
        "token_sha256": f"{number:064x}",
        "node": "n1",
        "mode": Served.WIPE,
        "issued_at": after(number),
        "operation_id": "o1",
        "attempt": 1,
    }
    return IssuedBoot(**(values | changes))


def a_report(phase: Phase, **changes: Any) -> Report:
    values: dict[str, Any] = {
        "node": "n1",
        "at": after(10),
        "boot_id": "b1",
        "phase": phase,
        "operation_id": "o1",
        "attempt": 1,
    }
    return Report(**(values | changes))


def a_wipe(**changes: Any) -> DiskWipe:
    values: dict[str, Any] = {
        "name": "vda",
        "serial": "S1",
        "bytes": 1_000,
        "method": "zero",
        "verified": True,
    }
    return DiskWipe(**(values | changes))


def test_a_later_boot_ends_the_earlier_one(store: Store) -> None:
    store.issue_boot(a_boot(1), "first")
    store.issue_boot(a_boot(2), "second")
    first, second = store.boot(a_boot(1).token_sha256), store.boot(a_boot(2).token_sha256)
    assert first == replace(a_boot(1), ended_at=after(2))
    assert second == a_boot(2) == store.latest_boot("n1")
    assert store.boot("f" * 64) is None
    assert [line.detail for line in store.journal("n1", 9)] == ["second", "first"]
    store.end_boots("n1", after(3))
    assert store.latest_boot("n1") is None


def test_of_many_boots_the_newest_stay(store: Store) -> None:
    for number in range(1, BOOTS_KEPT_MAX + 4):
        store.issue_boot(a_boot(number), "")
    found = [store.boot(a_boot(n).token_sha256) for n in range(1, BOOTS_KEPT_MAX + 4)]
    assert [boot is None for boot in found] == [True] * 3 + [False] * BOOTS_KEPT_MAX


def test_a_report_is_read_back_and_the_furthest_phase_stays(store: Store) -> None:
    store.issue_boot(a_boot(), "")
    token = a_boot().token_sha256
    ready = a_report(Phase.READY, facts=Facts(serial="X", disks=(DISK,)))
    store.report(ready, token, "ready", (DISK,))
    kept = store.boot(token)
    assert kept is not None
    assert (kept.disks, kept.boot_id, kept.used_at) == ((DISK,), "b1", after(10))
    assert store.heard()["n1"].report == ready
    assert store.said("n1", "o1", 1) is Phase.READY
    store.report(a_report(Phase.WIPING), token)
    store.report(a_report(Phase.READY), token)
    assert store.said("n1", "o1", 1) is Phase.WIPING
    assert store.said("n1", "o1", 2) is None
    assert store.said("n2", "o1", 1) is None


def test_a_boot_that_nobody_asked_for_leaves_how_far_the_operation_came(store: Store) -> None:
    store.report(a_report(Phase.WIPING), "")
    store.report(a_report(Phase.RUNNING, operation_id="", attempt=0), "")
    assert store.said("n1", "o1", 1) is Phase.WIPING
    store.report(a_report(Phase.READY, attempt=2), "")
    assert store.said("n1", "o1", 2) is Phase.READY


def test_evidence_is_kept_and_never_changed(store: Store) -> None:
    store.report(a_report(Phase.WIPED, wipes=(a_wipe(verified=False),)), "")
    store.report(a_report(Phase.WIPED, wipes=(a_wipe(), a_wipe(name="vdb"))), "")
    assert [each.wipe for each in store.wipes("n1", 9)] == [
        a_wipe(verified=False),
        a_wipe(name="vdb"),
    ]
    assert store.wipes("n2", 9) == ()
    assert store.prune(after(11)) == 2
    assert store.wipes("n1", 9) == ()


def test_what_boots_after_a_wipe_may_write_to_the_disks(store: Store) -> None:
    store.issue_boot(a_boot(1), "")
    store.report(a_report(Phase.WIPED), a_boot(1).token_sha256, wiped=True)
    assert store.heard()["n1"].last_wipe == "o1"
    assert store.heard()["n1"].live
    store.issue_boot(a_boot(2, mode=Served.NETBOOT), "")
    assert store.heard()["n1"].last_wipe == ""
    assert not store.heard(["n1"])["n1"].live
    assert store.heard(["n2"]) == {}


def test_only_the_process_that_drives_writes(opened: Callable[[], Store]) -> None:
    one, other = opened(), opened()
    one.adopt({"n1": an_applied()}, "ada", NOW)
    one.claim("one", NOW)
    with pytest.raises(FencedError):
        other.issue_boot(a_boot(), "")
    other.claim("other", after(1))
    with pytest.raises(FencedError):
        one.report(a_report(Phase.READY), "")
    other.note([Noted(node="", event="refused", detail="no such node")], after(2))
    assert one.journal("-", 1)[0].detail == "no such node"
