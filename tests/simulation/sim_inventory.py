"""The inventory of a simulated fleet: a small flat model, and the YAML that says the same.

The oracles read the model, the product reads the YAML. A model is a plain dictionary: `rest/p0` is
what pool p0 is at rest (a template, or `on` or `off`), `limit/p0` its slots, `template/t1` the
version of a template, `loan/p0-0` the template of an assignment of a part of the pool, and
`policy/...` the fleet's rules. `None` takes a key away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

RACK_NODES = 8
FILE_NODES = 40
PARTS = 2

TEMPLATES = {
    "t0": ("netboot", "live", "none"),
    "t1": ("netboot", "live", "none"),
    "t2": ("netboot", "live", "metadata"),
    "t3": ("disk", "disk", "none"),
    "t4": ("local", None, "none"),
}

IMAGES = f"""\
apiVersion: metalwright/v1
kind: Image
metadata: {{name: live}}
spec:
  kernel: {{url: "https://images.example/k", sha256: "{"0" * 64}"}}
  initrd: {{url: "https://images.example/i", sha256: "{"1" * 64}"}}
---
apiVersion: metalwright/v1
kind: Image
metadata: {{name: disk}}
spec:
  kernel: {{url: "https://images.example/k", sha256: "{"0" * 64}"}}
  initrd: {{url: "https://images.example/i", sha256: "{"1" * 64}"}}
  disk: {{url: "https://images.example/d", sha256: "{"2" * 64}"}}
"""

Model = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How many nodes there are, in how many pools of equal size."""

    nodes: int
    pools: int
    speed: float

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Every node, in order."""
        return tuple(f"n{number:05}" for number in range(self.nodes))

    @cached_property
    def pool_of(self) -> dict[str, str]:
        """The pool of each node."""
        return {
            name: f"p{number * self.pools // self.nodes}" for number, name in enumerate(self.names)
        }

    @cached_property
    def members(self) -> dict[str, tuple[str, ...]]:
        """The nodes of each pool."""
        found: dict[str, list[str]] = {}
        for name, pool in self.pool_of.items():
            found.setdefault(pool, []).append(name)
        return {pool: tuple(names) for pool, names in found.items()}

    def part(self, loan: str) -> tuple[str, ...]:
        """The nodes of an assignment such as `p0-1`: the second part of its pool."""
        pool, _, number = loan.partition("-")
        nodes = self.members.get(pool, ())
        at = int(number)
        return nodes[len(nodes) * at // PARTS : len(nodes) * (at + 1) // PARTS]

    def rack_of(self, name: str) -> str:
        """The rack of a node."""
        return f"r{int(name[1:]) // RACK_NODES:04}"


def wanted(shape: Shape, model: Model) -> dict[str, str]:
    """What each node is to be: a template's name, `on` or `off`."""
    found = {name: model[f"rest/{pool}"] for name, pool in shape.pool_of.items()}
    for key, value in model.items():
        if key.startswith("loan/"):
            found |= dict.fromkeys(shape.part(key[5:]), value)
    return found


def files_of(shape: Shape, model: Model) -> dict[str, str]:
    """Every file of the revision that the model is, by path."""
    files = dict(_node_files(shape))
    files["images.yaml"] = IMAGES
    files["policy.yaml"] = _policy(shape, model)
    for name in TEMPLATES:
        files[f"templates/{name}.yaml"] = _template(name, model[f"template/{name}"])
    for pool in shape.members:
        files[f"pools/{pool}.yaml"] = _pool(shape, pool, model)
    for key, value in model.items():
        if key.startswith("loan/") and shape.part(key[5:]):
            files[f"loans/{key[5:]}.yaml"] = _loan(shape, key[5:], value, model)
    if model.get("huge"):
        files["huge.yaml"] = "---\n".join(_spare(number) for number in range(model["huge"]))
    if model.get("broken"):
        files["broken.yaml"] = "kind: Pool\n  metadata: [\n"
    return files


def initial(shape: Shape, fleet_limit: int, rack_limit: int | None) -> Model:
    """The first revision: every pool at rest, some on and some off."""
    model: Model = {f"template/{name}": 0 for name in TEMPLATES}
    for number, pool in enumerate(shape.members):
        model[f"rest/{pool}"] = ("t0", "off", "t1")[number % 3]
    return model | {"policy/fleet": fleet_limit, "policy/rack": rack_limit}


