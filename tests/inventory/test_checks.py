"""What documents say together: both places are named, near names are proposed, work is bounded."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalwright.inventory import Code
from metalwright.inventory.assemble import FINDINGS_MAX, Assembled, assemble
from metalwright.inventory.directory import NO_COMMIT
from metalwright.inventory.parse import parse_file, positions_of
from metalwright.model.finding import Finding
from metalwright.model.hardware import DRIVERS

from .samples import (
    assignment,
    document,
    fleet,
    image,
    many,
    node,
    pool,
    schedule,
    template,
)

CPU_S_MAX = 10.0


def assembled(files: Mapping[str, str], drivers: frozenset[str] = DRIVERS) -> Assembled:
    parsed = {path: parse_file(text.encode()) for path, text in files.items()}
    assert [finding for file in parsed.values() for finding in file.findings] == []
    return assemble(
        NO_COMMIT,
        parsed,
        [],
        lambda paths: {path: positions_of(files[path].encode()) for path in paths},
        drivers,
    )


def only_error(files: Mapping[str, str]) -> Finding:
    errors = assembled(files).errors
    assert len(errors) == 1, errors
    return errors[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            node("n8", 8, nics=[{"mac": "52:54:00:00:00:02"}]),
            "spec.nics.0.mac: the MAC address is also that of node n2, see nodes.yaml:15",
        ),
        (
            node("n8", 8, bmc={"address": "10.0.0.3", "credentials": "a"}),
            "spec.bmc.address: the BMC address is also that of node n2, see nodes.yaml:14",
        ),
        (
            node("n3", 8),
            "metadata.name: two documents of kind Node have this name, see nodes.yaml:19",
        ),
        (
            pool("x", nodes=["n[2-3]"]),
            "spec.nodes.0: n[2-3] are in pool 'lab' already, see pools.yaml:7",
        ),
        (
            assignment("x", nodes=["n1"], when={"start": "2027-01-01T01:00:00+01:00"}),
            (
                "spec.when: n1 is wanted by assignment 'work' too,"
                " from 2027-01-01T00:00:00Z for good, see work.yaml:4"
            ),
        ),
    ],
)
def test_a_clash_names_both_places(text: str, message: str) -> None:
    assert only_error(fleet() | {"x.yaml": text}).message == message


def test_a_duplicate_bmc_on_another_port_is_none() -> None:
    bmc = {"address": "10.0.0.2", "port": 624, "credentials": "a"}
    assert assembled(fleet() | {"x.yaml": node("n8", 8, bmc=bmc)}).errors == ()


@pytest.mark.parametrize(
    ("driver", "hint"),
    [("ipmii", "did you mean 'ipmi'?"), ("redfsh", "did you mean 'redfish'?"), ("acme", "")],
)
def test_a_driver_that_is_not_installed_gets_the_nearest_one(driver: str, hint: str) -> None:
    error = only_error(fleet() | {"x.yaml": node("n8", 8, driver=driver)})
    assert (error.path, error.line, error.code) == ("x.yaml", 5, Code.NODE_UNKNOWN_DRIVER)
    assert (error.value, error.hint) == (driver, hint)
    assert error.message == (
        "spec.driver: no driver of this name is installed here, only fake, ipmi, ironic, redfish,"
        " wol"
    )


def test_a_driver_that_is_installed_beside_ours_is_known() -> None:
    files = fleet() | {"x.yaml": node("n8", 8, driver="acme")}
    assert assembled(files, DRIVERS | {"acme"}).errors == ()


def redfish(name: str, number: int, **bmc: object) -> str:
    where = {"address": "10.0.0.99", "credentials": "a", **bmc}
    return node(name, number, driver="redfish", bmc=where)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ({}, {"port": 443}, "the BMC address is also that of node n7"),
        ({"system": "1"}, {"system": "1"}, "the BMC address is also that of node n7"),
        ({"system": "1"}, {"system": "2"}, None),
        ({"system": "1"}, {}, "a system of this BMC is node n7, so system is needed here"),
        ({}, {"protocol": "http"}, None),
        ({"protocol": "http"}, {"port": 80}, "the BMC address is also that of node n7"),
    ],
)
def test_one_redfish_system_is_one_node(
    first: dict[str, object], second: dict[str, object], message: str | None
) -> None:
    files = fleet() | {"w.yaml": redfish("n7", 7, **first), "x.yaml": redfish("n8", 8, **second)}
    if message is None:
        assert assembled(files).errors == ()
    else:
        error = only_error(files)
        assert error.code is Code.DUPLICATE_BMC
        assert error.path == "x.yaml"
        assert message in error.message


def test_a_redfish_node_needs_an_address_and_credentials() -> None:
    error = only_error(fleet() | {"x.yaml": redfish("n8", 8).replace(', "credentials": "a"', "")})
    assert error.code is Code.NODE_WITHOUT_BMC
    assert error.message == "spec.bmc: the driver redfish needs spec.bmc.credentials"


def test_one_node_in_ironic_is_one_node_here() -> None:
    text = many(
        node("n7", 7, driver="ironic", bmc=None, ironicNode="n8"),
        node("n8", 8, driver="ironic", bmc=None),
    )
    error = only_error(fleet() | {"x.yaml": text})
    assert error.code is Code.DUPLICATE_BMC
    assert "the node in Ironic is also that of node n7" in error.message


@pytest.mark.parametrize("driver", sorted(DRIVERS))
def test_a_boot_disc_needs_a_driver_that_can_show_one(driver: str) -> None:
    text = node("n8", 8, driver=driver, bootInterface="virtual-media")
    errors = assembled(fleet() | {"x.yaml": text}).errors
    wanted = [] if driver == "redfish" else [Code.NODE_BOOT_INTERFACE]
    assert [error.code for error in errors if error.code.startswith("node/boot")] == wanted


def test_a_driver_beside_ours_may_show_a_boot_disc() -> None:
    text = node("n8", 8, driver="boards", bootInterface="virtual-media")
    assert assembled(fleet() | {"x.yaml": text}, DRIVERS | {"boards"}).errors == ()


@pytest.mark.parametrize(
    ("nics", "count"),
    [
        ([{"mac": "52:54:00:00:01:01"}], 0),
        ([{"mac": "52:54:00:00:01:01"}, {"mac": "52:54:00:00:01:02", "boot": True}], 0),
        ([{"mac": "52:54:00:00:01:01"}, {"mac": "52:54:00:00:01:02"}], 1),
        ([], 1),
    ],
)
def test_a_machine_is_woken_by_one_interface(nics: list[dict[str, object]], count: int) -> None:
    errors = assembled(fleet() | {"x.yaml": node("n8", 8, driver="wol", nics=nics)}).errors
    assert [error.code for error in errors] == [Code.NODE_WITHOUT_NIC] * count


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ({"work.yaml": assignment(template="bsae")}, "did you mean 'base'?"),
        ({"work.yaml": assignment(pool="labs")}, "did you mean 'lab'?"),
        ({"pools.yaml": pool(nodes=["n[1-3]", "n11"])}, "did you mean 'n1'?"),
        ({"work.yaml": assignment(template="zzz")}, ""),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(change: dict[str, str], hint: str) -> None:
    error = only_error(fleet() | change)
    assert (error.code, error.hint) == (Code.REFERENCE_UNKNOWN, hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        (node("n8") + "  boot_mode: uefi\n", "did you mean 'bootMode'?"),
        (node("n8") + "  bootmode: uefi\n", "did you mean 'bootMode'?"),
        (node("n8", properties={"memGib": 3}), "did you mean 'memoryGib'?"),
        (node("n8").replace("kind: Node", "kind: Nod"), "did you mean 'Node'?"),
        (node("n8").replace("kind: Node", "kind: Server"), "the kinds are Node, Image"),
        (node("n8", nics=[{"mac": "x", "boott": True}]), "did you mean 'boot'?"),
        (node("n8") + "  serial: 12\n", "put it in quotes"),
        (node("n8", properties={"cpus": "4"}), "remove the quotes"),
        (node("n8", nics=[{"mac": "02:00:00:00:00:01", "boot": "yes"}]), "only true and false"),
    ],
)
def test_a_wrong_field_is_told_what_would_be_right(text: str, hint: str) -> None:
    findings = parse_file(text.encode()).findings
    assert any(hint in finding.hint for finding in findings), findings


def test_no_value_is_shown_where_a_secret_may_stand() -> None:
    text = (
        node("n8", bmc={"address": "a", "credentials": "Hunter2!", "password": "Hunter2!"})
        + "  token: Hunter2!\n"
        + "---\n"
        + template("t", userData=["Hunter2!"])
        + "---\n"
        + image("i").replace("https://", "gopher://u:Hunter2!@")
    )
    findings = parse_file(text.encode()).findings
    assert len(findings) == 6
    assert "Hunter2" not in " ".join(map(str, findings))


def test_a_node_named_twice_and_an_empty_pool_are_warnings() -> None:
    files = fleet() | {
        "work.yaml": assignment(nodes=["n1", "n[1-2]"]),
        "x.yaml": pool("x", nodes=[], selector="rack = b99"),
    }
    found = assembled(files)
    assert found.inventory is not None
    assert found.inventory.assigned["work"] == ("n1", "n2")
    assert [(w.path, w.line, w.code) for w in found.warnings] == [
        ("work.yaml", 6, Code.REFERENCE_REPEATED),
        ("x.yaml", 8, Code.SELECTOR_MATCHES_NOTHING),
    ]


def test_a_freeze_may_ask_for_a_pool() -> None:
    freeze = document(
        "Freeze", "f", {"reason": "r", "selector": "pool = lab", "until": "2027-01-01T00:00:00Z"}
    )
    other = freeze.replace("= lab", "= none").replace('"f"', '"g"')
    found = assembled(fleet() | {"x.yaml": many(freeze, other)})
    assert [warning.line for warning in found.warnings] == [14]


POLICY = {
    "limits": {
        "labels": {"rack": 2, "rac": 2},
        "drivers": {"ipmi": 2, "fake": 2},
        "conductorGroups": {"east": 2, "west": 2},
        "imageServers": {"i.lab": 2, "i.lab:8080": 2},
    },
    "startRates": [{"starts": 2, "per": "1m"}, {"label": "pdu", "starts": 2, "per": "1m"}],
    "blastRadius": {"labels": {"rack": {"nodesMax": 2}, "switch": {"nodesMax": 2}}},
}


def test_a_limit_by_a_word_that_nothing_has_is_a_warning() -> None:
    last = node("n3", 3, conductorGroup="east")
    files = fleet() | {"nodes.yaml": many(node("n1", 1), node("n2", 2), last)}
    found = assembled(files | {"policy.yaml": document("Policy", "fleet", POLICY)})
    assert found.inventory is not None
    assert {warning.code for warning in found.warnings} == {Code.LIMIT_MATCHES_NOTHING}
    assert {warning.path for warning in found.warnings} == {"policy.yaml"}
    assert sorted((warning.line, warning.value) for warning in found.warnings) == [
        (5, "fake"),
        (5, "i.lab:8080"),
        (5, "rac"),
        (5, "west"),
        (6, "pdu"),
        (7, "switch"),
    ]
    hint = {warning.value: warning.hint for warning in found.warnings}
    assert hint["rac"] == "did you mean 'rack'?"
    assert hint["i.lab:8080"] == "there is i.lab"


def test_a_rollout_by_a_label_that_members_lack_is_a_warning_that_names_them() -> None:
    rollout = {"waves": {"label": "rack"}}
    bare = node("n2", 2).replace(', "labels": {"rack": "a01"}', "")
    files = fleet() | {"nodes.yaml": many(node("n1", 1), bare, node("n3", 3))}
    found = assembled(files | {"pools.yaml": pool(rollout=rollout)})
    assert found.inventory is not None
    (warning,) = found.warnings
    assert (warning.path, warning.line) == ("pools.yaml", 8)
    assert warning.code is Code.ROLLOUT_LABEL_MISSING
    assert warning.message.startswith("spec.rollout.waves.label: n2 has no such label")
    assert assembled(fleet() | {"pools.yaml": pool(rollout=rollout)}).warnings == ()


# --- overlaps, against the obvious way to find them -------------------------------------------

DAY_0 = datetime(2027, 1, 1, tzinfo=UTC)
DAYS = 12
BOUND = st.none() | st.integers(0, DAYS)
WHEN = st.tuples(BOUND, BOUND).filter(
    lambda pair: pair[0] is None or pair[1] is None or pair[0] < pair[1]
)
BOOKED = st.lists(
    st.tuples(WHEN, st.sets(st.sampled_from(["n1", "n2", "n3"]), min_size=1)),
    min_size=1,
    max_size=5,
)


def instant(day: int) -> str:
    return (DAY_0 + timedelta(days=day)).strftime("%Y-%m-%dT%H:%M:%SZ")


@settings(max_examples=150, deadline=None)
@given(BOOKED)
def test_overlaps_are_those_that_a_calendar_of_days_shows(
    booked: list[tuple[tuple[int | None, int | None], set[str]]],
) -> None:
    texts, taken = [], []
    for number, ((start, end), nodes) in enumerate(booked):
        given_at = {"start": start, "end": end}
        at = {key: instant(day) for key, day in given_at.items() if day is not None}
        changes = {"when": at} if at else {}
        texts.append(assignment(f"a{number}", nodes=sorted(nodes), **changes))
        first, last = -1 if start is None else start, DAYS + 1 if end is None else end
        taken.append({(name, day) for name in nodes for day in range(first, last)})
    clash = any(taken[one] & taken[other] for one in range(len(taken)) for other in range(one))
    errors = assembled(fleet() | {"work.yaml": many(*texts)}).errors
    assert {error.code for error in errors} == ({Code.ASSIGNMENT_OVERLAP} if clash else set())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 4)), min_size=1, max_size=6),
       st.integers(0, 30), st.integers(1, 4))  # fmt: skip
def test_windows_of_a_schedule_overlap_like_a_calendar(
    windows: list[tuple[int, int]], start: int, length: int
) -> None:
    files = fleet() | {
        "s.yaml": schedule("s", *((instant(at), instant(at + days)) for at, days in windows)),
        "work.yaml": many(
            assignment("a", when={"schedule": "s"}),
            assignment("b", when={"start": instant(start), "end": instant(start + length)}),
        ),
    }
    days = {day for at, count in windows for day in range(at, at + count)}
    clash = bool(days & set(range(start, start + length)))
    assert bool(assembled(files).errors) is clash


def test_times_that_only_touch_do_not_overlap() -> None:
    noon = "2027-01-01T12:00:00Z"
    files = fleet() | {
        "work.yaml": many(
            assignment("a", when={"end": noon}),
            assignment("b", when={"start": "2027-01-01T13:00:00+01:00"}),
        )
    }
    assert assembled(files).errors == ()


# --- floods between documents -------------------------------------------------------------------

NODES = 1_000


def large_fleet() -> dict[str, str]:
    return fleet() | {
        "nodes.yaml": many(*(node(f"n{number}", number) for number in range(NODES))),
        "pools.yaml": pool(nodes=[f"n[0-{NODES - 1}]"]),
        "work.yaml": "",
    }


def assignments(count: int, **changes: object) -> str:
    return many(*(assignment(f"w{number}", **changes) for number in range(count)))


FLOODS = {
    "everyone wants everything": {"x.yaml": assignments(1_000, nodes=[f"n[0-{NODES - 1}]"])},
    "unknown names": {"x.yaml": assignments(2_000, pool="q", template="q", nodes=["q"])},
    "pools of everything": {
        "x.yaml": many(*(pool(f"p{n}", nodes=[], selector="*") for n in range(1_000)))
    },
    "long selectors": {
        "x.yaml": many(
            *(
                pool(f"p{n}", nodes=[], selector=" or ".join(["rack=b"] * 400))
                for n in range(400)
            )
        )
    },
    "one identity for all": {
        "nodes.yaml": many(*(node(f"n{number}", 1) for number in range(NODES)))
    },
    "one name for all": {"x.yaml": many(*(node("n1", 1) for _ in range(NODES)))},
    "a long chain": {
        "x.yaml": many(*(template(f"t{n}", extends=f"t{n + 1}") for n in range(3_000)))
    },
    "a long circle": {
        "x.yaml": many(*(template(f"t{n}", extends=f"t{(n + 1) % 3_000}") for n in range(3_000)))
    },
    "large ranges": {"x.yaml": assignment("x", nodes=["n[0-99999]"] * 2_000)},
    "bad ranges": {"x.yaml": assignment("x", nodes=["n[0-"] * 9_000)},
    "many windows": {
        "s.yaml": schedule(
            "s", *((instant(day), instant(day + 1)) for day in range(0, 2_000, 2))
        ),
        "t.yaml": schedule(
            "t", *((instant(day), instant(day + 1)) for day in range(1, 2_000, 2))
        ),
        "x.yaml": many(
            *(
                assignment(f"{kind}{n}", nodes=[f"n{n}"], when={"schedule": kind})
                for n in range(400)
                for kind in "st"
            )
        ),
    },
}  # fmt: skip


@pytest.mark.parametrize("name", FLOODS)
def test_no_number_of_documents_stands_a_load_still(name: str) -> None:
    files = large_fleet() | FLOODS[name]
    begin = time.process_time()
    found = assembled(files)
    assert time.process_time() - begin < CPU_S_MAX
    assert found.errors
    assert len(found.errors) <= FINDINGS_MAX + 1
    assert list(found.errors) == [
        *sorted(found.errors[:FINDINGS_MAX]),
        *found.errors[FINDINGS_MAX:],
    ]
