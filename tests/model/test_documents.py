"""The documents' own rules: what one document must say to make sense by itself."""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from metalwright.model import hardware, policy, template, tenancy
from metalwright.model.documents import API_VERSION, KINDS, Document
from metalwright.model.frozen import FrozenDict

SOONER, LATER = "2026-11-20T08:00:00Z", "2026-11-21T08:00:00Z"


def read(type_: Any, value: Any) -> Any:
    """As the loader reads: the names of YAML, and no others."""
    return TypeAdapter(type_).validate_python(value, by_alias=True, by_name=False)


@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (tenancy.Resting, {"template": "base"}),
        (tenancy.Resting, {"power": "off"}),
        (tenancy.PoolSpec, {"owner": "x", "resting": {"power": "off"}, "nodes": ["n1"]}),
        (tenancy.PoolSpec, {"owner": "x", "resting": {"power": "off"}, "selector": "*"}),
        (
            tenancy.PoolSpec,
            {"owner": "x", "resting": {"power": "off"}, "selector": "*", "nodes": ["n1"]},
        ),
        (tenancy.When, {"start": SOONER}),
        (tenancy.When, {"end": LATER}),
        (tenancy.When, {"start": SOONER, "end": LATER}),
        (tenancy.When, {"schedule": "weekly"}),
        (policy.Window, {"start": SOONER, "end": LATER}),
        (policy.Window, {"start": SOONER, "duration": "1s"}),
        (policy.FreezeSpec, {"reason": "x", "until": LATER}),
        (policy.FreezeSpec, {"reason": "x", "start": SOONER, "until": LATER}),
        (policy.FreezeSpec, {"reason": "x", "schedule": "year-end"}),
    ],
)
def test_accepted(type_: Any, value: dict[str, Any]) -> None:
    assert read(type_, value) == read(type_, value)


@pytest.mark.parametrize(
    ("type_", "value", "told"),
    [
        (tenancy.Resting, {}, "either template or power"),
        (tenancy.Resting, {"template": "base", "power": "off"}, "not both"),
        (tenancy.PoolSpec, {"owner": "x", "resting": {"power": "off"}}, "nodes, a selector"),
        (
            tenancy.PoolSpec,
            {"owner": "x", "resting": {"power": "off"}, "nodes": []},
            "nodes, a selector",
        ),
        (
            tenancy.PoolSpec,
            {"owner": "x", "resting": {"power": "off"}, "selector": "rack = "},
            "column 8",
        ),
        (tenancy.When, {}, "start, end, or a schedule"),
        (tenancy.When, {"start": SOONER, "schedule": "weekly"}, "not both"),
        (tenancy.When, {"end": SOONER, "schedule": "weekly"}, "not both"),
        (tenancy.When, {"start": LATER, "end": SOONER}, "start before its end"),
        (tenancy.When, {"start": SOONER, "end": SOONER}, "start before its end"),
        (policy.Window, {"start": SOONER}, "either end or duration"),
        (policy.Window, {"start": SOONER, "end": LATER, "duration": "1d"}, "not both"),
        (policy.Window, {"start": LATER, "end": SOONER}, "start before its end"),
        (policy.Window, {"start": SOONER, "end": SOONER}, "start before its end"),
        (policy.Window, {"start": SOONER, "duration": "0s"}, "longer than 0s"),
        (policy.FreezeSpec, {"reason": "x"}, "either until or schedule"),
        (policy.FreezeSpec, {"reason": "x", "until": LATER, "schedule": "s"}, "not both"),
        (policy.FreezeSpec, {"reason": "x", "start": SOONER, "schedule": "s"}, "together"),
        (policy.FreezeSpec, {"reason": "x", "start": LATER, "until": SOONER}, "before its until"),
        (policy.FreezeSpec, {"reason": "x", "start": LATER, "until": LATER}, "before its until"),
        (policy.ScheduleSpec, {"windows": []}, "at least 1 item"),
    ],
)
def test_refused(type_: Any, value: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        read(type_, value)
    assert told in str(caught.value)


def test_the_field_names_of_python_are_not_those_of_yaml() -> None:
    assert read(hardware.Properties, {"memoryGib": 8}).memory_gib == 8
    with pytest.raises(ValidationError, match="memory_gib"):
        read(hardware.Properties, {"memory_gib": 8})


def test_the_defaults_are_the_documented_ones() -> None:
    rules = read(policy.PolicySpec, {})
    assert rules == policy.PolicySpec()
    assert rules.limits.fleet == 20
    assert rules.limits.labels == {}
    assert isinstance(rules.limits.labels, FrozenDict)
    assert (rules.retries.attempts_max, rules.retries.backoff_min) == (3, 30)
    assert rules.timeouts == template.Timeouts()
    default = policy.StageTimeouts()
    assert (default.soft_power_off, default.power_off) == (300, 120)
    assert rules.blast_radius.nodes_max is None
    assert rules.observation_ttl == 120


def test_only_a_managed_node_is_the_default_and_nothing_of_it_can_be_changed() -> None:
    node = read(
        KINDS["Node"],
        {"metadata": {"name": "n1", "labels": {"rack": "a01"}}, "spec": {"driver": "fake"}},
    )
    assert (node.api_version, node.kind) == (API_VERSION, "Node")
    assert node.spec.lifecycle is hardware.Lifecycle.MANAGED
    with pytest.raises(FrozenInstanceError):
        node.spec.driver = "ipmi"
    with pytest.raises(TypeError, match="frozen"):
        node.metadata.labels["rack"] = "a02"
    assert hash(node) == hash(node)


def test_a_template_distinguishes_what_it_does_not_say() -> None:
    """With `extends`, absence means the parent's; so absence may not become a default."""
    spec = read(template.BootTemplateSpec, {"extends": "base"})
    assert (spec.method, spec.image, spec.wipe, spec.user_data) == (None, None, None, None)
    assert read(template.BootTemplateSpec, {"userData": ""}).user_data == ""


def test_every_kind_reads_as_itself_and_as_no_other() -> None:
    assert set(KINDS) == {type_.__name__ for type_ in Document.__args__}
    for kind, type_ in KINDS.items():
        assert type_.__name__ == kind
        with pytest.raises(ValidationError, match="kind"):
            read(type_, {"kind": "Other", "metadata": {"name": "x"}, "spec": {}})
