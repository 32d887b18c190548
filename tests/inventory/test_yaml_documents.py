"""The strict YAML reader: YAML 1.2 scalars, everything dangerous refused with line and column."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metalwright.inventory import Code
from metalwright.inventory.files import InventoryFile
from metalwright.inventory.loader import ParsedFiles
from metalwright.inventory.parse import ParsedFile, parse_file
from metalwright.inventory.yaml_builder import (
    DEPTH_MAX,
    DOCUMENTS_MAX,
    FILE_FINDINGS_MAX,
    NODES_MAX,
    Position,
)
from metalwright.inventory.yaml_documents import read_documents
from metalwright.inventory.yaml_text import FILE_BYTES_MAX, NUMBER_DIGITS_MAX
from metalwright.model.finding import Finding

CPU_S_MAX = 2.0
MILLION = 1_000_000


def value_of(text: str | bytes) -> Any:
    data = text if isinstance(text, bytes) else text.encode()
    raw = read_documents(data)
    assert raw.findings == []
    assert len(raw.documents) == 1
    return raw.documents[0].value


def findings_of(text: str | bytes) -> list[Finding]:
    data = text if isinstance(text, bytes) else text.encode()
    fast, marked = read_documents(data).findings, read_documents(data, marks=True).findings
    assert [(f.line, f.column, f.code) for f in fast] == [
        (f.line, f.column, f.code) for f in marked
    ]
    return marked


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(("on", "on"), ("off", "off"), ("yes", "yes"), ("no", "no"), ("NO", "NO"), ("y", "y")),
        *(("true", True), ("True", True), ("TRUE", True), ("false", False), ("tRue", "tRue")),
        *(("null", None), ("~", None), ("", None), ("Null", None), ("none", "none")),
        *(("52:54:00:12:34:56", "52:54:00:12:34:56"), ("12:30", "12:30"), ("1:2:3", "1:2:3")),
        *(("2026-11-20", "2026-11-20"), ("2026-11-20T08:00:00Z", "2026-11-20T08:00:00Z")),
        *(("0644", "0644"), ("007", "007"), ("00", "00"), ("-01", "-01"), ("01.5", "01.5")),
        *(("0", 0), ("-0", 0), ("12", 12), ("+12", 12), ("-7", -7), ("0x1F", 31), ("0o17", 15)),
        *(("1_000", "1_000"), ("0b11", "0b11"), ("1,000", "1,000"), ("٣", "٣")),
        *(("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("1e3", 1000.0), ("-2.5E-1", -0.25)),
        *((".inf", math.inf), ("-.INF", -math.inf), ("inf", "inf"), ("1e", "1e"), (".", ".")),
        *(("+", "+"), ("-", ["-"]), ("=", "="), ("1.2.3.4", "1.2.3.4"), ("e3", "e3")),
        *(("'true'", "true"), ('"12"', "12"), ('"~"', "~"), ("'<<'", "<<"), ("'*a'", "*a")),
    ],
)
def test_a_scalar_means_what_yaml_1_2_says(written: str, meant: object) -> None:
    if written == "-":
        assert value_of("a: '-'") == {"a": "-"}
        return
    found = value_of(f"a: {written}")["a"]
    assert found == meant
    assert type(found) is type(meant)


def test_not_a_number_is_a_number_too() -> None:
    assert math.isnan(value_of("a: .nan")["a"])


def test_block_text_is_text() -> None:
    assert value_of("a: |\n  12\n") == {"a": "12\n"}
    assert value_of("a: >-\n  x\n  y\n") == {"a": "x y"}


def test_a_file_holds_any_number_of_documents_and_empty_ones_do_not_count() -> None:
    raw = read_documents(b"# only a comment\n---\n---\na: 1\n---\n# nothing\n--- {b: 2}\n...\n")
    assert [(d.value, d.line) for d in raw.documents] == [({"a": 1}, 4), ({"b": 2}, 7)]
    assert read_documents(b"").documents == []


def test_a_byte_order_mark_is_tolerated() -> None:
    assert value_of(b"\xef\xbb\xbfa: 1") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "line", "column", "code"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, Code.YAML_DUPLICATE_KEY),
        ("- x\n- {k: 1, 'k': 2}\n", 2, 10, Code.YAML_DUPLICATE_KEY),
        ("a: &x 1\n", 1, 4, Code.YAML_ANCHOR),
        ("a: &x [1]\n", 1, 4, Code.YAML_ANCHOR),
        ("&x a: 1\n", 1, 1, Code.YAML_ANCHOR),
        ("a:\n  - *x\n", 2, 5, Code.YAML_ALIAS),
        ("*x : 1\n", 1, 1, Code.YAML_ALIAS),
        ("a: !!str 1\n", 1, 4, Code.YAML_TAG),
        ("a: !!python/object/apply:os.system [id]\n", 1, 4, Code.YAML_TAG),
        ("a: !mine {b: 1}\n", 1, 4, Code.YAML_TAG),
        ("a: ! x\n", 1, 4, Code.YAML_TAG),
        ("a: 1\n<<: {b: 2}\n", 2, 1, Code.YAML_MERGE_KEY),
        ("1: a\n", 1, 1, Code.YAML_KEY_NOT_TEXT),
        ("a:\n  true: 1\n", 2, 3, Code.YAML_KEY_NOT_TEXT),
        ("~: 1\n", 1, 1, Code.YAML_KEY_NOT_TEXT),
        ("? [a]\n: 1\n", 1, 3, Code.YAML_KEY_NOT_TEXT),
        ("? {a: 1}\n: 1\n", 1, 3, Code.YAML_KEY_NOT_TEXT),
        ("%YAML 1.2\n---\na: 1\n", 1, 1, Code.YAML_DIRECTIVE),
        ("a: [1, 2\nb: 3\n", 2, 2, Code.YAML_SYNTAX),
        ("a: b: c\n", 1, 5, Code.YAML_SYNTAX),
        ("a:\n\tb: 1\n", 2, 1, Code.YAML_SYNTAX),
        ("a: 'never closed\n", 2, 1, Code.YAML_SYNTAX),
        ('a: "\\ud800"\n', 1, 7, Code.YAML_SYNTAX),
        ("a: @b\n", 1, 4, Code.YAML_SYNTAX),
        (f"a: {'9' * (NUMBER_DIGITS_MAX + 1)}\n", 1, 4, Code.YAML_NUMBER),
        (f"a: 1.{'9' * NUMBER_DIGITS_MAX}\n", 1, 4, Code.YAML_NUMBER),
        (f"a: 0x{'f' * NUMBER_DIGITS_MAX}\n", 1, 4, Code.YAML_NUMBER),
        ("a: 1\nb: x\0y\n", 2, 5, Code.FILE_CONTROL_CHARACTER),
        ("a: \x1b[31m\n", 1, 4, Code.FILE_CONTROL_CHARACTER),
        ("a: 1\r\nb: \x7f\n", 2, 4, Code.FILE_CONTROL_CHARACTER),
        ("a: x\ufeffy\n", 1, 5, Code.FILE_CONTROL_CHARACTER),
        (b"a: 1\nb: \xe9t\xe9\n", 2, 4, Code.FILE_ENCODING),
        (b"a: \xed\xa0\x80\n", 1, 4, Code.FILE_ENCODING),
        ("a: 1\n".encode("utf-16"), 1, 1, Code.FILE_ENCODING),
        (b"\xff" * 10, 1, 1, Code.FILE_ENCODING),
    ],
)
def test_what_is_not_plain_yaml_is_a_finding_with_its_place(
    text: str | bytes, line: int, column: int, code: Code
) -> None:
    findings = findings_of(text)
    assert (findings[0].line, findings[0].column, findings[0].code) == (line, column, code)


def test_all_of_a_file_is_told_at_once_and_the_rest_is_still_read() -> None:
    findings = findings_of("a: &x 1\nb: *x\nc: !t 2\n<<: {d: 1}\na: 5\n2: 3\n---\n~: 1\n")
    assert [finding.code for finding in findings] == [
        Code.YAML_ANCHOR,
        Code.YAML_ALIAS,
        Code.YAML_TAG,
        Code.YAML_MERGE_KEY,
        Code.YAML_DUPLICATE_KEY,
        Code.YAML_KEY_NOT_TEXT,
        Code.YAML_KEY_NOT_TEXT,
    ]
    assert findings[4].hint == "it is already in line 1"


def test_the_place_of_every_value_is_known_when_asked_for() -> None:
    text = "---\nkind: Node\nspec:\n  nics:\n    - mac: aa\n      boot: yes\n  none:\n"
    document = read_documents(text.encode(), marks=True).documents[0]
    assert document.line == 2
    assert document.positions[()] == Position(2, 1, 2, 1)
    assert document.positions["spec",] == Position(3, 1, 4, 3)
    assert document.positions["spec", "nics", 0] == Position(5, 7, 5, 7)
    assert document.positions["spec", "nics", 0, "boot"] == Position(6, 7, 6, 13)
    assert document.positions["spec", "none"].key_line == 7
    assert read_documents(text.encode()).documents[0].positions == {}


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


def test_limits_hold_exactly() -> None:
    assert value_of(nested(DEPTH_MAX)) is not None
    assert findings_of(nested(DEPTH_MAX + 1))[0].code == Code.YAML_TOO_DEEP

    assert len(value_of("- a\n" * (NODES_MAX - 1))) == NODES_MAX - 1
    assert findings_of("- a\n" * NODES_MAX)[0].code == Code.YAML_TOO_MANY_NODES

    assert len(read_documents(b"--- a\n" * DOCUMENTS_MAX).documents) == DOCUMENTS_MAX
    over = read_documents(b"--- a\n" * (DOCUMENTS_MAX + 1))
    assert (len(over.documents), over.findings[0].code) == (
        DOCUMENTS_MAX,
        Code.YAML_TOO_MANY_DOCUMENTS,
    )
    padding = "#" * (FILE_BYTES_MAX - 5)
    assert value_of(f"a: 1\n{padding}") == {"a": 1}
    assert findings_of(f"a: 1\n{padding}#")[0].code == Code.FILE_TOO_LARGE
    assert value_of("9" * NUMBER_DIGITS_MAX) == int("9" * NUMBER_DIGITS_MAX)
    assert len(findings_of("- *a\n" * (FILE_FINDINGS_MAX + 50))) == FILE_FINDINGS_MAX


def filled(unit: str, before: str = "", after: str = "") -> bytes:
    count = (FILE_BYTES_MAX - len(before) - len(after)) // len(unit.encode())
    return (before + unit * count + after).encode()


def inventory_of(kind: str, spec: str, metadata: str = "{name: a}") -> bytes:
    head = f"apiVersion: metalwright/v1\nkind: {kind}\nmetadata: {metadata}\nspec: "
    return (head + spec).encode()


BOMBS: dict[str, bytes] = {
    "lists in lists": b"[" * MILLION,
    "mappings in mappings": b"{a: " * MILLION,
    "mapping keys": b"{" * MILLION,
    "lists in lists by line": b"[\n" * MILLION,
    "dashes": b"- " * MILLION,
    "dashes by line": b"".join(b" " * indent + b"-\n" for indent in range(2_800)),
    "explicit keys": b"? " * MILLION,
    "blocks by line": b"".join(b" " * indent + b"a:\n" for indent in range(2_800)),
    "a wide list": filled("a,", "[", "]"),
    "a wide list of lists": filled("[],", "[", "]"),
    "a wide list of mappings": filled("{},", "[", "]"),
    "a wide mapping": b"".join(b"a%d: 1\n" % number for number in range(350_000)),
    "empty documents": filled("---\n"),
    "small documents": filled("--- a\n"),
    "one word": filled("a"),
    "words": filled("a "),
    "quoted line breaks": filled("\n", '"', '"'),
    "escapes": filled("\\n", '"', '"'),
    "block text": filled(" a\n", "a: |\n"),
    "folded text": filled(" \n", "a: >\n"),
    "growing indents": b"a: |\n" + b"\n".join(b" " * indent for indent in range(2_800)) + b"\n b",
    "comments": filled("#\n"),
    "line breaks": filled("\n"),
    "line separators": filled("\u2028"),
    "anchors": filled("- &a b\n"),
    "a long anchor": filled("a", "&", " b"),
    "alias bomb": b"a: &a [x,x]\n" + b"".join(b"b%d: &b%d [*a,*a]\n" % (n, n) for n in range(9)),
    "merge bomb": b"a: &a {x: 1}\n" + b"".join(b"b%d: {<<: *a}\n" % n for n in range(9)),
    "tags": filled("- !a b\n"),
    "escaped tag": filled("%41", "!<", "> b"),
    "tag directives": b"".join(b"%%TAG !a%d! x\n" % number for number in range(200_000)),
    "one key": filled("a: 1\n"),
    "number": filled("9"),
    "fraction": filled("9", "1."),
    "exponent": b"a: 1e" + b"9" * 200,
    "numbers": b"- " + b"\n- ".join([b"9" * 299] * 13_000),
    "a long name": inventory_of("Node", "{}", "{name: '" + "a." * MILLION + "'}"),
    "wrong nodes": inventory_of("Pool", "{nodes: [" + "1," * 90_000 + "]}"),
    "wrong fields": inventory_of("Pool", "{" + ",".join(f"x{n}: 1" for n in range(45_000)) + "}"),
    "wrong labels": inventory_of(
        "Node", "{}", "{labels: {" + ",".join(f"x{n}: 1" for n in range(45_000)) + "}}"
    ),
    "wrong nics": inventory_of("Node", "{nics: [" + "{}," * 90_000 + "]}"),
    "wrong disks": inventory_of("Node", "{properties: {disks: [" + "{x: 1}," * 30_000 + "]}}"),
    "wrong documents": b"---\n".join([b"kind: Nod\nspec: {}\n"] * 9_999),
    "deep selector": inventory_of("Pool", "{selector: '" + "(" * 4_000 + "'}"),
    "large selector": inventory_of("Pool", "{selector: '" + "a[1-99999] or " * 200 + "x'}"),
    "long selector": inventory_of("Pool", "{selector: '" + "a or " * 800 + "a'}"),
    "names to salvage": filled("name: a\n", "x: '"),
    "no names to salvage": filled("name ", "x: '"),
    "long end": inventory_of(
        "Schedule", "{windows: [{start: 9999-12-31T00:00:00Z, duration: 9d}]}"
    ),
    "zeros": b"\0" * FILE_BYTES_MAX,
}


class OneFile:
    """A content without a repository around it."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        return dict.fromkeys(ids, len(self.data))

    def blobs(self, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        return ((identity, self.data) for identity in ids)


def parsed(data: bytes) -> ParsedFile:
    """The file, read as the loader reads it."""
    return ParsedFiles().of([InventoryFile("x.yaml", "x")], OneFile(data), [])["x.yaml"]


@pytest.mark.parametrize("name", BOMBS)
def test_no_file_stalls_or_crashes(name: str) -> None:
    data = BOMBS[name]
    assert len(data) <= FILE_BYTES_MAX
    begin = time.process_time()
    found = parsed(data)
    assert time.process_time() - begin < CPU_S_MAX
    assert len(found.findings) <= FILE_FINDINGS_MAX + 1
    nothing_wrong = {"comments", "line breaks", "line separators"}
    assert bool(found.findings) is (name not in nothing_wrong)


def test_the_rest_of_a_flood_of_findings_is_said_to_be_missing() -> None:
    found = parsed(BOMBS["wrong nodes"])
    assert len(found.findings) == FILE_FINDINGS_MAX + 1
    assert found.findings[-1].code == Code.FILE_TOO_MANY_FINDINGS


# YAML allows no key of more than 1,024 characters before its colon on one line.
TEXT = st.text(st.characters(exclude_categories=("Cs",), max_codepoint=0xFFFF), max_size=100)
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | TEXT
SCALARS |= st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)


