"""Malformed inventories in a real repository: each is refused with findings, fast, and nothing
else is ever raised.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from metalwright.errors import InventoryError, RepositoryError
from metalwright.inventory import MEANING, Code, Loader, Repository
from metalwright.inventory.files import FILES_MAX
from metalwright.model.documents import KINDS
from metalwright.model.finding import Finding, Severity

from .corpus import CASES, Case
from .full_documents import FREE, FULL, Spoilt, Way, spoilt, variants, ways, written
from .git_repository import Content, GitRepository, git
from .samples import fleet, node

CPU_S_MAX = 2.0
SPOILT = [item for kind in FULL for item in spoilt(kind)]
SCHEDULE = """apiVersion: metalwright/v1
kind: Schedule
metadata: {name: weekends}
spec: {windows: [{start: 2027-06-05T00:00:00Z, duration: 2d}]}
"""


class Corpus:
    """One repository, a branch for each case, all written by one git process."""

    def __init__(self, path: Path) -> None:
        self.repository = GitRepository(path)
        trees: list[tuple[str, dict[str | bytes, Content]]] = []
        trees += [(f"case-{number}", item.tree()) for number, item in enumerate(CASES)]
        good = fleet() | {"schedules.yaml": SCHEDULE}
        trees += [
            (f"spoilt-{number}", {**good, "x.yaml": item.text})
            for number, item in enumerate(SPOILT)
        ]
        trees += [
            (f"full-{kind}-{number}", {**good, "x.yaml": written(document)[0]})
            for kind in FULL
            for number, document in enumerate(variants(kind))
        ]
        ids = self.repository.commits(trees)
        self.ids = {branch: identity for (branch, _files), identity in zip(trees, ids, strict=True)}

    def findings(self, branch: str) -> tuple[Finding, ...]:
        """The errors of a branch, within the time that it may take."""
        with Repository(str(self.repository.path), branch, mirror=None) as repository:
            begin = cpu_s()
            try:
                Loader(repository).load(self.ids[branch])
            except InventoryError as error:
                findings = error.findings
            else:
                findings = ()
            assert cpu_s() - begin < CPU_S_MAX
        return findings


def cpu_s() -> float:
    """Seconds of processor time that this process and the git commands it ran have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus") / "corpus.git")


def test_the_corpus_is_large_enough() -> None:
    assert len(CASES) + len(SPOILT) >= 200
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({item.name for item in SPOILT}) == len(SPOILT)


@pytest.mark.parametrize(
    ("number", "case"), list(enumerate(CASES)), ids=[case.name for case in CASES]
)
def test_what_is_wrong_is_told_with_its_place(corpus: Corpus, number: int, case: Case) -> None:
    findings = corpus.findings(f"case-{number}")
    found = sorted((finding.path, finding.line, str(finding.code)) for finding in findings)
    assert found == sorted(case.expected)
    assert list(findings) == sorted(findings)
    for finding in findings:
        assert finding.severity is Severity.ERROR
        assert finding.message
        assert str(finding).isprintable()
        assert "hunter2" not in str(finding)


@pytest.mark.parametrize(
    ("number", "item"), list(enumerate(SPOILT)), ids=[item.name for item in SPOILT]
)
def test_every_field_of_every_kind_is_checked(corpus: Corpus, number: int, item: Spoilt) -> None:
    findings = corpus.findings(f"spoilt-{number}")
    assert any(
        finding.path == "x.yaml"
        and finding.line in item.lines
        and finding.code.startswith(item.code)
        for finding in findings
    ), "\n".join(map(str, findings))


@pytest.mark.parametrize("kind", FULL)
def test_a_document_with_every_field_is_accepted(corpus: Corpus, kind: str) -> None:
    for number, _document in enumerate(variants(kind)):
        findings = [f for f in corpus.findings(f"full-{kind}-{number}") if f.path == "x.yaml"]
        assert [f for f in findings if f.code.startswith(("yaml", "document", "schema"))] == []


def model_fields(document: Any, above: str = "") -> Iterator[str]:
    """Every field of a kind, dotted, as the model has it."""
    for name, info in document.__pydantic_fields__.items():
        way = f"{above}.{info.alias or name}".removeprefix(".")
        yield way
        for inner in dataclasses_in(info.annotation):
            yield from model_fields(inner, way)


