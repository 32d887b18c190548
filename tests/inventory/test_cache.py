"""A commit that touches few files costs little more than its own files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest

from metalwright.errors import InventoryError
from metalwright.inventory import Loader, Repository
from metalwright.inventory.files import InventoryFile
from metalwright.inventory.loader import PARSED_BYTES_MAX, ParsedFiles
from metalwright.inventory.yaml_text import FILE_BYTES_MAX

from .git_repository import GitRepository
from .samples import fleet, node


class Contents:
    """Contents by id, which remembers what was read."""

    def __init__(self, data: dict[str, bytes]) -> None:
        self.data = data
        self.read: list[str] = []

    def sizes(self, ids: Iterable[str]) -> dict[str, int]:
        return {identity: len(self.data[identity]) for identity in ids}

    def blobs(self, ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for identity in ids:
            self.read.append(identity)
            yield identity, self.data[identity]


def files(*ids: str) -> list[InventoryFile]:
    return [InventoryFile(f"{identity}.yaml", identity) for identity in ids]


def test_a_content_is_read_once_wherever_it_stands() -> None:
    contents = Contents({"a": node("n1").encode(), "b": b"[", "c": b"x" * (FILE_BYTES_MAX + 1)})
    parsed = ParsedFiles()
    first = parsed.of([*files("a", "b", "c"), InventoryFile("copy.yaml", "a")], contents, [])
    again = parsed.of(files("a", "b", "c"), contents, [])
    assert contents.read == ["a", "b"]
    assert first["copy.yaml"] is first["a.yaml"] is again["a.yaml"]
    assert first["b.yaml"].findings == again["b.yaml"].findings
    assert [finding.code for finding in again["c.yaml"].findings] == ["file/too-large"]


def test_what_is_kept_is_bounded_by_its_size() -> None:
    size = FILE_BYTES_MAX
    count = PARSED_BYTES_MAX // size
    contents = Contents({f"f{number}": b"#" * size for number in range(count + 2)})
    parsed = ParsedFiles()
    for number in range(count + 2):
        parsed.of(files(f"f{number}"), contents, [])
    contents.read.clear()
    parsed.of(files(f"f{count + 1}"), contents, [])
    assert contents.read == []
    parsed.of(files("f0"), contents, [])
    assert contents.read == ["f0"]


def test_more_text_than_is_read_is_a_finding() -> None:
    size = FILE_BYTES_MAX
    contents = Contents({f"f{number}": b"#" * size for number in range(17)})
    findings: list = []
    assert ParsedFiles().of(files(*contents.data), contents, findings) == {}
    assert [finding.code for finding in findings] == ["tree/too-large"]
    assert contents.read == []


def test_only_the_changed_files_of_a_commit_are_parsed(origin: GitRepository) -> None:
    origin.commit(dict(fleet()))
    with Repository(str(origin.path), "main", mirror=None) as repository:
        loader = Loader(repository)
        before = loader.load("main")
        origin.commit({"x.yaml": node("n9", 9)})
        after = loader.load("main")
        assert after.nodes["n1"] is before.nodes["n1"]
        assert "n9" in after.nodes
        origin.commit({"x.yaml": "kind: ["})
        for _ in range(2):
            with pytest.raises(InventoryError) as caught:
                loader.load("main")
            assert [finding.code for finding in caught.value.findings] == ["yaml/syntax"]
        origin.commit({"x.yaml": node("n9", 9)})
        assert loader.load("main").nodes == after.nodes
