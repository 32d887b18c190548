"""The schemas: as strict as they can be, and never stricter than the loader.

`WRONG` holds one broken document a row. `told_by` says who can tell: the schema does not know
selectors, calendars or rules between two fields.
"""

import copy
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from metalwright.model.documents import KINDS
from metalwright.model.fields import WRITTEN
from metalwright.model.schema import ANY_KIND, schemas

SCHEMAS = {name: json.loads(text) for name, text in schemas().items()}
ANY = jsonschema.Draft202012Validator(SCHEMAS[ANY_KIND])
BY_KIND = {kind: jsonschema.Draft202012Validator(SCHEMAS[f"{kind}.json"]) for kind in KINDS}
ADAPTERS: dict[str, TypeAdapter[Any]] = {kind: TypeAdapter(KINDS[kind]) for kind in KINDS}

SHA = "0" * 64
ARTIFACT = {"url": "https://images.example.net/x", "sha256": SHA}
SOONER, LATER = "2026-11-20T08:00:00Z", "2026-11-21T08:00:00Z"

SPECS: dict[str, dict[str, Any]] = {
    "Node": {
        "driver": "ipmi",
        "lifecycle": "managed",
        "bmc": {
            "address": "10.20.1.1",
            "port": 623,
            "credentials": "bmc/a01",
            "protocol": "https",
            "system": "System.Embedded.1",
            "verifyCa": False,
        },
        "ironicNode": "4c4c4544-0042-3510-8054-b4c04f4e5331",
        "bootMode": "uefi",
        "serial": "ABC1234",
        "systemUuid": "4c4c4544-0042-3510-8054-b4c04f4e5331",
        "nics": [{"name": "eno1", "mac": "24:6e:96:00:00:01", "boot": True, "switchPort": "s/1"}],
        "properties": {
            "vendor": "Dell Inc.",
            "model": "PowerEdge R640",
            "cpuArch": "x86_64",
            "cpus": 64,
            "memoryGib": 192,
            "gpus": 0,
            "disks": [{"serial": "S1", "sizeGb": 480, "rotational": False}],
        },
    },
    "Image": {"kernel": ARTIFACT, "initrd": ARTIFACT, "rootfs": ARTIFACT, "disk": ARTIFACT},
    "BootTemplate": {
        "extends": "base",
        "method": "disk",
        "image": "rocky",
        "kernelArgs": ["quiet"],
        "userData": "#cloud-config\n",
        "vendorData": "",
        "wipe": "metadata",
        "timeouts": {"softPowerOff": "3m", "powerOff": "2m", "wipe": "1h", "boot": "20m"},
    },
    "Pool": {
        "owner": "CI <ci@example.net>",
        "resting": {"template": "base"},
        "nodes": ["r640-[01-04]"],
        "selector": "rack = a01",
        "limits": {"inFlight": 6},
        "drift": "correct",
        "templateEdits": "at-boundary",
        "dataLossConsent": False,
    },
    "Assignment": {
        "pool": "ci",
        "nodes": ["r640-01"],
        "template": "base",
        "owner": "CI <ci@example.net>",
        "purpose": "tests",
        "cc": ["a@example.net"],
        "ticket": "T-1",
        "priority": 400,
        "when": {"start": SOONER, "end": LATER},
        "templateEdits": "immediate",
        "dataLossConsent": True,
    },
    "Schedule": {"windows": [{"start": SOONER, "end": LATER}, {"start": SOONER, "duration": "5d"}]},
    "Policy": {
        "limits": {"fleet": 8, "labels": {"rack": 3}},
        "blastRadius": {"nodesMax": 10, "percentMax": 5},
        "retries": {"attemptsMax": 3, "backoffMin": "30s", "backoffMax": "1h"},
        "timeouts": {"softPowerOff": "5m", "powerOff": "2m", "wipe": "4h", "install": "1h"},
        "observationTtl": "2m",
        "acknowledge": ["0123456789ab"],
    },
    "Freeze": {
        "reason": "year end",
        "selector": "*",
        "start": SOONER,
        "until": LATER,
        "passPriority": 900,
    },
}

