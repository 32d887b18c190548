"""The rules that keep the project in one piece, checked on its own text.

Who may import whom, which library lives where, what pure code may touch, how large anything may
grow, and that schemas and documents say what the code says. Everything is read, nothing of the
daemon is run. A failing test lists what is wrong, one line each.
"""

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from metalwright.inventory import check_directory
from metalwright.inventory.codes import Code
from metalwright.model.documents import KINDS
from metalwright.model.operation import Stage, Verb
from metalwright.model.plan import BlockedReason
from metalwright.model.schema import schemas
from metalwright.plan import plan_schema
from metalwright.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "metalwright"
EXAMPLE = ROOT / "inventory-example"

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 300

ROOMS = {"model", "inventory", "schedule", "drivers", "observe", "plan", "execute", "store"}
ROOMS |= {"history", "boot", "lab"}
WIRING = {"cli", "daemon"}
SHARED = {"errors", "settings", "__init__", "__main__"}
SHARED |= {"settings_secrets", "settings_drivers", "settings_boot"}
PURE = {"model", "schedule", "plan", "history"}

MAY_IMPORT = {
    **{room: {"model", "errors"} for room in ROOMS},
    "errors": {"model"},
    "settings": {"errors", "settings_secrets", "settings_drivers", "settings_boot"},
    "settings_secrets": set(),
    "settings_drivers": set(),
    "settings_boot": set(),
    "daemon": ROOMS | {"errors", "settings"},
    "cli": ROOMS | {"errors", "settings", "daemon"},
    "__main__": {"cli"},
    "__init__": set(),
}

