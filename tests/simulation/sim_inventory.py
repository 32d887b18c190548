"""The inventory of a simulated fleet: a small flat model, and the YAML that says the same.

The oracles read the model, the product reads the YAML. A model is a plain dictionary: `rest/p0` is
what pool p0 is at rest (a template, or `on` or `off`), `limit/p0` its slots, `template/t1` the
version of a template, `bad/t1` that it boots nothing, `loan/p0-0` the template of an assignment of
a part of the pool, `rollout/p0` how changes of the pool go out, `hold/n00001` a hold in git, and
`policy/...` the fleet's rules. `None` takes a key away.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sim_policy import Model, policy_text

RACK_NODES = 8
PDU_NODES = 16
CONDUCTOR_GROUPS = 2
FILE_NODES = 40
PARTS = 2

TEMPLATES = {
    "t0": ("netboot", "live", "none"),
    "t1": ("netboot", "live", "none"),
    "t2": ("netboot", "live", "metadata"),
    "t3": ("disk", "disk", "none"),
    "t4": ("local", None, "none"),
    "t5": ("netboot", "slow", "none"),
}

CHECKED = ("t1", "t3")
"""The templates whose machines are validated."""

CHECKS = ("ping", "home")
"""The names of the checks that these have to pass."""

_VALIDATION = "[{name: ping, ping: {}, timeout: 5s}, {name: home, phoneHome: {}}]"

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
---
apiVersion: metalwright/v1
kind: Image
metadata: {{name: slow}}
spec:
  kernel: {{url: "http://slow.example:8080/k", sha256: "{"3" * 64}"}}
  initrd: {{url: "http://slow.example:8080/i", sha256: "{"4" * 64}"}}
"""

SERVERS = {"live": "images.example", "disk": "images.example", "slow": "slow.example:8080"}
"""Where the artifacts of an image are."""


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

    def pdu_of(self, name: str) -> str:
        """The power domain of a node."""
        return f"d{int(name[1:]) // PDU_NODES:04}"

    def group_of(self, name: str) -> str:
        """The conductor group of a node."""
        return f"g{int(name[1:]) // PDU_NODES % CONDUCTOR_GROUPS}"


def wanted(shape: Shape, model: Model) -> dict[str, str]:
    """What each node is to be: a template's name, `on` or `off`."""
    found = {name: model[f"rest/{pool}"] for name, pool in shape.pool_of.items()}
    for key, value in model.items():
        if key.startswith("loan/"):
            found |= dict.fromkeys(shape.part(key[5:]), value)
    return found


def files_of(shape: Shape, model: Model) -> dict[str, str]:
    """Every file of the revision that the model is, by path."""
    files = dict(_node_files(shape)) | _held_files(shape, model)
    files["images.yaml"] = IMAGES
    files["policy.yaml"] = policy_text(shape.speed, model)
    for name in TEMPLATES:
        files[f"templates/{name}.yaml"] = _template(name, model)
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


BAD = "root=nowhere"
"""What a template says that boots nothing."""


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


def _held_files(shape: Shape, model: Model) -> dict[str, str]:
    """The files of nodes that are held in git."""
    held = {key[5:] for key in model if key.startswith("hold/")}
    files: dict[str, str] = {}
    for at in sorted({int(name[1:]) // FILE_NODES for name in held}):
        some = list(enumerate(shape.names))[at * FILE_NODES : (at + 1) * FILE_NODES]
        parts = [_node(shape, number, name, held=name in held) for number, name in some]
        files[f"nodes/f{at:04}.yaml"] = "---\n".join(parts)
    return files


def _node(shape: Shape, number: int, name: str, *, held: bool = False) -> str:
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    mac = f"52:54:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    return (
        "apiVersion: metalwright/v1\nkind: Node\n"
        f"metadata: {{name: {name},"
        f" labels: {{rack: {shape.rack_of(name)}, pdu: {shape.pdu_of(name)}}}}}\n"
        f"spec: {{driver: fake, conductorGroup: {shape.group_of(name)},"
        + (" hold: {reason: its fans are changed}," if held else "")
        + f" bmc: {{address: {address}}}, serial: SN{number:06},"
        f' nics: [{{mac: "{mac}", boot: true}}]}}\n'
    )


def _spare(number: int) -> str:
    return (
        "apiVersion: metalwright/v1\nkind: Node\n"
        f"metadata: {{name: spare{number:05}}}\n"
        f"spec: {{driver: fake, lifecycle: retired, serial: SPARE{number:05}}}\n"
    )


def _template(name: str, model: Model) -> str:
    method, image, wipe = TEMPLATES[name]
    arguments = [f"version={model[f'template/{name}']}"]
    if model.get(f"bad/{name}"):
        arguments.append(BAD)
    spec = f"method: {method}, wipe: {wipe}, kernelArgs: {json.dumps(arguments)}"
    if image is not None:
        spec += f", image: {image}"
    if name in CHECKED:
        spec += f", validation: {_VALIDATION}"
    return (
        "apiVersion: metalwright/v1\nkind: BootTemplate\n"
        f"metadata: {{name: {name}}}\nspec: {{{spec}}}\n"
    )


def _pool(shape: Shape, pool: str, model: Model) -> str:
    rest = model[f"rest/{pool}"]
    resting = f'power: "{rest}"' if rest in ("on", "off") else f"template: {rest}"
    limits = {"inFlight": model.get(f"limit/{pool}"), "weight": model.get(f"weight/{pool}")}
    limits = {name: value for name, value in limits.items() if value}
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
    if _shares(pool):
        lines.append("  reuse: unwiped")
    if limits:
        lines.append(f"  limits: {json.dumps(limits)}")
    if model.get(f"rollout/{pool}"):
        lines.append(f"  rollout: {json.dumps(model[f'rollout/{pool}'])}")
    return "\n".join(lines) + "\n"


def _shares(pool: str) -> bool:
    """Whether several owners take turns in a pool, which says that it wipes nothing for that. The
    assignments of the others are all of one owner: what one finds there is its own.
    """
    return int(pool[1:]) % 2 == 1


def _loan(shape: Shape, loan: str, template: str, model: Model) -> str:
    pool = loan.partition("-")[0]
    owner = f"tenant with {template}" if _shares(pool) else "tenant"
    return (
        "apiVersion: metalwright/v1\nkind: Assignment\n"
        f"metadata: {{name: loan-{loan}}}\n"
        f"spec:\n  pool: {pool}\n  nodes: [{', '.join(shape.part(loan))}]\n"
        f"  template: {template}\n  owner: {owner}\n"
        f"  priority: {model.get('priority/' + loan, 500)}\n"
        "  templateEdits: immediate\n  dataLossConsent: true\n"
    )
