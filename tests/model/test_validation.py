"""Checks as they are declared, and what a machine's own report says about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from metalwright.model.checks import (
    Check,
    Command,
    FactsMatch,
    Links,
    PhoneHome,
    Ping,
    SmartPassed,
    Ssh,
    Verdict,
    joined,
)
from metalwright.model.documents import Metadata, Node, Pool
from metalwright.model.fields import WRITTEN
from metalwright.model.frozen import FrozenDict
from metalwright.model.hardware import Nic, NodeSpec
from metalwright.model.inventory import Commit, Inventory, ResolvedTemplate, checks_of
from metalwright.model.report import (
    CheckResult,
    DiskFact,
    Facts,
    NicFact,
    Phase,
    Report,
    Smart,
)
from metalwright.model.template import BootTemplateSpec, Method
from metalwright.model.tenancy import PoolSpec, PowerState, Resting
from metalwright.model.validation import AGAIN_S, MESSAGE_MAX, Validation, asks, judge

SINCE = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
MAC, OTHER_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"
NODE = Node(
    metadata=Metadata(name="n1"), spec=NodeSpec(driver="fake", serial="S1", nics=(Nic(mac=MAC),))
)
HOME = Check(name="home", phone_home=PhoneHome())
MATCH = Check(name="hardware", facts=FactsMatch())
CABLES = Check(name="cables", links=Links())
DISKS = Check(name="disks", smart=SmartPassed())
MOUNT = Check(name="mount", command=Command(run="mountpoint /srv", exit_status=1))
VALIDATION = Validation(
    node=NODE,
    operation_id="o1",
    attempt=3,
    template_digest="d" * 64,
    since=SINCE,
    checks=(HOME, MATCH, CABLES, DISKS, MOUNT),
)


def facts(**changes: Any) -> Facts:
    values: dict[str, Any] = {
        "serial": "S1",
        "nics": (NicFact(name="eth0", mac=MAC, link=True),),
        "disks": (DiskFact(name="sda", serial="A1", smart=Smart.PASSED),),
    }
    return Facts(**(values | changes))


def report(**changes: Any) -> Report:
    values: dict[str, Any] = {
        "node": "n1",
        "at": SINCE - timedelta(seconds=5),
        "boot_id": "b1",
        "phase": Phase.RUNNING,
        "operation_id": "o1",
        "attempt": 3,
        "template_digest": "d" * 64,
        "facts": facts(),
        "checks": (CheckResult(name="mount", exit_status=1),),
    }
    return Report(**(values | changes))


def nic(link: bool | None, mac: str = MAC) -> Facts:
    return facts(nics=(NicFact(name="eth0", mac=mac, link=link),))


def disk(smart: Smart | None) -> Facts:
    good = DiskFact(name="sda", serial="A1", smart=Smart.PASSED)
    return facts(disks=(good, DiskFact(name="sdb", smart=smart)))


@pytest.mark.parametrize("check", VALIDATION.checks, ids=lambda check: check.name)
def test_a_healthy_machine_passes(check: Check) -> None:
    assert judge(check, VALIDATION, report()) == Verdict(at=SINCE, passed=True)


@pytest.mark.parametrize(
    ("check", "said", "why"),
    [
        (HOME, {"template_digest": "e" * 64}, "it runs template eeeeeeeeeeee"),
        (HOME, {"template_digest": ""}, "it runs template unknown"),
        (MATCH, {"facts": facts(serial="S2")}, "the serial is S2, git declares S1"),
        (CABLES, {"facts": nic(link=False)}, f"eth0 ({MAC}) has no link"),
        (CABLES, {"facts": nic(link=None)}, f"eth0 ({MAC}) does not tell"),
        (CABLES, {"facts": nic(link=True, mac=OTHER_MAC)}, f"{MAC} is not there"),
        (DISKS, {"facts": disk(Smart.FAILED)}, "sdb (no serial) says FAILED"),
        (DISKS, {"facts": disk(None)}, "sdb (no serial) does not tell"),
        (DISKS, {"facts": facts(disks=())}, "the machine reports no disk"),
        (MOUNT, {"checks": (CheckResult(name="mount", exit_status=0),)}, "exit status 0"),
        (
            MOUNT,
            {"checks": (CheckResult(name="mount", exit_status=32, message="not a mountpoint"),)},
            "exit status 32: not a mountpoint",
        ),
    ],
)
def test_what_is_wrong_or_unknown_has_not_passed(
    check: Check, said: dict[str, Any], why: str
) -> None:
    verdict = judge(check, VALIDATION, report(**said))
    assert verdict is not None
    assert not verdict.passed
    assert verdict.message == why


def test_a_machine_without_declared_interfaces_has_no_cables_to_vouch_for() -> None:
    bare = replace(VALIDATION, node=replace(NODE, spec=replace(NODE.spec, nics=())))
    verdict = judge(CABLES, bare, report())
    assert verdict == Verdict(at=SINCE, passed=False, message="git declares no interface")


@pytest.mark.parametrize(
    ("check", "said"),
    [
        (HOME, None),
        (HOME, {"attempt": 2}),
        (HOME, {"operation_id": "o0"}),
        (HOME, {"phase": Phase.INSTALLED}),
        (HOME, {"phase": Phase.FAILED}),
        (MATCH, {"facts": None}),
        (MOUNT, {"checks": ()}),
        (MOUNT, {"checks": (CheckResult(name="other", exit_status=1),)}),
        (Check(name="ping", ping=Ping()), {}),
    ],
)
def test_a_report_of_another_boot_or_about_something_else_says_nothing(
    check: Check, said: dict[str, Any] | None
) -> None:
    assert judge(check, VALIDATION, report(**said) if said is not None else None) is None


def test_a_report_from_after_the_beginning_counts_whatever_asked_for_the_boot() -> None:
    late = report(operation_id="", attempt=0, at=SINCE + timedelta(seconds=9))
    assert judge(HOME, VALIDATION, late) == Verdict(at=late.at, passed=True)


def test_what_a_command_says_is_cut() -> None:
    loud = CheckResult(name="mount", exit_status=2, message="x" * 5_000)
    verdict = judge(MOUNT, VALIDATION, report(checks=(loud,)))
    assert verdict is not None
    assert len(verdict.message) == MESSAGE_MAX


def written(kind: Any, value: Any) -> Any:
    return TypeAdapter(kind).validate_python(value, context=WRITTEN)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"name": "a"}, "should give one of phoneHome, facts"),
        ({"name": "a", "ping": {}, "ssh": {}}, "should give one of phoneHome, facts"),
        ({"name": "a", "ping": {}, "timeout": "11m"}, "a timeout from 1s to 10m"),
        ({"name": "a", "ping": {}, "timeout": "0s"}, "a timeout from 1s to 10m"),
        ({"name": "a", "ping": {}, "timeout": 5}, "should be a duration"),
        ({"name": "A b", "ping": {}}, "match pattern"),
        ({"name": "a", "ping": {"count": 21}}, "less than or equal to 20"),
        ({"name": "a", "http": {"path": "status"}}, "match pattern"),
        ({"name": "a", "command": {"run": "a\nb"}}, "match pattern"),
        ({"name": "a", "command": {"run": " a"}}, "match pattern"),
        ({"name": "a", "command": {}}, "Field required"),
        ({"name": "a", "telnet": {}}, "Unexpected keyword argument"),
    ],
)
def test_what_is_no_check_is_refused(value: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        written(Check, value)


def test_two_checks_of_one_name_are_refused() -> None:
    twice = {"validation": [{"name": "a", "ping": {}}, {"name": "a", "ssh": {}}]}
    with pytest.raises(ValidationError, match="should have each name once; there twice: a"):
        written(BootTemplateSpec, twice)


def test_there_are_32_checks_at_most() -> None:
    many = {"validation": [{"name": f"c{number}", "ping": {}} for number in range(33)]}
    with pytest.raises(ValidationError, match="at most 32 items"):
        written(BootTemplateSpec, many)


def test_a_nearer_check_takes_the_place_of_one_of_its_name() -> None:
    far, near = Check(name="a", ping=Ping()), Check(name="a", ping=Ping(count=3))
    other = Check(name="b", ssh=Ssh())
    assert joined((far, other), (near,)) == (near, other)


def test_the_checks_of_the_revision_count_and_those_of_the_pool_come_on_top() -> None:
    ping, better = Check(name="a", ping=Ping()), Check(name="a", ping=Ping(count=2))
    ssh, lax = Check(name="b", ssh=Ssh()), Check(name="a", ping=Ping(count=5))

    def made(digest: str, *checks: Check) -> ResolvedTemplate:
        return ResolvedTemplate(
            name="t", chain=("t",), method=Method.LOCAL, validation=checks, digest=digest
        )

    def declared(template: ResolvedTemplate | None, *checks: Check) -> Inventory:
        spec = PoolSpec(
            owner="lab", resting=Resting(power=PowerState.OFF), nodes=("n1",), validation=checks
        )
        return Inventory(
            revision=Commit(id="c" * 40, author="A <a@b>", subject="s", at=SINCE),
            pools=FrozenDict(ci=Pool(metadata=Metadata(name="ci"), spec=spec)),
            resolved=FrozenDict(t=template) if template is not None else FrozenDict(),
        )

    booted = made("1", ping)
    assert checks_of(declared(made("1", better)), "ci", booted) == (better,)
    assert checks_of(declared(made("2", better)), "ci", booted) == (ping,)
    assert checks_of(declared(None), "ci", booted) == (ping,)
    assert checks_of(declared(booted, ssh), "ci", booted) == (ping, ssh)
    assert checks_of(declared(booted, lax), "ci", booted) == (lax,)
    assert checks_of(declared(None, ssh), "ci", None) == (ssh,)
    assert checks_of(declared(booted), "gone", booted) == (ping,)


def test_a_resolved_template_that_is_read_back_is_the_same_and_can_be_a_key() -> None:
    """Plans compare templates of the store with those of git, and remember by the pair."""
    adapter = TypeAdapter(ResolvedTemplate)
    before = ResolvedTemplate(
        name="t",
        chain=("t",),
        method=Method.LOCAL,
        files=FrozenDict({"ks.cfg": "text"}),
        validation=(HOME, MATCH, CABLES, DISKS, MOUNT, Check(name="ping", ping=Ping(count=2))),
        digest="d" * 64,
    )
    after = adapter.validate_json(adapter.dump_json(before))
    assert after == before
    assert hash(after) == hash(before)


def test_the_agent_runs_the_commands_and_reports_again_until_all_that_is_its_to_tell_is_well() -> (
    None
):
    command, again = "check mount 10 mountpoint /srv", f"again {AGAIN_S}"
    failed = (CheckResult(name="mount", exit_status=0),)
    assert asks(VALIDATION, report(checks=())) == (command,)
    assert asks(VALIDATION, report(checks=failed)) == (again, command)
    assert asks(VALIDATION, report()) == ()
    assert asks(VALIDATION, report(facts=nic(link=False))) == (again, command)
    cables = replace(VALIDATION, checks=(CABLES, Check(name="ping", ping=Ping())))
    assert asks(cables, report(facts=nic(link=False))) == (again,)
    assert asks(cables, report()) == ()
    assert asks(replace(VALIDATION, checks=()), report()) == ()