def same(left: Any, right: Any) -> bool:
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_json_is_read_as_json(value: Any) -> None:
    raw = read_documents(json.dumps(value).encode())
    assert raw.findings == []
    assert same([d.value for d in raw.documents], [] if value is None else [value])


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_indented_json_is_read_as_json_with_every_place(value: Any) -> None:
    raw = read_documents(json.dumps({"v": value}, indent=1).encode(), marks=True)
    assert raw.findings == []
    assert same(raw.documents[0].value, {"v": value})
    lines = json.dumps({"v": value}, indent=1).splitlines()
    for way, at in raw.documents[0].positions.items():
        if way and isinstance(way[-1], str):
            assert json.dumps(way[-1]) in lines[at.key_line - 1]


TOKENS = ["\n  ", "\n- ", "a: ", "---\n", "...\n", "<<: ", "\0", "\u00e9", "!!int ", "&a ", "*a "]
LINES = ["\ufeff", "0x", "1e9", "apiVersion: metalwright/v1\n", "kind: Pool\n"]
PIECES = st.sampled_from([*"[]{}:,-?&*!|>'\"%@`#~\t\n \\", *TOKENS, *LINES])


@settings(max_examples=500, deadline=None)
@given(st.lists(PIECES | st.text(max_size=4), max_size=60).map("".join))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    fast, marked = read_documents(data), read_documents(data, marks=True)
    places = [(f.line, f.column, f.code) for f in fast.findings]
    assert places == [(f.line, f.column, f.code) for f in marked.findings]
    assert len(fast.documents) == len(marked.documents)
    parse_file(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_raise(data: bytes) -> None:
    parse_file(data)