BOTH, LOADER = "both", "loader"
DROP = object()
WRONG: list[tuple[str, str, Any, str]] = [
    *((kind, "metadata", DROP, BOTH) for kind in KINDS),
    *((kind, "metadata.name", DROP, BOTH) for kind in KINDS),
    *((kind, "spec", DROP, BOTH) for kind in KINDS),
    *((kind, "spec", [], BOTH) for kind in KINDS),
    *((kind, "spec.surprise", 1, BOTH) for kind in KINDS),
    *((kind, "status", {}, BOTH) for kind in KINDS),
    *((kind, "apiVersion", "metalwright/v2", BOTH) for kind in KINDS),
    ("Node", "metadata.name", "R640", BOTH),
    ("Node", "metadata.name", 640, BOTH),
    ("Node", "metadata.name", "a" * 254, BOTH),
    ("Node", "metadata.colour", "red", BOTH),
    ("Node", "metadata.labels", {"rack": 1}, BOTH),
    ("Node", "metadata.labels", {"-rack": "a01"}, BOTH),
    ("Node", "metadata.labels", {"rack": "a" * 254}, BOTH),
    ("Node", "metadata.annotations", {"note": None}, BOTH),
    ("Node", "spec.driver", DROP, BOTH),
    ("Node", "spec.driver", "Redfish", BOTH),
    ("Node", "spec.driver", 7, BOTH),
    ("Node", "spec.bmc.protocol", "ftp", BOTH),
    ("Node", "spec.bmc.system", "Systems/1", BOTH),
    ("Node", "spec.bmc.verifyCa", "no", BOTH),
    ("Node", "spec.ironicNode", "a/b", BOTH),
    ("Node", "spec.lifecycle", "on", BOTH),
    ("Node", "spec.lifecycle", True, BOTH),
    ("Node", "spec.bmc", "10.20.1.1", BOTH),
    ("Node", "spec.bmc.address", DROP, BOTH),
    ("Node", "spec.bmc.address", 10, BOTH),
    ("Node", "spec.bmc.address", "https://bmc", LOADER),
    ("Node", "spec.bmc.address", "10.20.1.256", LOADER),
    ("Node", "spec.bmc.port", "623", BOTH),
    ("Node", "spec.bmc.port", 0, BOTH),
    ("Node", "spec.bmc.port", 65_536, BOTH),
    ("Node", "spec.bmc.port", True, BOTH),
    ("Node", "spec.bmc.credentials", "root:calvin", BOTH),
    ("Node", "spec.bmc.credentials", "../root", BOTH),
    ("Node", "spec.bmc.password", "calvin", BOTH),
    ("Node", "spec.boot_mode", "uefi", BOTH),
    ("Node", "spec.bootMode", "UEFI", BOTH),
    ("Node", "spec.serial", 1_234, BOTH),
    ("Node", "spec.serial", "", BOTH),
    ("Node", "spec.systemUuid", "4c4c4544", BOTH),
    ("Node", "spec.nics", {}, BOTH),
    ("Node", "spec.nics", [{"name": "eno1"}], BOTH),
    ("Node", "spec.nics", [{"mac": 41_135_085_296}], BOTH),
    ("Node", "spec.nics", [{"mac": "24-6e-96-00-00-01"}], BOTH),
    ("Node", "spec.nics", [{"mac": "24:6e:96:00:00:01", "boot": "yes"}], BOTH),
    ("Node", "spec.nics", [{"mac": "24:6e:96:00:00:01"}] * 65, BOTH),
    ("Node", "spec.properties.cpus", 0, BOTH),
    ("Node", "spec.properties.cpus", "64", BOTH),
    ("Node", "spec.properties.cpus", 64.5, BOTH),
    ("Node", "spec.properties.gpus", -1, BOTH),
    ("Node", "spec.properties.memory_gib", 1, BOTH),
    ("Node", "spec.properties.disks", [{"sizeGb": 0}], BOTH),
    ("Node", "spec.properties.disks", [{"rotational": 0}], BOTH),
    ("Image", "spec.kernel.sha256", DROP, BOTH),
    ("Image", "spec.kernel.url", DROP, BOTH),
    ("Image", "spec.kernel.url", "ftp://x/y", BOTH),
    ("Image", "spec.kernel.url", "https://x/a b", BOTH),
    ("Image", "spec.kernel.sha256", "0" * 63, BOTH),
    ("Image", "spec.kernel.sha256", "A" * 64, BOTH),
    ("Image", "spec.kernel", "https://x/y", BOTH),
    ("Image", "spec.squashfs", ARTIFACT, BOTH),
    ("BootTemplate", "spec.extends", ["base"], BOTH),
    ("BootTemplate", "spec.extends", "Base", BOTH),
    ("BootTemplate", "spec.method", "pxe", BOTH),
    ("BootTemplate", "spec.kernelArgs", "quiet", BOTH),
    ("BootTemplate", "spec.kernelArgs", [""], BOTH),
    ("BootTemplate", "spec.kernelArgs", [115_200], BOTH),
    ("BootTemplate", "spec.kernelArgs", ["x"] * 257, BOTH),
    ("BootTemplate", "spec.userData", {"packages": []}, BOTH),
    ("BootTemplate", "spec.userData", "x" * 262_145, BOTH),
    ("BootTemplate", "spec.wipe", True, BOTH),
    ("BootTemplate", "spec.wipe", "zero", BOTH),
    ("BootTemplate", "spec.timeouts.boot", "20", BOTH),
    ("BootTemplate", "spec.timeouts.boot", "", BOTH),
    ("BootTemplate", "spec.timeouts.boot", "1.5h", BOTH),
    ("BootTemplate", "spec.timeouts.boot", "3661d", LOADER),
    ("BootTemplate", "spec.timeouts.reboot", "5m", BOTH),
    ("Pool", "spec.owner", DROP, BOTH),
    ("Pool", "spec.owner", "", BOTH),
    ("Pool", "spec.resting", DROP, BOTH),
    ("Pool", "spec.resting", {}, LOADER),
    ("Pool", "spec.resting", {"power": "off", "template": "base"}, LOADER),
    ("Pool", "spec.resting", {"power": False}, BOTH),
    ("Pool", "spec.resting", {"power": "standby"}, BOTH),
    ("Pool", "spec.resting", "base", BOTH),
    ("Pool", "spec.nodes", "r640-[01-04]", BOTH),
    ("Pool", "spec.nodes", [1], BOTH),
    ("Pool", "spec.selector", "rack =", LOADER),
    ("Pool", "spec.selector", "", BOTH),
    ("Pool", "spec.selector", "*" * 4_097, BOTH),
    ("Pool", "spec.selector", {"rack": "a01"}, BOTH),
    ("Pool", "spec.limits.inFlight", 0, BOTH),
    ("Pool", "spec.limits.inFlight", "20%", BOTH),
    ("Pool", "spec.limits.in_flight", 6, BOTH),
    ("Pool", "spec.drift", "ignore", BOTH),
    ("Pool", "spec.templateEdits", "never", BOTH),
    ("Pool", "spec.dataLossConsent", "true", BOTH),
    ("Pool", "spec.dataLossConsent", 1, BOTH),
    ("Assignment", "spec.pool", DROP, BOTH),
    ("Assignment", "spec.nodes", DROP, BOTH),
    ("Assignment", "spec.nodes", [], BOTH),
    ("Assignment", "spec.template", DROP, BOTH),
    ("Assignment", "spec.owner", DROP, BOTH),
    ("Assignment", "spec.priority", 1_001, BOTH),
    ("Assignment", "spec.priority", "high", BOTH),
    ("Assignment", "spec.cc", "a@example.net", BOTH),
    ("Assignment", "spec.cc", ["a"] * 101, BOTH),
    ("Assignment", "spec.when", SOONER, BOTH),
    ("Assignment", "spec.when", {}, LOADER),
    ("Assignment", "spec.when", {"from": SOONER}, BOTH),
    ("Assignment", "spec.when", {"start": "2026-11-20"}, BOTH),
    ("Assignment", "spec.when", {"start": "2026-11-20T08:00:00"}, BOTH),
    ("Assignment", "spec.when", {"start": "2026-02-30T08:00:00Z"}, LOADER),
    ("Assignment", "spec.when", {"start": LATER, "end": SOONER}, LOADER),
    ("Assignment", "spec.when", {"start": SOONER, "schedule": "weekly"}, LOADER),
    ("Schedule", "spec.windows", DROP, BOTH),
    ("Schedule", "spec.windows", [], BOTH),
    ("Schedule", "spec.windows", [{"end": LATER}], BOTH),
    ("Schedule", "spec.windows", [{"start": SOONER, "duration": 5}], BOTH),
    ("Schedule", "spec.windows", [{"start": SOONER, "duration": "0s"}], LOADER),
    ("Schedule", "spec.windows", [{"start": SOONER}], LOADER),
    ("Schedule", "spec.rrule", "FREQ=WEEKLY", BOTH),
    ("Policy", "spec.limits.fleet", 0, BOTH),
    ("Policy", "spec.limits.labels", {"rack": 0}, BOTH),
    ("Policy", "spec.limits.labels", {"rack": "3"}, BOTH),
    ("Policy", "spec.limits.labels", {"/": 3}, BOTH),
    ("Policy", "spec.limits.rack", 3, BOTH),
    ("Policy", "spec.blastRadius.percentMax", 101, BOTH),
    ("Policy", "spec.blastRadius.percentMax", "10%", BOTH),
    ("Policy", "spec.blastRadius.nodesMax", 0, BOTH),
    ("Policy", "spec.retries.attemptsMax", 0, BOTH),
    ("Policy", "spec.retries.backoffMin", 1.5, BOTH),
    ("Policy", "spec.timeouts.wipe", "forever", BOTH),
    ("Policy", "spec.observationTtl", "2 m", BOTH),
    ("Policy", "spec.acknowledge", ["0123456789a"], BOTH),
    ("Policy", "spec.acknowledge", ["0123456789AB"], BOTH),
    ("Policy", "spec.acknowledge", "0123456789ab", BOTH),
    ("Freeze", "spec.reason", DROP, BOTH),
    ("Freeze", "spec.selector", "(", LOADER),
    ("Freeze", "spec.until", "tomorrow", BOTH),
    ("Freeze", "spec.until", DROP, LOADER),
    ("Freeze", "spec.passPriority", -1, BOTH),
    ("Freeze", "spec.schedule", "year-end", LOADER),
]


