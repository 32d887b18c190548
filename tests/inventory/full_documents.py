"""One document of each kind with every field that the kind has, and each of its fields spoilt once.

The text is written here line by line, so the line of each field is known without the reader under
test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .samples import SHA

Way = tuple[str | int, ...]


def artifact(role: str) -> dict[str, Any]:
    return {"url": f"https://images.lab/{role}", "sha256": SHA}


TIMEOUTS = ("softPowerOff", "powerOff", "wipe", "boot", "install", "validate")
CHECKS: list[dict[str, Any]] = [
    {"name": "home", "phoneHome": {}},
    {"name": "hardware", "facts": {}},
    {"name": "cables", "links": {}},
    {"name": "disks", "smart": {}},
    {"name": "ping", "ping": {"count": 3}, "timeout": "5s"},
    {"name": "ssh", "ssh": {"port": 22}},
    {"name": "web", "http": {"port": 80, "path": "/x", "status": 200, "scheme": "https"}},
    {"name": "mount", "command": {"run": "mountpoint /srv", "exitStatus": 0}},
]

FULL: dict[str, dict[str, Any]] = {
    "Node": {
        "driver": "ipmi",
        "lifecycle": "managed",
        "bmc": {
            "address": "10.9.9.9",
            "port": 623,
            "credentials": "bmc/rack-a",
            "protocol": "https",
            "system": "1",
            "verifyCa": True,
        },
        "ironicNode": "r640-1",
        "bootMode": "uefi",
        "bootInterface": "network",
        "serial": "SN-1",
        "systemUuid": "00000000-0000-0000-0000-00000000000f",
        "nics": [{"mac": "52:54:00:aa:bb:cc", "name": "eth0", "boot": True, "switchPort": "1/1"}],
        "properties": {
            "vendor": "Dell",
            "model": "PowerEdge R640",
            "cpuArch": "x86_64",
            "cpus": 64,
            "memoryGib": 512,
            "gpus": 2,
            "disks": [{"serial": "D1", "sizeGb": 960, "rotational": False}],
        },
        "address": "n1.lab",
        "conductorGroup": "rack-a",
        "hold": {"reason": "a fan is changed", "until": "2027-01-01T00:00:00Z"},
    },
    "Image": {role: artifact(role) for role in ("kernel", "initrd", "rootfs", "disk")},
    "BootTemplate": {
        "extends": "base",
        "method": "netboot",
        "image": "live",
        "kernelArgs": ["quiet"],
        "userData": "#cloud-config",
        "vendorData": "#cloud-config",
        "files": {"ks.cfg": "text"},
        "phoneHome": True,
        "wipe": "metadata",
        "timeouts": dict.fromkeys(TIMEOUTS, "5m"),
        "validation": CHECKS,
    },
    "Pool": {
        "owner": "ops",
        "resting": {"template": "base"},
        "nodes": ["n9"],
        "selector": "name = n9",
        "limits": {"inFlight": 3, "weight": 2},
        "drift": "report",
        "reuse": "unwiped",
        "templateEdits": "immediate",
        "dataLossConsent": False,
        "validation": CHECKS,
        "releaseQuorum": 90,
        "replacement": "none",
        "rollout": {
            "canaries": 1,
            "waves": {"nodes": 4},
            "soak": "5m",
            "failuresMax": 1,
            "confirm": "10m",
        },
    },
    "Assignment": {
        "pool": "lab",
        "nodes": ["n3"],
        "template": "base",
        "owner": "ada",
        "purpose": "work",
        "cc": ["bob"],
        "ticket": "LAB-1",
        "priority": 500,
        "when": {"start": "2027-01-01T00:00:00Z", "end": "2027-01-02T00:00:00Z"},
        "templateEdits": "at-boundary",
        "dataLossConsent": True,
        "release": {"quorum": 90},
    },
    "Schedule": {
        "windows": [
            {"start": "2027-01-01T00:00:00Z", "end": "2027-01-02T00:00:00Z"},
            {"start": "2027-02-01T00:00:00Z", "duration": "8h"},
        ]
    },
    "Policy": {
        "limits": {
            "fleet": 20,
            "labels": {"rack": 4},
            "drivers": {"ipmi": 10},
            "conductorGroups": {"rack-a": 5},
            "imageServers": {"images.lab": 8},
            "retries": 3,
            "reserved": {"releases": 1, "operators": 1, "operatorPriority": 900},
        },
        "startRates": [{"label": "pdu", "starts": 2, "per": "1m"}],
        "ageing": {"interval": "10m", "step": 50},
        "quarantine": {"failures": 3},
        "learning": {"factor": 3, "samplesMin": 30},
        "blastRadius": {
            "nodesMax": 10,
            "percentMax": 20,
            "pools": {"nodesMax": 5, "percentMax": 50},
            "labels": {"rack": {"nodesMax": 2, "percentMax": 10}},
        },
        "retries": {"attemptsMax": 3, "backoffMin": "30s", "backoffMax": "1h"},
        "timeouts": dict.fromkeys(TIMEOUTS, "5m"),
        "observationTtl": "2m",
        "ramdisk": "live",
        "acknowledge": ["0123456789abcdef"],
    },
    "Freeze": {
        "reason": "holidays",
        "selector": "rack = a01",
        "start": "2027-01-01T00:00:00Z",
        "until": "2027-01-02T00:00:00Z",
        "passPriority": 900,
    },
}

# What a document cannot have together with the fields above.
INSTEAD: dict[str, list[tuple[Way, dict[str, Any]]]] = {
    "Pool": [
        (("spec", "resting"), {"power": "off"}),
        (("spec", "rollout", "waves"), {"percent": 25}),
        (("spec", "rollout", "waves"), {"label": "rack"}),
    ],
    "Assignment": [(("spec", "when"), {"schedule": "weekends"})],
    "Freeze": [(("spec",), {"reason": "r", "selector": "*", "schedule": "weekends"})],
}


def full(kind: str) -> dict[str, Any]:
    return {
        "apiVersion": "metalwright/v1",
        "kind": kind,
        "metadata": {
            "name": "full",
            "labels": {"rack": "a01"},
            "annotations": {"note": "text"},
        },
        "spec": FULL[kind],
    }


def variants(kind: str) -> list[dict[str, Any]]:
    """The full document, and those with what it cannot have at the same time."""
    found = [full(kind)]
    for way, part in INSTEAD.get(kind, []):
        found.append(changed(full(kind), way, part))
    return found


def changed(value: Any, way: Way, new: Any) -> Any:
    if not way:
        return new
    head, *rest = way
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[head] = changed(value[head], tuple(rest), new)  # type: ignore[index]
    return copy


def without(value: Any, way: Way) -> Any:
    *above, last = way
    parent = value
    for part in above:
        parent = parent[part]
    return changed(value, tuple(above), {key: item for key, item in parent.items() if key != last})


def ways(value: Any, above: Way = ()) -> Iterator[tuple[Way, Any]]:
    """Every field below a value, outer ones first."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*above, key), inner
        if isinstance(inner, dict | list):
            yield from ways(inner, (*above, key))