LIBRARY_HOMES = {
    "git": {"inventory"},
    "gitdb": {"inventory"},
    "yaml": {"inventory", "drivers"},
    "watchfiles": {"inventory"},
    "pyghmi": {"drivers"},
    "sushy": {"drivers"},
    "openstack": {"drivers"},
    "keystoneauth1": {"drivers"},
    "pyrage": {"drivers"},
    "hvac": {"drivers"},
    "requests": {"drivers"},
    "urllib3": {"drivers"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "anyio": {"boot"},
    "fastapi": {"boot"},
    "starlette": {"boot"},
    "uvicorn": {"boot"},
    "jinja2": {"boot"},
    "httpx": {"boot"},
    "ClusterShell": {"model"},
    "typer": {"cli"},
    "rich": {"cli"},
    "structlog": {"daemon"},
    "pydantic": ROOMS | WIRING | SHARED,
    "pydantic_core": ROOMS | WIRING | SHARED,
    "pydantic_settings": {"settings"},
}

# All that pure code needs of the standard library: nothing here knows the time, rolls dice, opens a
# file or a socket, or writes a log.
PURE_LIBRARY = {
    *("__future__", "abc", "bisect", "collections", "collections.abc", "contextlib", "copy"),
    *("dataclasses", "datetime", "difflib", "enum", "functools", "hashlib", "heapq", "ipaddress"),
    *("itertools", "json", "math", "operator", "re", "string", "textwrap", "types", "typing"),
    *("urllib.parse", "uuid", "zoneinfo"),
}
IMPURE_CALLS = {"open", "print", "input", "exec", "eval", "__import__"}
IMPURE_CALLS |= {"uuid1", "uuid4", "uuid.uuid1", "uuid.uuid4"}
CLOCK_CALLS = {
    *("datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time"),
    *("datetime.datetime.now", "datetime.datetime.utcnow", "datetime.date.today"),
    *("time.time_ns", "time.localtime", "time.gmtime"),
}
CLOCK_HOMES = {"daemon", "cli", "lab"}

UNFINISHED = ["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK", "WI" + "P"]
UNCHECKED = re.compile(
    r"pytest\.mark\.(skip|xfail)\b|\bunittest" + r"\.mock\b|\bmonkeypatch" + r"\.setattr\b"
)


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room_of(path: Path) -> str:
    first = path.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute name of the module) of every import, also of those inside functions."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            name = node.module or ""
            if name == "metalwright":
                yield from ((node.lineno, f"metalwright.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, name


def where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def tell(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_the_rooms_are_those_of_the_listing() -> None:
    found = {room_of(path) for path in modules()}
    assert found <= ROOMS | WIRING | SHARED, found - ROOMS - WIRING - SHARED


def test_a_room_imports_the_model_and_the_errors_and_no_other_room() -> None:
    problems = []
    for path in modules():
        room = room_of(path)
        for line, name in imports(path):
            head, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            allowed = MAY_IMPORT[room] | {room, "", "__version__"}
            if head == "metalwright" and other not in allowed:
                problems.append(f"{where(path, line)}: {room} imports {name}")
    tell(problems)


def test_every_library_stays_in_its_home() -> None:
    problems = []
    for path in modules():
        for line, name in imports(path):
            top = name.partition(".")[0]
            if top == "metalwright" or top in sys.stdlib_module_names:
                continue
            if room_of(path) not in LIBRARY_HOMES.get(top, set()):
                problems.append(f"{where(path, line)}: {top} does not live in {room_of(path)}")
    tell(problems)


def test_pure_rooms_import_nothing_impure() -> None:
    problems = []
    for path in modules():
        if room_of(path) not in PURE:
            continue
        for line, name in imports(path):
            if name.partition(".")[0] in sys.stdlib_module_names and name not in PURE_LIBRARY:
                problems.append(f"{where(path, line)}: {name} in a pure room")
    tell(problems)


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def test_pure_rooms_call_nothing_impure() -> None:
    forbidden = IMPURE_CALLS | CLOCK_CALLS
    tell(
        [
            f"{where(path, line)}: {name}() in a pure room"
            for path in modules()
            if room_of(path) in PURE
            for line, name in calls(path)
            if name in forbidden
        ]
    )


def test_the_time_of_day_comes_from_outside() -> None:
    """A clock is passed in, so that a simulation can turn it."""
    tell(
        [
            f"{where(path, line)}: {name}()"
            for path in modules()
            if room_of(path) not in CLOCK_HOMES
            for line, name in calls(path)
            if name in CLOCK_CALLS
        ]
    )


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_and_files_stay_small() -> None:
    problems = []
    for path in modules():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES_MAX:
            problems.append(f"{where(path, lines)}: {lines} lines of {FILE_LINES_MAX}")
        for node in functions(tree_of(path)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES_MAX:
                problems.append(f"{where(path, node.lineno)}: {node.name} has {length} lines")
    tell(problems)


def public(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    """The public functions and classes of a module, and the public methods of those classes."""
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        if node.name.startswith("_"):
            continue
        yield node
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_"):
                    yield inner


def test_every_module_and_everything_public_says_what_it_is_for() -> None:
    problems = []
    for path in modules():
        tree = tree_of(path)
        if not ast.get_docstring(tree):
            problems.append(f"{where(path, 1)}: no docstring")
        problems += [
            f"{where(path, node.lineno)}: {node.name} has no docstring"
            for node in public(tree)
            if not ast.get_docstring(node)
        ]
    tell(problems)


def project_files() -> list[Path]:
    """Every file of the project, tracked or about to be; none that git ignores."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    found = (ROOT / name for name in listed.split("\0") if name)
    return [path for path in found if path.is_file()]


def test_nothing_is_left_for_later() -> None:
    words = re.compile(r"\b(" + "|".join(UNFINISHED) + r")\b")
    problems = []
    for path in project_files():
        if path.suffix in {".svg", ".png"} or path.name in {"LICENSE", "constraints.txt"}:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if words.search(line):
                problems.append(f"{where(path, number)}: {line.strip()}")
    tell(problems)


def test_no_test_is_switched_off_and_no_internals_are_patched() -> None:
    tell(
        [
            f"{where(path, number)}: {line.strip()}"
            for path in project_files()
            if path.suffix == ".py"
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if UNCHECKED.search(line)
        ]
    )


def test_the_schemas_are_fresh() -> None:
    on_disk = {path.name: path.read_text(encoding="utf-8") for path in ROOT.glob("schemas/*.json")}
    generated = schemas() | {"plan.json": plan_schema()}
    stale = sorted(set(generated) ^ set(on_disk))
    stale += sorted(name for name, text in on_disk.items() if generated.get(name, text) != text)
    assert not stale, f"run `make schema`: {', '.join(stale)}"


class _Yaml12(yaml.SafeLoader):
    """PyYAML without the words of YAML 1.1 that are dates or truth values in no other tool."""


_Yaml12.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.rpartition(":")[2] not in {"timestamp", "bool"} or first in "tTfF"
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def example_documents() -> Iterator[tuple[Path, Any]]:
    for path in sorted(EXAMPLE.rglob("*.yaml")):
        for document in yaml.load_all(path.read_text(encoding="utf-8"), _Yaml12):
            yield path, document


def test_the_example_shows_every_kind_and_fits_the_schema_that_editors_use() -> None:
    validator = jsonschema.Draft202012Validator(json.loads(schemas()["metalwright.json"]))
    problems = [
        f"{path.relative_to(ROOT)}: {error.json_path}: {error.message}"
        for path, document in example_documents()
        for error in validator.iter_errors(document)
    ]
    tell(problems)
    assert {document["kind"] for _, document in example_documents()} == set(KINDS)


def test_the_example_has_no_finding_not_even_a_warning() -> None:
    tell([str(finding) for finding in check_directory(EXAMPLE)])


# --- documents ---------------------------------------------------------------------------------


def text_of(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def headings(name: str) -> str:
    return "\n".join(re.findall(r"^#{1,6} +(.*)$", text_of(name), re.MULTILINE))


def first_cells(text: str) -> set[str]:
    """What stands in code marks in the first column of the tables of a text."""
    cells = re.findall(r"^\| *(`[^|]*`) *\|", text, re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`([^`]+)`", cell)}


def settings_names(model: Any, prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        if hasattr(info.annotation, "model_fields"):
            yield from settings_names(info.annotation, f"{prefix}{name}.")
        else:
            yield prefix + name


@pytest.mark.parametrize("enum", [BlockedReason, Code, Stage, Verb])
def test_everything_it_may_say_has_a_heading(enum: Any) -> None:
    told = headings("operating.md") + "\n" + headings("inventory.md")
    missing = [
        member.value
        for member in enum
        if not re.search(rf"(?<![\w/-]){re.escape(member.value)}(?![\w/-])", told)
    ]
    assert not missing, f"no heading in docs/operating.md for: {', '.join(missing)}"


def test_every_setting_is_explained() -> None:
    text = text_of("operating.md")
    told = first_cells(text) | set(re.findall(r"`([^`]+)`", headings("operating.md")))
    missing = [name for name in settings_names(Settings) if name not in told]
    assert not missing, f"neither a heading nor a table row in docs/operating.md: {missing}"


def field_paths(type_: Any, prefix: str = "") -> Iterator[str]:
    """Every field of a document as the manual writes it: `spec.nics[].mac`."""
    hints = typing.get_type_hints(type_)
    for field in dataclasses.fields(type_):
        alias = type_.__pydantic_fields__[field.name].alias
        inner = next(iter(_dataclasses_in(hints[field.name])), None)
        if inner is None or not dataclasses.fields(inner):
            yield prefix + alias
        else:
            many = "[]" if typing.get_origin(hints[field.name]) is tuple else ""
            yield from field_paths(inner, f"{prefix}{alias}{many}.")


def _dataclasses_in(hint: Any) -> Iterator[Any]:
    if dataclasses.is_dataclass(hint):
        yield hint
    for argument in typing.get_args(hint):
        yield from _dataclasses_in(argument)


def sections(text: str) -> dict[str, str]:
    """The text below each second-level heading."""
    parts = re.split(r"^## +(.*)$", text, flags=re.MULTILINE)
    return {title.strip("` "): body for title, body in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_in_the_manual(kind: str) -> None:
    body = sections(text_of("inventory.md"))[kind]
    told = first_cells(body)
    fields = {path for path in field_paths(KINDS[kind]) if path.startswith("spec.")}
    assert fields - told == set(), f"docs/inventory.md, section {kind}, says nothing of these"
    assert {name for name in told if name.startswith("spec.")} - fields == set(), "no such field"


def test_every_command_is_explained() -> None:
    listed = re.findall(r"^ {2}(\w+) ", _help(), re.MULTILINE)
    assert "plan" in listed
    told = " ".join(first_cells(text_of("operating.md")))
    assert [name for name in listed if f"mw {name}" not in told] == []


def _help() -> str:
    shown = subprocess.run(
        [sys.executable, "-m", "metalwright", "--help"],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    ).stdout
    return shown.partition("Commands:")[2]


def test_links_between_documents_lead_somewhere() -> None:
    problems = []
    for path in project_files():
        if path.suffix != ".md":
            continue
        text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            file = target.partition("#")[0]
            if file and "://" not in file and not (path.parent / file).exists():
                problems.append(f"{path.relative_to(ROOT)}: {target}")
    tell(problems)