def dataclasses_in(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and is_dataclass(annotation) and fields(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from dataclasses_in(inner)


def field_of(way: Way) -> str:
    """A way as `model_fields` spells it: no numbers, and nothing that people name freely."""
    free = (False, *(part in FREE for part in way))
    return ".".join(
        part for part, named in zip(way, free, strict=False) if isinstance(part, str) and not named
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_full_documents_have_every_field_of_the_model(kind: str) -> None:
    written_fields = {
        field_of(way) for document in variants(kind) for way, _value in ways(document)
    }
    assert set(model_fields(KINDS[kind])) <= written_fields


def test_every_code_has_a_meaning() -> None:
    assert set(MEANING) == set(Code)
    for code, meaning in MEANING.items():
        assert meaning.endswith(".")
        assert code.value.partition("/")[2]


# --- trees that no text can show ------------------------------------------------------------


def errors_of(repository: GitRepository) -> list[tuple[str, int, str]]:
    with Repository(str(repository.path), "main", mirror=None) as opened:
        begin = cpu_s()
        with pytest.raises((InventoryError, RepositoryError)) as caught:
            Loader(opened).load("main")
        assert cpu_s() - begin < CPU_S_MAX
    if isinstance(caught.value, RepositoryError):
        return [(str(caught.value), 0, "")]
    return [(f.path, f.line, str(f.code)) for f in caught.value.findings]


def test_a_tree_of_ten_thousand_million_files(origin: GitRepository) -> None:
    """Ten trees that each hold the one below ten times: small to store, endless to list."""
    inner = git(origin.path, "hash-object", "-w", "--stdin", stdin=node("n1").encode())
    kind = "100644 blob"
    for _ in range(10):
        lines = "".join(f"{kind} {inner}\tf{number}.yaml\n" for number in range(10))
        inner = git(origin.path, "mktree", stdin=lines.encode())
        kind = "040000 tree"
    commit = git(origin.path, "commit-tree", "-m", "bomb", inner)
    git(origin.path, "update-ref", "refs/heads/main", commit)
    assert ("", 0, "tree/too-large") in errors_of(origin)


def test_more_files_than_are_read(origin: GitRepository) -> None:
    blob = git(origin.path, "hash-object", "-w", "--stdin", stdin=node("n1").encode())
    lines = "".join(f"100644 blob {blob}\tf{number}.yaml\n" for number in range(FILES_MAX + 1))
    tree = git(origin.path, "mktree", stdin=lines.encode())
    commit = git(origin.path, "commit-tree", "-m", "many", tree)
    git(origin.path, "update-ref", "refs/heads/main", commit)
    assert ("", 0, "tree/too-large") in errors_of(origin)


def test_a_submodule_is_a_warning(origin: GitRepository) -> None:
    files: dict[str | bytes, Content] = {**fleet(), "vendor/x": ("160000", "1" * 40)}
    files["docs"] = ("120000", "elsewhere")
    files["OTHER.YAML"] = "x"
    origin.commit(files)
    with Repository(str(origin.path), "main", mirror=None) as repository:
        loader = Loader(repository)
        assert len(loader.load("main").nodes) == 3
        assert [(w.path, w.code) for w in loader.last_warnings] == [
            ("OTHER.YAML", Code.TREE_SUFFIX),
            ("docs", Code.TREE_SYMLINK),
            ("vendor/x", Code.TREE_SUBMODULE),
        ]


def test_a_flood_of_findings_is_cut_off(origin: GitRepository) -> None:
    files = {f"f{number:03}.yaml": "- *a\n" * 30 for number in range(60)}
    origin.commit(dict(files))
    errors = errors_of(origin)
    assert len(errors) == 1_001
    assert errors[-1][2] == Code.INVENTORY_TOO_MANY_FINDINGS


def test_a_branch_that_is_no_commit(origin: GitRepository) -> None:
    origin.commit(dict(fleet()))
    tree = git(origin.path, "rev-parse", "main^{tree}")
    (origin.path / "refs" / "heads" / "main").write_text(f"{tree}\n")
    assert errors_of(origin)[0][2] == ""
    (origin.path / "refs" / "heads" / "main").write_text("garbage\n")
    assert errors_of(origin)[0][2] == ""
    (origin.path / "refs" / "heads" / "main").write_text(f"{'1' * 40}\n")
    assert errors_of(origin)[0][2] == ""