def written(value: dict[str, Any]) -> tuple[str, dict[Way, int]]:
    """The document in block style, one value in each line; and the line of each field."""
    lines: list[str] = []
    places: dict[Way, int] = {}

    def write(inner: Any, way: Way, indent: int) -> None:
        items = inner.items() if isinstance(inner, dict) else enumerate(inner)
        for key, item in items:
            prefix = " " * indent + ("-" if isinstance(inner, list) else f"{json.dumps(key)}:")
            if isinstance(item, dict | list) and item:
                lines.append(prefix)
                places[*way, key] = len(lines)
                write(item, (*way, key), indent + 2)
            else:
                lines.append(f"{prefix} {json.dumps(item)}")
                places[*way, key] = len(lines)

    write(value, (), 0)
    return "\n".join(lines) + "\n", places


@dataclass(frozen=True)
class Spoilt:
    """A document with one field made wrong, and the lines of which one must be named."""

    name: str
    text: str
    lines: frozenset[int]
    code: str


REQUIRED: dict[str, list[Way]] = {
    "Node": [
        ("spec", "driver"),
        ("spec", "nics", 0, "mac"),
        ("spec", "bmc", "address"),
        ("spec", "hold", "reason"),
    ],
    "Image": [
        ("spec", role, key)
        for role in ("kernel", "initrd", "rootfs", "disk")
        for key in ("url", "sha256")
    ],
    "BootTemplate": [],
    "Pool": [("spec", "owner"), ("spec", "resting"), ("spec", "rollout", "waves")],
    "Assignment": [("spec", key) for key in ("pool", "nodes", "template", "owner")],
    "Schedule": [("spec", "windows"), ("spec", "windows", 0, "start")],
    "Policy": [("spec", "startRates", 0, "starts"), ("spec", "startRates", 0, "per")],
    "Freeze": [("spec", "reason")],
}
EVERYWHERE: list[Way] = [("metadata",), ("metadata", "name"), ("spec",)]
FREE = {"labels", "annotations", "drivers", "conductorGroups", "imageServers", "files"}


def spoilt(kind: str) -> Iterator[Spoilt]:
    """Each field of wrong type; each required field missing; an unknown field in each mapping."""
    for number, document in enumerate(variants(kind)):
        for way, value in ways(document):
            if way in (("apiVersion",), ("kind",)):
                continue
            name = f"{kind}-{number}-{'.'.join(map(str, way))}"
            wrong: Any = 7 if isinstance(value, dict | list) else {"wrong": 1}
            text, places = written(changed(document, way, wrong))
            lines = {places[way], *(line for at, line in places.items() if at[:-1] == way)}
            yield Spoilt(f"{name}-wrong", text, frozenset(lines), "schema/wrong-")
            if isinstance(value, dict) and not FREE.intersection(map(str, way)):
                text, places = written(changed(document, way, {**value, "colour": "red"}))
                lines = {places[*way, "colour"]}
                yield Spoilt(f"{name}-unknown", text, frozenset(lines), "schema/unknown-field")
    for way in [*EVERYWHERE, *REQUIRED[kind]]:
        name = f"{kind}-{'.'.join(map(str, way))}-missing"
        text, places = written(without(full(kind), way))
        first = {line for at, line in places.items() if len(at) == len(way) and at[:-1] == way[:-1]}
        lines = {places.get(way[:-1], 1), min(first, default=1)}
        yield Spoilt(name, text, frozenset(lines), "schema/missing-field")