_NODE_FILES: dict[int, dict[str, str]] = {}


def _node_files(shape: Shape) -> Mapping[str, str]:
    if shape.nodes not in _NODE_FILES:
        texts: dict[str, list[str]] = {}
        for number, name in enumerate(shape.names):
            path = f"nodes/f{number // FILE_NODES:04}.yaml"
            texts.setdefault(path, []).append(_node(shape, number, name))
        _NODE_FILES[shape.nodes] = {path: "---\n".join(parts) for path, parts in texts.items()}
        while len(_NODE_FILES) > 4:
            del _NODE_FILES[next(iter(_NODE_FILES))]
    return _NODE_FILES[shape.nodes]


def _node(shape: Shape, number: int, name: str) -> str:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    mac = f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    return (
        "apiVersion: metalwright/v1\nkind: Node\n"
        f"metadata: {{name: {name}, labels: {{rack: {shape.rack_of(name)}}}}}\n"
        f"spec: {{driver: fake, bmc: {{address: {address}}}, serial: SN{number:06},"
        f' nics: [{{mac: "{mac}", boot: true}}]}}\n'
    )


def _spare(number: int) -> str:
    return (
        "apiVersion: metalwright/v1\nkind: Node\n"
        f"metadata: {{name: spare{number:05}}}\n"
        f"spec: {{driver: fake, lifecycle: retired, serial: SPARE{number:05}}}\n"
    )


def _policy(shape: Shape, model: Model) -> str:
    limits = f"fleet: {model['policy/fleet']}"
    if model.get("policy/rack"):
        limits += f", labels: {{rack: {model['policy/rack']}}}"
    spec = [f"  limits: {{{limits}}}"]
    if model.get("policy/blast"):
        spec.append(f"  blastRadius: {{nodesMax: {model['policy/blast']}}}")
    if model.get("policy/acknowledge"):
        spec.append("  acknowledge: [" + ", ".join(model["policy/acknowledge"]) + "]")
    spec.append(f"  observationTtl: {model.get('policy/ttl', 120)}s")
    spec.append("  retries: {attemptsMax: 3, backoffMin: 10s, backoffMax: 120s}")
    times = {
        name: max(least, int(seconds / shape.speed))
        for name, seconds, least in (
            ("softPowerOff", 100, 25),
            ("powerOff", 60, 45),
            ("wipe", 120, 45),
            ("boot", 500, 60),
            ("install", 1_200, 90),
        )
    }
    spec.append(
        "  timeouts: {" + ", ".join(f"{name}: {seconds}s" for name, seconds in times.items()) + "}"
    )
    return (
        "apiVersion: metalwright/v1\nkind: Policy\nmetadata: {name: fleet}\nspec:\n"
        + "\n".join(spec)
        + "\n"
    )


def _template(name: str, version: int) -> str:
    method, image, wipe = TEMPLATES[name]
    spec = f'method: {method}, wipe: {wipe}, kernelArgs: ["version={version}"]'
    if image is not None:
        spec += f", image: {image}"
    return (
        "apiVersion: metalwright/v1\nkind: BootTemplate\n"
        f"metadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )


def _pool(shape: Shape, pool: str, model: Model) -> str:
    rest = model[f"rest/{pool}"]
    resting = f'power: "{rest}"' if rest in ("on", "off") else f"template: {rest}"
    limit = model.get(f"limit/{pool}")
    lines = [
        "apiVersion: metalwright/v1",
        "kind: Pool",
        f"metadata: {{name: {pool}}}",
        "spec:",
        "  owner: lab",
        f"  resting: {{{resting}}}",
        f"  nodes: [{', '.join(shape.members[pool])}]",
        "  drift: correct",
        "  dataLossConsent: true",
    ]
    if limit:
        lines.append(f"  limits: {{inFlight: {limit}}}")
    return "\n".join(lines) + "\n"


def _loan(shape: Shape, loan: str, template: str, model: Model) -> str:
    pool = loan.partition("-")[0]
    return (
        "apiVersion: metalwright/v1\nkind: Assignment\n"
        f"metadata: {{name: loan-{loan}}}\n"
        f"spec:\n  pool: {pool}\n  nodes: [{', '.join(shape.part(loan))}]\n"
        f"  template: {template}\n  owner: tenant\n"
        f"  priority: {model.get('priority/' + loan, 500)}\n"
        "  templateEdits: immediate\n  dataLossConsent: true\n"
    )
