"""Slot scopes: which slots a node takes, how many there are, and when one more fits."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from metalwright.model.documents import Node, Policy, Pool
from metalwright.model.inventory import Commit, Inventory, attributes
from metalwright.model.limits import Demand, fits, limit_of, scopes_of, server_of


def read(type_: Any, value: Any) -> Any:
    return TypeAdapter(type_).validate_python(value)


def node(name: str, /, **labels: str) -> Node:
    found: Node = read(
        Node, {"metadata": {"name": name, "labels": labels}, "spec": {"driver": "fake"}}
    )
    return found


def pool(name: str, in_flight: int | None) -> Pool:
    spec = {"owner": "x", "resting": {"power": "off"}, "selector": "*"}
    if in_flight is not None:
        spec["limits"] = {"inFlight": in_flight}
    found: Pool = read(Pool, {"metadata": {"name": name}, "spec": spec})
    return found


def plain(name: str) -> Demand:
    """An ordinary first attempt that fetches nothing."""
    return Demand(node=name, release=False, priority=500, retry=False)


@pytest.fixture
def inventory() -> Inventory:
    limits = {"fleet": 8, "labels": {"rack": 3, "pdu": 2}}
    return Inventory(
        revision=Commit(id="0" * 40, author="A <a@b>", subject="x", at=datetime.now(UTC)),
        nodes={
            "n1": node("n1", rack="a01", pdu="left", colour="red"),
            "n2": node("n2", rack="a02"),
            "n3": node("n3"),
        },
        pools={"ci": pool("ci", 6), "spare": pool("spare", None)},
        policy=read(Policy, {"metadata": {"name": "fleet"}, "spec": {"limits": limits}}),
        pool_of={"n1": "ci", "n2": "spare"},
    )


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://Images.Lab.example/a/kernel", "images.lab.example"),
        ("http://images.lab.example:8080/kernel", "images.lab.example:8080"),
        ("https://token:secret@images.lab.example/kernel", "images.lab.example"),
        ("file:///srv/kernel", None),
    ],
)
def test_an_image_server_is_told_by_host_and_port_alone(url: str, server: str | None) -> None:
    assert server_of(url) == server


def test_a_node_takes_one_slot_in_each_limited_scope(inventory: Inventory) -> None:
    wanted = ("fleet", "pool/ci", "label/pdu=left", "label/rack=a01")
    assert scopes_of(inventory, plain("n1")) == wanted
    assert scopes_of(inventory, plain("n2")) == ("fleet", "label/rack=a02")
    assert scopes_of(inventory, plain("n3")) == ("fleet",)


def test_every_scope_of_a_node_has_a_limit(inventory: Inventory) -> None:
    limits = {scope: limit_of(inventory, scope) for scope in scopes_of(inventory, plain("n1"))}
    assert limits == {"fleet": 8, "pool/ci": 6, "label/pdu=left": 2, "label/rack=a01": 3}


RESERVED = {
    "fleet": 8,
    "drivers": {"fake": 7},
    "conductorGroups": {"east": 6},
    "imageServers": {"images.lab.example:8080": 5},
    "reserved": {"releases": 2, "operators": 1},
}


def reserving() -> Inventory:
    commit = Commit(id="0" * 40, author="A <a@b>", subject="x", at=datetime.now(UTC))
    spec = {"driver": "fake", "conductorGroup": "east"}
    return Inventory(
        revision=commit,
        nodes={"n1": read(Node, {"metadata": {"name": "n1"}, "spec": spec})},
        policy=read(Policy, {"metadata": {"name": "fleet"}, "spec": {"limits": RESERVED}}),
    )


@pytest.mark.parametrize(
    ("change", "lanes"),
    [
        ({}, {"lane/not-release": 6, "lane/not-operator": 7, "lane/ordinary": 5}),
        ({"release": True}, {"lane/not-operator": 7}),
        ({"priority": 900}, {"lane/not-release": 6}),
        ({"release": True, "priority": 950}, {}),
        ({"release": True, "priority": 950, "retry": True}, {"lane/retry": 1}),
    ],
)
def test_reservations_and_retries_are_scopes_too(change: Any, lanes: dict[str, int]) -> None:
    inventory = reserving()
    demand = replace(plain("n1"), image_servers=("images.lab.example:8080", "other"), **change)
    limits = {scope: limit_of(inventory, scope) for scope in scopes_of(inventory, demand)}
    rest = {"driver/fake": 7, "conductor/east": 6, "image/images.lab.example:8080": 5}
    assert limits == {"fleet": 8} | lanes | rest


def test_a_reservation_leaves_slots_to_the_others() -> None:
    limits = {"fleet": 3, "reserved": {"releases": 2, "operators": 1}}
    with pytest.raises(ValidationError, match="should leave slots"):
        read(Policy, {"metadata": {"name": "fleet"}, "spec": {"limits": limits}})


@pytest.mark.parametrize("scope", ["pool/spare", "pool/none", "label/hall=north"])
def test_what_is_not_limited_is_a_key_error(inventory: Inventory, scope: str) -> None:
    with pytest.raises(KeyError):
        limit_of(inventory, scope)


def test_without_a_policy_the_defaults_hold() -> None:
    commit = Commit(id="0" * 40, author="A <a@b>", subject="x", at=datetime.now(UTC))
    bare = Inventory(revision=commit, nodes={"n1": node("n1", rack="a01")})
    assert scopes_of(bare, plain("n1")) == ("fleet",)
    assert limit_of(bare, "fleet") == 20


@given(st.integers(1, 5), st.integers(1, 5), st.lists(st.sampled_from(["a01", "a02"]), max_size=20))
def test_admitting_what_fits_exceeds_no_limit(fleet: int, rack: int, wanted: list[str]) -> None:
    limits = {"fleet": fleet, "label/rack=a01": rack, "label/rack=a02": rack}
    held: dict[str, int] = {}
    for name in wanted:
        scopes = ("fleet", f"label/rack={name}")
        room = all(held.get(scope, 0) + 1 <= limits[scope] for scope in scopes)
        assert fits(scopes, limits, held) is room
        if room:
            held |= {scope: held.get(scope, 0) + 1 for scope in scopes}
    assert all(held[scope] <= limits[scope] for scope in held)


def test_a_label_hides_a_property_and_never_an_own_word() -> None:
    posing = node("n1", name="n2", driver="ipmi", pool="ci", cpuArch="riscv64")
    found = attributes(posing, "spare")
    assert (found["name"], found["driver"], found["pool"]) == ("n1", "fake", "spare")
    assert found["cpuArch"] == "riscv64"
    assert attributes(node("n1"))["cpuArch"] == "x86_64"
    assert "pool" not in attributes(node("n1", pool="ci"))
    assert "memoryGib" not in attributes(node("n1"))
