"""A work tree on disk is checked like a commit, whatever lies in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metalwright.errors import InventoryError, RepositoryError
from metalwright.inventory import Code, check_directory, load_directory

from .git_repository import git
from .samples import fleet, node


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    top.mkdir()
    for name, text in fleet().items():
        (top / name).write_text(text)
    return top


def codes(tree: Path) -> list[tuple[str, str]]:
    return [(finding.path, str(finding.code)) for finding in check_directory(tree)]


def test_a_work_tree_is_the_same_inventory_as_its_commit(tree: Path) -> None:
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "deep" / "er" / "n9.yml").write_text(node("n9", 9))
    git(tree, "init", "--quiet")
    inventory = load_directory(tree)
    assert list(inventory.nodes) == ["n1", "n2", "n3", "n9"]
    assert inventory.sources["Node", "n9"].path == "deep/er/n9.yml"
    assert inventory.revision.id == "0" * 40


def test_what_is_hidden_or_not_yaml_is_not_read(tree: Path) -> None:
    for name in (".venv/x.yaml", "a/.b/c.yaml", ".x.yaml", "notes.txt"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("[")
    assert codes(tree) == []


def test_links_pipes_and_repositories_inside_are_findings(tree: Path) -> None:
    (tree / "link.yaml").symlink_to("nodes.yaml")
    (tree / "nowhere.yml").symlink_to("/nowhere")
    (tree / "folder").symlink_to("..")
    os.mkfifo(tree / "pipe.yaml")
    (tree / "inside").mkdir()
    git(tree / "inside", "init", "--quiet")
    (tree / "inside" / "x.yaml").write_text("[")
    (tree / "LOUD.YAML").write_text("[")
    (tree / "\x1b.yaml").write_text("[")
    (tree / os.fsdecode(b"caf\xe9.yaml")).write_text("[")
    assert sorted(codes(tree)) == [
        ("LOUD.YAML", Code.TREE_SUFFIX),
        ("\\x1b.yaml", Code.TREE_NAME),
        ("caf\\xe9.yaml", Code.TREE_NAME),
        ("folder", Code.TREE_SYMLINK),
        ("inside", Code.TREE_SUBMODULE),
        ("link.yaml", Code.TREE_SYMLINK),
        ("nowhere.yml", Code.TREE_SYMLINK),
        ("pipe.yaml", Code.TREE_UNREADABLE),
    ]


def test_a_huge_sparse_file_is_refused_unread(tree: Path) -> None:
    with (tree / "huge.yaml").open("wb") as file:
        file.truncate(50_000_000_000)
    assert codes(tree) == [("huge.yaml", Code.FILE_TOO_LARGE)]


def test_errors_come_before_warnings_and_refuse_the_tree(tree: Path) -> None:
    (tree / "a-link").symlink_to("nodes.yaml")
    (tree / "bad.yaml").write_text("kind: Node\n")
    assert codes(tree) == [
        ("bad.yaml", Code.DOCUMENT_API_VERSION),
        ("bad.yaml", Code.SCHEMA_MISSING_FIELD),
        ("bad.yaml", Code.SCHEMA_MISSING_FIELD),
        ("a-link", Code.TREE_SYMLINK),
    ]
    with pytest.raises(InventoryError, match="3 errors") as caught:
        load_directory(tree)
    assert len(caught.value.findings) == 3


def test_an_empty_directory_and_none(tmp_path: Path) -> None:
    assert codes(tmp_path) == [("", Code.INVENTORY_NO_NODES)]
    (tmp_path / "file").write_text("x")
    for name in ("missing", "file"):
        with pytest.raises(RepositoryError, match="is not a directory"):
            load_directory(tmp_path / name)
