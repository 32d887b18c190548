"""A revision becomes an inventory with its references resolved, or all of its errors at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from metalwright.errors import InventoryError, RepositoryError
from metalwright.inventory import Code, Loader, Repository, check_directory, load_directory
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Inventory, Source
from metalwright.model.template import Method, WipePolicy

from .git_repository import GitRepository
from .samples import assignment, document, fleet, image, many, node, pool, template

Load = Callable[[dict[str, str]], Inventory]


@pytest.fixture
def load(origin: GitRepository) -> Load:
    """Commits the files as a whole revision and loads it."""

    def commit_and_load(files: dict[str, str]) -> Inventory:
        identity = origin.commit(dict(files), fresh=True)
        with Repository(str(origin.path), "main", mirror=None) as repository:
            return Loader(repository).load(identity)

    return commit_and_load


def test_a_valid_inventory_has_everything_by_name_and_resolved(load: Load) -> None:
    inventory = load(fleet())

    assert list(inventory.nodes) == ["n1", "n2", "n3"]
    assert inventory.pool_of == {"n1": "lab", "n2": "lab", "n3": "lab"}
    assert inventory.assigned == {"work": ("n1",)}
    assert inventory.resolved["base"].method is Method.NETBOOT
    assert inventory.revision.subject == "change"
    assert inventory.revision.author == "Ada Lab <ada@lab.example>"
    assert inventory.sources["Node", "n2"] == Source(path="nodes.yaml", line=9)


def test_every_mapping_of_an_inventory_is_frozen(load: Load) -> None:
    inventory = load(fleet())
    for name in ("nodes", "images", "pools", "assignments", "schedules", "freezes", "sources"):
        assert isinstance(getattr(inventory, name), FrozenDict)
    for name in ("pool_of", "assigned", "resolved"):
        assert isinstance(getattr(inventory, name), FrozenDict)


def test_how_documents_are_spread_over_files_changes_nothing(load: Load) -> None:
    files = fleet()
    spread = load(files)
    joined = load({"deep/down/all.yml": many(*reversed(files.values()))})
    for part in ("nodes", "images", "pools", "assignments", "pool_of", "assigned", "resolved"):
        assert list(getattr(spread, part).items()) == list(getattr(joined, part).items())


def test_assigned_nodes_keep_the_written_order(load: Load) -> None:
    files = fleet() | {"work.yaml": assignment(nodes=["n3", "n[1-2]"])}
    assert load(files).assigned["work"] == ("n3", "n1", "n2")


def test_hidden_paths_and_other_files_are_not_read(load: Load) -> None:
    files = fleet() | {
        ".github/workflows/ci.yaml": "on: push",
        "docs/.drafts/x.yaml": ": : :",
        ".hidden.yaml": "nonsense: [",
        "README.md": "# not YAML: [",
        "script.yaml.txt": ": :",
    }
    assert len(load(files).nodes) == 3


def test_a_template_takes_from_its_parents_what_it_does_not_say(load: Load) -> None:
    files = fleet() | {
        "templates.yaml": many(
            template(kernelArgs=["a", "b"], userData="base", timeouts={"boot": "5m", "wipe": "1h"}),
            template("child", extends="base", kernelArgs=["c"], timeouts={"boot": "9m"}),
            template("grand", extends="child", wipe="full", userData="grand", vendorData="v"),
        )
    }
    resolved = load(files).resolved
    grand = resolved["grand"]
    assert grand.chain == ("grand", "child", "base")
    assert grand.kernel_args == ("a", "b", "c")
    assert (grand.user_data, grand.vendor_data) == ("grand", "v")
    assert (grand.timeouts.boot, grand.timeouts.wipe, grand.timeouts.install) == (540, 3600, None)
    assert (grand.wipe, resolved["base"].wipe) == (WipePolicy.FULL, WipePolicy.NONE)


def test_checks_of_parents_add_up_and_a_childs_takes_the_place_of_its_parents(load: Load) -> None:
    ping, ssh = {"name": "ping", "ping": {}}, {"name": "ssh", "ssh": {}}
    better = {"name": "ping", "ping": {"count": 3}}
    files = fleet() | {
        "templates.yaml": many(
            template(validation=[ping, ssh]),
            template("child", extends="base", validation=[{"name": "web", "http": {}}, better]),
        )
    }
    resolved = load(files).resolved
    names = [
        (check.name, check.ping and check.ping.count) for check in resolved["child"].validation
    ]
    assert names == [("ping", 3), ("ssh", None), ("web", None)]
    assert [check.name for check in resolved["base"].validation] == ["ping", "ssh"]
    assert resolved["child"].digest == resolved["base"].digest


def test_files_add_up_and_a_template_phones_home_unless_it_says_otherwise(load: Load) -> None:
    files = fleet() | {
        "templates.yaml": many(
            template(files={"ks.cfg": "base", "late.sh": "base"}),
            template("child", extends="base", phoneHome=False, files={"ks.cfg": "child"}),
            template("local", extends="child", method="local", phoneHome=None),
            document("BootTemplate", "as-it-is", {"method": "local"}),
        )
    }
    resolved = load(files).resolved
    assert resolved["child"].files == {"ks.cfg": "child", "late.sh": "base"}
    assert {name: each.phone_home for name, each in resolved.items()} == {
        "base": True,
        "child": False,
        "local": False,
        "as-it-is": False,
    }


def test_a_digest_covers_what_boots_and_nothing_else(load: Load) -> None:
    base = fleet()
    digest = load(base).resolved["base"].digest

    def digest_with(**changes: str) -> str:
        return load(base | changes).resolved["base"].digest

    same = [
        {"images.yaml": image().replace("https://i.lab", "http://elsewhere")},
        {"images.yaml": image("other"), "templates.yaml": template(image="other")},
        {"templates.yaml": "# a comment\n" + template(wipe="full", timeouts={"boot": "9m"})},
        {"templates.yaml": template(validation=[{"name": "ping", "ping": {}}])},
        {"templates.yaml": template(phoneHome=False, files={})},
        {"images.yaml": image("live", "kernel", "initrd", "disk")},
    ]
    for change in same:
        assert digest_with(**change) == digest
    different = [
        {"images.yaml": image().replace("0123", "3210", 1)},
        {"images.yaml": image("live", "kernel", "initrd", "rootfs")},
        {"templates.yaml": template(kernelArgs=["quiet"])},
        {"templates.yaml": template(userData="")},
        {"templates.yaml": template(vendorData="x")},
        {"templates.yaml": template(files={"ks.cfg": "text"})},
        {"templates.yaml": template(files={"ks.cfg": "other"})},
        {"templates.yaml": template(method="local")},
    ]
    digests = [digest_with(**change) for change in different]
    assert len({digest, *digests}) == len(different) + 1
    assert load(base).resolved["base"].digest == digest


def test_pools_take_nodes_by_name_and_by_selector(load: Load) -> None:
    files = fleet() | {
        "pools.yaml": many(
            pool("named", nodes=["n1"]),
            pool("chosen", nodes=["n2"], selector="rack = a01 and not n[1-2]"),
        ),
        "work.yaml": assignment(pool="named"),
    }
    assert load(files).pool_of == {"n1": "named", "n2": "chosen", "n3": "chosen"}


def test_all_problems_of_all_documents_are_told_at_once(load: Load) -> None:
    files = fleet() | {
        "nodes.yaml": many(node("n1", 1), node("n2", 1), node("n3", 3, driver="ipmii")),
        "pools.yaml": pool(nodes=["n1", "n9"]),
        "work.yaml": assignment(template="nope", wrong=1),
        "more.yaml": "a: [",
    }
    with pytest.raises(InventoryError) as caught:
        load(files)
    found = {(finding.path, finding.line, finding.code) for finding in caught.value.findings}
    assert found == {
        ("more.yaml", 2, Code.YAML_SYNTAX),
        ("nodes.yaml", 14, Code.DUPLICATE_BMC),
        ("nodes.yaml", 15, Code.DUPLICATE_MAC),
        ("nodes.yaml", 21, Code.NODE_UNKNOWN_DRIVER),
        ("pools.yaml", 7, Code.REFERENCE_UNKNOWN),
        ("work.yaml", 9, Code.SCHEMA_UNKNOWN_FIELD),
    }
    assert list(caught.value.findings) == sorted(caught.value.findings)


def test_a_reference_to_a_broken_document_is_not_a_second_finding(load: Load) -> None:
    files = fleet() | {"templates.yaml": template(method="sideways")}
    files["pools.yaml"] += "  extra: 'never closed\n"
    with pytest.raises(InventoryError) as caught:
        load(files)
    assert [finding.code for finding in caught.value.findings] == [
        Code.YAML_SYNTAX,
        Code.SCHEMA_WRONG_VALUE,
    ]


def test_warnings_do_not_refuse_a_revision(origin: GitRepository) -> None:
    files = fleet() | {"more.yaml": pool("idle", nodes=[], selector="gpus > 3")}
    origin.commit(dict(files))
    with Repository(str(origin.path), "main", mirror=None) as repository:
        loader = Loader(repository)
        assert len(loader.load("main").pools) == 2
        assert [(w.path, w.line, w.code) for w in loader.last_warnings] == [
            ("more.yaml", 8, Code.SELECTOR_MATCHES_NOTHING)
        ]
        origin.commit({"more.yaml": None})
        loader.load("main")
        assert loader.last_warnings == ()
        loader.load("main~1")
        assert len(loader.last_warnings) == 1


def test_loading_a_revision_again_gives_the_same_value(origin: GitRepository) -> None:
    origin.commit(dict(fleet()))
    with Repository(str(origin.path), "main", mirror=None) as repository:
        loader = Loader(repository)
        assert loader.load("main") is loader.load("main")
        assert Loader(repository).load("main") == loader.load("main")


def test_locate_finds_the_line_of_a_field(origin: GitRepository) -> None:
    origin.commit(dict(fleet()))
    with Repository(str(origin.path), "main", mirror=None) as repository:
        loader = Loader(repository)
        at = Source(path="nodes.yaml", line=9, field="spec.nics.0.mac")
        assert loader.locate(at, "main").line == 15
        assert (
            loader.locate(Source(path="work.yaml", line=1, field="spec.template"), "main").line == 7
        )
        assert (
            loader.locate(Source(path="work.yaml", line=1, field="spec.when.end"), "main").line == 4
        )
        gone = Source(path="gone.yaml", line=3, field="spec")
        assert loader.locate(gone, "main") == gone
        with pytest.raises(RepositoryError):
            loader.locate(at, "nope")


def test_a_work_tree_is_checked_as_it_lies_on_disk(tmp_path: Path) -> None:
    for name, text in fleet().items():
        (tmp_path / name).write_text(text)
    assert load_directory(tmp_path).revision.id == "0" * 40
    assert check_directory(tmp_path) == ()

    (tmp_path / "bad.yaml").write_text("kind: Node\nkind: Node\n")
    with pytest.raises(InventoryError) as caught:
        load_directory(tmp_path)
    assert caught.value.findings == check_directory(tmp_path)
    assert (caught.value.findings[0].path, caught.value.findings[0].line) == ("bad.yaml", 1)
    with pytest.raises(RepositoryError):
        load_directory(tmp_path / "nowhere")