def document(kind: str) -> dict[str, Any]:
    """A document of this kind that says everything that the kind can say."""
    metadata = {"name": "x", "labels": {"rack": "a01"}, "annotations": {"note": ""}}
    spec = copy.deepcopy(SPECS[kind])
    return {"apiVersion": "metalwright/v1", "kind": kind, "metadata": metadata, "spec": spec}


def broken(kind: str, path: str, value: Any) -> dict[str, Any]:
    found = document(kind)
    *parents, last = path.split(".")
    below = found
    for parent in parents:
        below = below[parent]
    if value is DROP:
        del below[last]
    else:
        below[last] = value
    return found


def loader_accepts(value: dict[str, Any]) -> bool:
    try:
        ADAPTERS[value["kind"]].validate_python(
            value, by_alias=True, by_name=False, context=WRITTEN
        )
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_each_is_a_schema_of_the_dialect_that_it_names(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    assert SCHEMAS[name]["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMAS[name]["description"]


def test_the_text_is_stable() -> None:
    assert schemas() == schemas()
    assert set(schemas()) == {f"{kind}.json" for kind in KINDS} | {"metalwright.json"}
    assert all(text.endswith("}\n") for text in schemas().values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_document_is_right(kind: str) -> None:
    assert loader_accepts(document(kind))
    assert BY_KIND[kind].is_valid(document(kind))
    assert ANY.is_valid(document(kind))


@pytest.mark.parametrize(("kind", "path", "value", "told_by"), WRONG)
def test_a_wrong_document_is_refused(kind: str, path: str, value: Any, told_by: str) -> None:
    wrong = broken(kind, path, value)
    assert not loader_accepts(wrong)
    assert BY_KIND[kind].is_valid(wrong) is (told_by == LOADER)
    assert ANY.is_valid(wrong) is (told_by == LOADER)


def test_a_document_says_what_it_is() -> None:
    for field in ("kind", "apiVersion"):
        wrong = broken("Node", field, DROP)
        assert not BY_KIND["Node"].is_valid(wrong)
        assert not ANY.is_valid(wrong)
    assert not ANY.is_valid(broken("Node", "kind", "Server"))
    assert not BY_KIND["Node"].is_valid(broken("Node", "kind", "Pool"))


def test_a_default_is_shown_as_it_would_be_written() -> None:
    ageing = SCHEMAS["Policy.json"]["$defs"]["Ageing"]["properties"]
    assert ageing["interval"]["default"] == "10m"
    assert "default" not in SCHEMAS["Node.json"]["$defs"]["NodeSpec"]["properties"]["serial"]
    assert "title" not in ageing["interval"]


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = [(*path, key) for key, _ in inner]
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, below in inner:
        if isinstance(below, dict | list):
            found += _places(below, (*path, key))
    return found


@given(st.data())
def test_the_schema_never_refuses_what_the_loader_accepts(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    value = document(kind)
    spec = value["spec"]
    for _ in range(data.draw(st.integers(1, 3))):
        *parents, last = data.draw(st.sampled_from(_places(spec)))
        below: Any = spec
        for parent in parents:
            below = below[parent]
        other = st.sampled_from([*SPECS[kind].values(), "", "5m", "a", 1, 0, True, [], {}])
        if data.draw(st.booleans()):
            below[last] = copy.deepcopy(data.draw(other))
        else:
            del below[last]
        if not _places(spec):
            break
    if loader_accepts(value):
        BY_KIND[kind].validate(value)
        ANY.validate(value)
