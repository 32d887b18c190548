"""A small valid inventory, as text, and its parts to change."""

from __future__ import annotations

import json
from typing import Any

SHA = "0123456789abcdef" * 4


def document(kind: str, name: str, spec: dict[str, Any], **metadata: Any) -> str:
    """One document in YAML, written field by field so that its lines are known."""
    body = {"name": name, **metadata}
    lines = ["apiVersion: metalwright/v1", f"kind: {kind}", f"metadata: {json.dumps(body)}"]
    lines += ["spec:"] + [f"  {key}: {json.dumps(value)}" for key, value in spec.items()]
    return "\n".join(lines) + "\n"


def node(name: str, number: int = 1, **changes: Any) -> str:
    spec = {
        "driver": "ipmi",
        "bmc": {"address": f"10.0.{number // 250}.{number % 250 + 1}", "credentials": "bmc/lab"},
        "nics": [{"mac": f"52:54:00:00:{number // 256:02x}:{number % 256:02x}", "boot": True}],
    }
    return document("Node", name, {**spec, **changes}, labels={"rack": "a01"})


def image(name: str = "live", *roles: str) -> str:
    chosen = roles or ("kernel", "initrd")
    artifacts = {role: {"url": f"https://i.lab/{name}/{role}", "sha256": SHA} for role in chosen}
    return document("Image", name, artifacts)


def template(name: str = "base", **changes: Any) -> str:
    return document("BootTemplate", name, {"method": "netboot", "image": "live", **changes})


def pool(name: str = "lab", **changes: Any) -> str:
    spec = {"owner": "ops", "resting": {"power": "off"}, "nodes": ["n[1-3]"]}
    return document("Pool", name, {**spec, **changes})


def assignment(name: str = "work", **changes: Any) -> str:
    spec = {"pool": "lab", "nodes": ["n1"], "template": "base", "owner": "ada"}
    return document("Assignment", name, {**spec, **changes})


def schedule(name: str, *windows: tuple[str, str]) -> str:
    return document("Schedule", name, {"windows": [{"start": a, "end": b} for a, b in windows]})


def many(*texts: str) -> str:
    return "---\n".join(texts)


def fleet() -> dict[str, str]:
    """Files of a valid inventory: three nodes, an image, a template, a pool, an assignment."""
    return {
        "nodes.yaml": many(*(node(f"n{number}", number) for number in (1, 2, 3))),
        "images.yaml": image(),
        "templates.yaml": template(),
        "pools.yaml": pool(),
        "work.yaml": assignment(),
    }
