"""Malformed inventories, written by hand: what is put into a good fleet, and what must be said.

Each case lists every error that is expected, as (path, line, code); a revision may have no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .git_repository import Content
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

Expected = tuple[str, int, str]
Files = dict[str | bytes, Content]


@dataclass(frozen=True)
class Case:
    """Files over the good fleet (None takes one away), and the errors."""

    name: str
    files: Files
    expected: tuple[Expected, ...]
    alone: bool = False

    def tree(self) -> Files:
        good: Files = {} if self.alone else dict(fleet())
        return {path: text for path, text in (good | self.files).items() if text is not None}


def case(name: str, files: Files, *expected: Expected, alone: bool = False) -> Case:
    return Case(name, files, expected, alone)


def in_x(name: str, text: Content, *expected: tuple[int, str]) -> Case:
    """One more file, x.yaml."""
    return case(name, {"x.yaml": text}, *(("x.yaml", line, code) for line, code in expected))


def two(first: str, second: str) -> str:
    return many(first, second)


def when(start: str | None, end: str | None) -> dict[str, str]:
    given = {"start": start, "end": end}
    return {key: f"2027-{day}T00:00:00Z" for key, day in given.items() if day is not None}


def templates(count: int, **first: Any) -> str:
    """A chain of templates t1 <- t2 <- ..., each extending the one before it."""
    chain = [template("t1", **first)]
    chain += [
        document("BootTemplate", f"t{n}", {"extends": f"t{n - 1}"}) for n in range(2, count + 1)
    ]
    return many(*chain)


YAML = [
    in_x("duplicate key", "apiVersion: metalwright/v1\nkind: Node\nkind: Pool\n",
         (3, "yaml/duplicate-key"), (1, "schema/missing-field"), (1, "schema/missing-field")),
    in_x("duplicate field", pool("x", nodes=[], selector="name = q") + "  owner: other\n",
         (9, "yaml/duplicate-key")),
    in_x("anchor", node("n8", 8).replace('"ipmi"', "&driver ipmi"), (5, "yaml/anchor")),
    in_x("alias", node("n8", 8).replace('"ipmi"', "*driver"),
         (5, "yaml/alias"), (5, "schema/wrong-type")),
    in_x("merge key", node("n8", 8) + "  <<: {serial: x}\n",
         (8, "yaml/merge-key"), (8, "schema/unknown-field")),
    in_x("tag", node("n8", 8).replace('"ipmi"', "!!str ipmi"), (5, "yaml/tag")),
    in_x("python object", "!!python/object/apply:os.system ['touch /tmp/x']\n",
         (1, "yaml/tag"), (1, "document/not-a-mapping")),
    in_x("directive", "%YAML 1.2\n---\n" + node("n8", 8), (1, "yaml/directive")),
    in_x("tab", node("n8", 8) + "\tserial: x\n", (8, "yaml/syntax")),
    in_x("open bracket", "a: [1, 2\n", (2, "yaml/syntax")),
    in_x("open quote", node("n8", 8) + '  serial: "x\n', (9, "yaml/syntax")),
    in_x("colon in text", node("n8", 8) + "  serial: a: b\n", (8, "yaml/syntax")),
    in_x("wrong indentation", "spec:\n    driver: x\n  bmc: y\n", (3, "yaml/syntax")),
    in_x("number as key", "1: a\n", (1, "yaml/key-not-text"), (1, "document/api-version"),
         (1, "document/kind")),
    in_x("list as key", "? [a]\n: 1\n", (1, "yaml/key-not-text")),
    in_x("long number", f"a: {'9' * 400}\n", (1, "yaml/number"), (1, "document/api-version"),
         (1, "document/kind")),
    in_x("control character", "a: \x1b[2J\n", (1, "file/control-character")),
    in_x("NUL", "a: 1\nb: \0\n", (2, "file/control-character")),
    in_x("NUL in a name", node("n\0", 8).replace("\\u0000", "\0"), (3, "file/control-character")),
    in_x("escaped NUL in a name", node("n\0", 8), (3, "schema/wrong-value")),
    in_x("Latin-1", node("n8", 8, serial="x").encode() + b"# caf\xe9\n", (9, "file/encoding")),
    in_x("UTF-16", node("n8", 8).encode("utf-16"), (1, "file/encoding")),
    in_x("UTF-32", node("n8", 8).encode("utf-32"), (1, "file/encoding")),
    in_x("binary", bytes(range(256)) * 10, (2, "file/encoding")),
    in_x("gzip", b"\x1f\x8b\x08\0\0\0\0\0", (1, "file/encoding")),
    in_x("nested lists", b"[" * 1_000_000, (1, "yaml/too-deep")),
    in_x("nested mappings", b"{a: " * 1_000_000, (1, "yaml/too-deep")),
    in_x("nested keys", b"{" * 1_000_000, (1, "yaml/key-not-text")),
    in_x("nested blocks", b"- " * 1_000_000, (1, "yaml/too-deep")),
    in_x("alias bomb", "a: &a [x, x]\n" + "".join(f"b{n}: [*a, *a]\n" for n in range(3)),
         (1, "yaml/anchor"), *[(line, "yaml/alias") for line in (2, 2, 3, 3, 4, 4)],
         (1, "document/api-version"), (1, "document/kind")),
    in_x("many values", "a: [" + "1," * 120_000 + "]", (1, "yaml/too-many-nodes")),
    in_x("many documents", "--- {}\n" * 10_001,
         (10_001, "yaml/too-many-documents")),
    in_x("just too large", b"#" * (4 * 1024 * 1024) + b"\n", (0, "file/too-large")),
    in_x("tag directives", "".join(f"%TAG !a{n}! x\n" for n in range(100_000)),
         (1, "yaml/directive")),
]  # fmt: skip

DOCUMENTS = [
    in_x("a list", "- a\n- b\n", (1, "document/not-a-mapping")),
    in_x("a scalar", "hello\n", (1, "document/not-a-mapping")),
    in_x("a number", "---\n42\n", (2, "document/not-a-mapping")),
    in_x("an empty mapping", "{}\n", (1, "document/api-version"), (1, "document/kind")),
    in_x("no kind", "apiVersion: metalwright/v1\nspec: {}\n", (1, "document/kind")),
    in_x("unknown kind", node("n8", 8).replace("kind: Node", "kind: Nodes"), (2, "document/kind")),
    in_x("kind in lower case", node("n8", 8).replace("kind: Node", "kind: node"),
         (2, "document/kind")),
    in_x("kind of Kubernetes", "apiVersion: v1\nkind: Pod\n",
         (1, "document/api-version"), (2, "document/kind")),
    in_x("kind is a list", "apiVersion: metalwright/v1\nkind: [Node]\n", (2, "document/kind")),
    in_x("kind is nothing", "apiVersion: metalwright/v1\nkind:\n", (2, "document/kind")),
    in_x("other version", node("n8", 8).replace("/v1", "/v2"), (1, "document/api-version")),
    in_x("version is a number", node("n8", 8).replace("metalwright/v1", "1.0"),
         (1, "document/api-version")),
    in_x("no spec", "apiVersion: metalwright/v1\nkind: Node\nmetadata: {name: x}\n",
         (1, "schema/missing-field")),
    in_x("spec is nothing", "apiVersion: metalwright/v1\nkind: Node\nmetadata: {name: x}\nspec:\n",
         (4, "schema/wrong-type")),
    in_x("second document is wrong", two(node("n8", 8), node("n9", 9, driver="x")),
         (13, "node/unknown-driver")),
    in_x("status", node("n8", 8) + "status: {}\n", (8, "schema/unknown-field")),
    in_x("snake case", node("n8", 8) + "  boot_mode: uefi\n", (8, "schema/unknown-field")),
    in_x("upper case name", node("N8", 8), (3, "schema/wrong-value")),
    in_x("name with a slash", node("../n8", 8), (3, "schema/wrong-value")),
    in_x("name with a line feed", node("n8\n", 8), (3, "schema/wrong-value")),
    in_x("empty name", node("", 8), (3, "schema/wrong-value")),
    in_x("name is a number", node("n8", 8).replace('"n8"', "8"), (3, "schema/wrong-type")),
    in_x("name is true", node("n8", 8).replace('"n8"', "true"), (3, "schema/wrong-type")),
    in_x("long name", node("n" * 254, 8), (3, "schema/wrong-value")),
    in_x("label is a number", node("n8", 8).replace('"a01"', "1"), (3, "schema/wrong-type")),
    in_x("serial is a float", node("n8", 8, serial="X").replace('"X"', "12e3"),
         (8, "schema/wrong-type")),
    in_x("password in git",
         node("n8", 8).replace('"credentials": "bmc/lab"', '"password": "hunter2"'),
         (6, "schema/unknown-field")),
    in_x("bad MAC", node("n8", 8).replace("52:54", "52:5z"), (7, "schema/wrong-value")),
    in_x("bad port", node("n8", 8, bmc={"address": "10.1.1.1", "port": 0, "credentials": "a"}),
         (6, "schema/wrong-value")),
    in_x("bad address", node("n8", 8, bmc={"address": "10.1.1.300", "credentials": "a"}),
         (6, "schema/wrong-value")),
    in_x("bad UUID", node("n8", 8, systemUuid="1-2-3"), (8, "schema/wrong-value")),
    in_x("bad lifecycle", node("n8", 8, lifecycle="Managed"), (8, "schema/wrong-value")),
    in_x("negative number", node("n8", 8, properties={"cpus": -1}), (8, "schema/wrong-value")),
    in_x("huge number", node("n8", 8, properties={"cpus": 10**200}), (8, "schema/wrong-value")),
    in_x("fraction", node("n8", 8, properties={"cpus": 1.5}), (8, "schema/wrong-type")),
    in_x("65 NICs", node("n8", 8, nics=[{"mac": f"02:00:00:00:00:{n:02x}"} for n in range(65)]),
         (7, "schema/wrong-value")),
    in_x("bad digest", image("x").replace("0123", "XYZ!"),
         (5, "schema/wrong-value"), (6, "schema/wrong-value")),
    in_x("bad URL", image("x").replace("https", "gopher"),
         (5, "schema/wrong-value"), (6, "schema/wrong-value")),
    in_x("password in a URL", image("x").replace("https://", "https://u:p@"),
         (5, "secret/in-url"), (6, "secret/in-url")),
    in_x("resting twice", pool("x", resting={"power": "on", "template": "base"}),
         (6, "schema/wrong-value")),
    in_x("resting never", pool("x", resting={}), (6, "schema/wrong-value")),
    in_x("power is true", pool("x", resting={"power": True}), (6, "schema/wrong-value")),
    in_x("pool without members", pool("x", nodes=[]), (4, "schema/wrong-value")),
    in_x("bad selector", pool("x", selector="rack ="), (8, "schema/wrong-value")),
    in_x("endless selector", pool("x", selector="n[1-99999999]"), (8, "schema/wrong-value")),
    in_x("deep selector", pool("x", selector="(" * 60 + "*" + ")" * 60),
         (8, "schema/wrong-value")),
    in_x("backwards window", schedule("x", ("2027-02-01T00:00:00Z", "2027-01-01T00:00:00Z")),
         (5, "schema/wrong-value")),
    in_x("window without a zone", schedule("x", ("2027-01-01T00:00:00", "2027-02-01T00:00:00Z")),
         (5, "schema/wrong-value")),
    in_x("no such day", schedule("x", ("2027-02-30T00:00:00Z", "2027-03-01T00:00:00Z")),
         (5, "schema/wrong-value")),
    in_x("end of the calendar", document("Schedule", "x", {"windows": [
        {"start": "9999-12-31T00:00:00Z", "duration": "9d"}]}), (5, "schema/wrong-value")),
    in_x("bad duration", template("x", timeouts={"boot": "soon"}), (7, "schema/wrong-value")),
    in_x("duration is a number", template("x", timeouts={"boot": 90}), (7, "schema/wrong-value")),
    in_x("backwards assignment", assignment("x", when=when("02-01", "01-01")),
         (9, "schema/wrong-value")),
    in_x("assignment without nodes", assignment("x", nodes=[]), (6, "schema/wrong-value")),
    in_x("freeze without an end", document("Freeze", "x", {"reason": "r"}),
         (4, "schema/wrong-value")),
    in_x("short plan id", document("Policy", "x", {"acknowledge": ["abc"]}),
         (5, "schema/wrong-value")),
]  # fmt: skip

REFERENCES = [
    case("unknown pool", {"work.yaml": assignment(pool="labb")},
         ("work.yaml", 5, "reference/unknown")),
    case("unknown template", {"work.yaml": assignment(template="bas")},
         ("work.yaml", 7, "reference/unknown")),
    case("unknown node", {"work.yaml": assignment(nodes=["n1", "n7"])},
         ("work.yaml", 6, "reference/unknown")),
    case("unknown nodes of a range", {"work.yaml": assignment(nodes=["n[1-9]"])},
         ("work.yaml", 6, "reference/unknown")),
    case("unknown schedule", {"work.yaml": assignment(when={"schedule": "x"})},
         ("work.yaml", 9, "reference/unknown")),
    case("unknown node of a pool", {"pools.yaml": pool(nodes=["n[1-3]", "n4"])},
         ("pools.yaml", 7, "reference/unknown")),
    case("unknown resting template", {"pools.yaml": pool(resting={"template": "x"})},
         ("pools.yaml", 6, "reference/unknown")),
    case("unknown image", {"templates.yaml": template(image="x")},
         ("templates.yaml", 6, "reference/unknown")),
    case("unknown parent", {"templates.yaml": template(extends="x")},
         ("templates.yaml", 7, "reference/unknown")),
    in_x("unknown schedule of a freeze",
         document("Freeze", "f", {"reason": "r", "schedule": "x"}), (6, "reference/unknown")),
    case("no range", {"work.yaml": assignment(nodes=["n1", "n[3-1]", "N1", "n[1-", "n 1"])},
         *[("work.yaml", 6, "reference/range")] * 4),
    case("endless range", {"work.yaml": assignment(nodes=["n1", "n[1-999999999]"])},
         ("work.yaml", 6, "reference/range")),
    case("too many names", {"work.yaml": assignment(nodes=["n1", *["n[1-99999]"] * 4])},
         ("work.yaml", 6, "reference/unknown"), ("work.yaml", 6, "reference/too-many")),
    case("a pool that is a node", {"work.yaml": assignment(pool="n1")},
         ("work.yaml", 5, "reference/unknown")),
    case("the image is gone", {"images.yaml": None}, ("templates.yaml", 6, "reference/unknown")),
    case("the pool is gone", {"pools.yaml": None}, ("work.yaml", 5, "reference/unknown")),
]  # fmt: skip

DUPLICATES = [
    in_x("two nodes of one name", node("n1", 8), (3, "duplicate/name")),
    in_x("two nodes of one name in a file", two(node("n8", 8), node("n8", 9)),
         (11, "duplicate/name")),
    in_x("three pools of one name", many(*[pool("p", nodes=[], selector="name = n9")] * 3),
         (12, "duplicate/name"), (21, "duplicate/name")),
    in_x("two images of one name", image("live"), (3, "duplicate/name")),
    in_x("two templates of one name", template("base"), (3, "duplicate/name")),
    in_x("two schedules of one name",
         many(*[schedule("s", ("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z"))] * 2),
         (9, "duplicate/name")),
    in_x("one MAC twice", node("n8", 8, nics=[{"mac": "52:54:00:00:00:01"}]), (7, "duplicate/mac")),
    in_x("one MAC in capitals", node("n8", 8, nics=[{"mac": "02:AA:00:00:00:01"},
         {"mac": "02:aa:00:00:00:01"}]), (7, "duplicate/mac")),
    in_x("one BMC twice", node("n8", 8, bmc={"address": "10.0.0.2", "credentials": "a"}),
         (6, "duplicate/bmc")),
    in_x("one IPv6 BMC in two spellings", two(
        node("n8", 8, bmc={"address": "FD00::1", "credentials": "a"}),
        node("n9", 9, bmc={"address": "fd00:0:0::1", "credentials": "a"})), (14, "duplicate/bmc")),
    in_x("one serial twice", two(node("n8", 8, serial="S"), node("n9", 9, serial="S")),
         (17, "duplicate/serial")),
    in_x("one system UUID twice", two(
        node("n8", 8, systemUuid="0000000A-0000-0000-0000-000000000000"),
        node("n9", 9, systemUuid="0000000a-0000-0000-0000-000000000000")),
        (17, "duplicate/system-uuid")),
    in_x("two policies", two(document("Policy", "a", {}).replace("spec:", "spec: {}"),
                             document("Policy", "b", {}).replace("spec:", "spec: {}")),
         (8, "duplicate/policy")),
]  # fmt: skip

NODES = [
    in_x("ipmi without a BMC", document("Node", "n8", {"driver": "ipmi"}), (5, "node/without-bmc")),
    in_x("ipmi without credentials", node("n8", 8, bmc={"address": "10.1.1.1"}),
         (6, "node/without-bmc")),
    in_x("two boot NICs", node("n8", 8, nics=[
        {"mac": "02:00:00:00:00:01", "boot": True}, {"mac": "02:00:00:00:00:02"},
        {"mac": "02:00:00:00:00:03", "boot": True}]), (7, "node/boot-nics")),
    case("no node", {"nodes.yaml": None, "pools.yaml": None, "work.yaml": None},
         ("", 0, "inventory/no-nodes")),
    case("an empty tree", {"README.md": "nothing"}, ("", 0, "inventory/no-nodes"), alone=True),
    case("only comments", {"a.yaml": "# nothing\n---\n"}, ("", 0, "inventory/no-nodes"),
         alone=True),
    case("only hidden files", {".a/x.yaml": node("n1")}, ("", 0, "inventory/no-nodes"),
         alone=True),
]  # fmt: skip

POOLS = [
    case("a node in two pools by name", {"x.yaml": pool("other", nodes=["n3"])},
         ("x.yaml", 7, "pool/node-in-two")),
    case("a node in two pools by selector", {"x.yaml": pool("other", nodes=[], selector="*")},
         ("x.yaml", 8, "pool/node-in-two")),
    case("a node in three pools", {"x.yaml": two(pool("b", nodes=["n3"]), pool("c", nodes=["n3"]))},
         ("x.yaml", 7, "pool/node-in-two"), ("x.yaml", 15, "pool/node-in-two")),
    case("a node outside of its pool", {"pools.yaml": pool(nodes=["n2"])},
         ("work.yaml", 6, "assignment/outside-pool")),
    case("a node of another pool",
         {"pools.yaml": two(pool(nodes=["n2"]), pool("b", nodes=["n1", "n3"]))},
         ("work.yaml", 6, "assignment/outside-pool")),
]  # fmt: skip

TEMPLATES = [
    case("extends itself", {"x.yaml": template("t", extends="t")}, ("x.yaml", 7, "template/cycle")),
    case("a circle of three", {"x.yaml": many(*(
        template(f"t{n}", extends=f"t{(n + 1) % 3}") for n in range(3)))},
        ("x.yaml", 7, "template/cycle")),
    case("into a circle", {"x.yaml": many(
        template("a", extends="b"), template("b", extends="c"), template("c", extends="b"))},
        ("x.yaml", 15, "template/cycle")),
    case("17 deep", {"x.yaml": templates(17, method="local")},
         ("x.yaml", 7 + 15 * 6 + 5, "template/too-deep")),
    case("no method", {"x.yaml": document("BootTemplate", "t", {"image": "live"})},
         ("x.yaml", 4, "template/without-method")),
    case("netboot without an image", {"x.yaml": document("BootTemplate", "t",
         {"method": "netboot"})}, ("x.yaml", 4, "template/without-image")),
    case("netboot without an initrd", {"images.yaml": image("live", "kernel")},
         ("templates.yaml", 6, "template/without-image")),
    case("disk without a disk image", {"templates.yaml": template(method="disk")},
         ("templates.yaml", 6, "template/without-image")),
    case("a parent's image is not enough", {"x.yaml": document("BootTemplate", "t",
         {"extends": "base", "method": "disk"})}, ("x.yaml", 4, "template/without-image")),
    case("too many arguments", {"x.yaml": many(
        template("a", kernelArgs=["x"] * 200),
        template("b", extends="a", kernelArgs=["x"] * 57))},
        ("x.yaml", 16, "template/too-large")),
    case("too many checks", {"x.yaml": many(
        template("a", validation=[{"name": f"a{n}", "ping": {}} for n in range(20)]),
        template("b", extends="a", validation=[{"name": f"b{n}", "ssh": {}} for n in range(13)]))},
        ("x.yaml", 16, "template/too-large")),
    case("too many files", {"x.yaml": many(
        template("a", files={f"a{n}": "" for n in range(20)}),
        template("b", extends="a", files={f"b{n}": "" for n in range(13)}))},
        ("x.yaml", 16, "template/too-large")),
    case("no such ramdisk", {"x.yaml": document("Policy", "p", {"ramdisk": "wiper"})},
         ("x.yaml", 5, "reference/unknown")),
    case("a ramdisk without an initrd", {"x.yaml": many(
        image("wiper", "kernel"), document("Policy", "p", {"ramdisk": "wiper"}))},
        ("x.yaml", 11, "policy/ramdisk")),
]  # fmt: skip


def booked(*whens: dict[str, str] | None) -> Content:
    """Assignments a, b, c of n1 at the given times, eight or nine lines each."""
    texts = []
    for name, at in zip("abc", whens, strict=False):
        changes = {} if at is None else {"when": at}
        texts.append(assignment(name, **changes))
    return many(*texts)


WINDOWS = schedule(
    "s", ("2027-01-01T00:00:00Z", "2027-01-02T00:00:00Z"), ("2027-03-01T00:00:00Z",
         "2027-03-02T00:00:00Z"))  # fmt: skip
OVERLAP = "assignment/overlap"
BOOKINGS = [
    case("twice for good", {"work.yaml": booked(None, None)}, ("work.yaml", 15, OVERLAP)),
    case("for good and for a day", {"work.yaml": booked(None, when("01-01", "01-02"))},
         ("work.yaml", 18, OVERLAP)),
    case("overlap by a day", {"work.yaml": booked(when("01-01", "01-03"), when("01-02", "01-04"))},
         ("work.yaml", 19, OVERLAP)),
    case("one inside the other",
         {"work.yaml": booked(when("01-01", "01-09"), when("01-02", "01-04"))},
         ("work.yaml", 19, OVERLAP)),
    case("the same time", {"work.yaml": booked(when("01-01", "01-03"), when("01-01", "01-03"))},
         ("work.yaml", 19, OVERLAP)),
    case("no end", {"work.yaml": booked(when("01-01", None), when("06-01", "06-02"))},
         ("work.yaml", 19, OVERLAP)),
    case("no begin", {"work.yaml": booked(when(None, "01-05"), when("01-04", None))},
         ("work.yaml", 19, OVERLAP)),
    case("three at once", {"work.yaml": booked(None, None, None)},
         ("work.yaml", 15, OVERLAP), *[("work.yaml", 24, OVERLAP)] * 2),
    case("a schedule's second window",
         {"s.yaml": WINDOWS, "work.yaml": booked({"schedule": "s"}, when("03-01", "03-05"))},
         ("work.yaml", 19, OVERLAP)),
    case("one schedule twice",
         {"s.yaml": WINDOWS, "work.yaml": booked({"schedule": "s"}, {"schedule": "s"})},
         ("work.yaml", 19, OVERLAP)),
    case("one node of many", {"work.yaml": two(
        assignment("a", nodes=["n[1-2]"]), assignment("b", nodes=["n3", "n2"]))},
        ("work.yaml", 15, OVERLAP)),
]  # fmt: skip

LONG = "d" * 200
TREES = [
    case("a link", {"link.yaml": ("120000", "nodes.yaml")}, ("link.yaml", 0, "tree/symlink")),
    case("a link to outside", {"x/link.yml": ("120000", "/etc/passwd")},
         ("x/link.yml", 0, "tree/symlink")),
    case("a link to itself", {"loop.yaml": ("120000", "loop.yaml")},
         ("loop.yaml", 0, "tree/symlink")),
    case("a name that is not UTF-8", {b"caf\xe9.yaml": node("n8", 8)},
         ("caf\\xe9.yaml", 0, "tree/name")),
    case("a line feed in a name", {"a\nb.yaml": node("n8", 8)}, ("a\\nb.yaml", 0, "tree/name")),
    case("an escape in a name", {"\x1b[2J.yaml": node("n8", 8)},
         ("\\x1b[2J.yaml", 0, "tree/name")),
    case("a long path", {"/".join([LONG] * 6) + "/x.yaml": node("n8", 8)},
         (("/".join([LONG] * 6))[:1025], 0, "tree/name")),
    case("a hundred megabytes", {"big.yaml": b"\0" * 100_000_000},
         ("big.yaml", 0, "file/too-large")),
    case("a very deep path", {"d/" * 2_000 + "x.yaml": node("n8", 8)},
         (("d/" * 2_000)[:1025], 0, "tree/name")),
]  # fmt: skip

CASES: list[Case] = [
    *YAML,
    *DOCUMENTS,
    *REFERENCES,
    *DUPLICATES,
    *NODES,
    *POOLS,
    *TEMPLATES,
    *BOOKINGS,
    *TREES,
]
