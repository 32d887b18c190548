"""A plan as JSON: complete, stable to the byte, with a schema; and the commits behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest

from metalwright.model.digest import digest_of
from metalwright.model.frozen import FrozenDict
from metalwright.model.inventory import Commit, Source
from metalwright.model.plan import Cause
from metalwright.plan import attribute, from_json, plan_schema, render_text, to_json

from ..schedule.fleet import Fleet, commit_of  # noqa: TID252 - one fleet for both rooms
from .test_render import SCENES, lab, lending, many_reasons, planned, template_edit, under_way
from .world import World

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_what_is_written_is_read_back_and_fits_the_schema(scene):
    plan = planned(scene())
    text = to_json(plan)
    assert from_json(text) == plan
    assert to_json(from_json(text)) == text
    schema = json.loads(plan_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(json.loads(text))


def test_keys_are_camel_case_and_sorted_and_counts_keep_their_words():
    value = json.loads(to_json(planned(lending())))
    assert list(value) == sorted(value)
    assert value["format"] == "metalwright.plan/v1"
    assert value["totals"]["byVerb"] == {"deploy": 9}
    assert value["totals"]["startsNow"] == 5
    (action,) = [one for one in value["actions"] if one["node"] == "r640-17"]
    assert action["destroysData"] is True
    assert action["target"]["template"]["kernelArgs"] == []
    assert action["target"]["template"]["image"]["disk"]["sha256"]
    assert action["reasons"][0]["formerRevision"] == f"{1:040x}"
    assert value["at"] == "2026-11-20T08:00:00Z"


def test_what_may_hold_a_password_is_its_digest_and_files_keep_their_names():
    files = {"user_data": "a", "My_File": "b", "myFile": "c", "my_file": "d"}
    fleet = Fleet()
    fleet.node("n-1")
    fleet.template("rescue")
    fleet.template(
        "kick",
        user_data="password: hunter2",
        vendor_data="",
        files=FrozenDict(files | {"ks.cfg": "rootpw hunter2"}),
    )
    fleet.pool("ci", "n-1", template="rescue")
    world = World(fleet)
    world.adopt()
    fleet.assignment("loan", "ci", "n-1", "kick")
    world.commit()
    plan = world.plan()
    text = to_json(plan)
    assert "hunter2" not in text
    template = json.loads(text)["actions"][0]["target"]["template"]
    assert template["userData"] == f"sha256:{digest_of('password: hunter2')}"
    assert template["vendorData"] == ""
    assert template["files"] == {
        name: f"sha256:{digest_of(one)}"
        for name, one in plan.actions[0].target.template.files.items()
    }
    read = from_json(text)
    assert to_json(read) == text
    assert read.actions[0].target.template.files.keys() == files.keys() | {"ks.cfg"}
    jsonschema.Draft202012Validator(json.loads(plan_schema())).validate(json.loads(text))


def test_the_schema_refuses_what_is_not_a_plan():
    schema = jsonschema.Draft202012Validator(json.loads(plan_schema()))
    value = json.loads(to_json(planned(lending())))
    for spoiled in (
        value | {"format": "other/v1"},
        value | {"surprise": 1},
        {key: one for key, one in value.items() if key != "totals"},
        value | {"actions": [value["actions"][0] | {"verb": "explode"}]},
    ):
        assert list(schema.iter_errors(spoiled))


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "metalwright.plan/v2"}', "not JSON"])
def test_another_text_is_not_read_as_a_plan(text):
    with pytest.raises(ValueError, match=r"not a plan|Expecting value"):
        from_json(text)


def test_a_plan_with_a_field_of_the_wrong_type_is_refused():
    value = json.loads(to_json(planned(lab()))) | {"at": "yesterday"}
    with pytest.raises(ValueError, match="datetime"):
        from_json(json.dumps(value))


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.plan.test_render import lending, many_reasons, planned, under_way
from metalwright.plan import render_text, to_json
for scene in (lending, many_reasons, under_way):
    plan = planned(scene())
    sys.stdout.write(to_json(plan) + render_text(plan, color=True) + "\\n")
"""


def test_the_same_plan_is_the_same_bytes_in_another_process():
    """Python orders sets and hashes strings differently in every process; a plan must not."""
    outputs = set()
    for seed in ("0", "4242"):
        found = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(ROOT)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            timeout=120,
        )
        outputs.add(found.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop()) > 50_000


# -- attribution -----------------------------------------------------------------------------------


def as_it_is(source: Source) -> Source:
    return source


def test_a_source_is_told_with_its_own_line_asked_once():
    asked: list[Source] = []

    def locate(source: Source) -> Source:
        asked.append(source)
        return replace(source, line=source.line + 7)

    bare = lending().plan()
    plan = attribute(bare, lambda paths, since: None, locate)
    assert len(asked) == len(set(asked)) < len(plan.actions)
    for before, after in zip(bare.actions, plan.actions, strict=True):
        assert after.source.line == before.source.line + 7
        assert after.reasons[0].source == after.source
        assert after.reasons[0].former_source == before.reasons[0].former_source


def test_each_distinct_question_is_asked_of_git_once():
    asked: list[tuple[tuple[str, ...], str | None]] = []

    def blame(paths: tuple[str, ...], since: str | None) -> Commit | None:
        asked.append((paths, since))
        return commit_of(len(asked), f"Commit {len(asked)}")

    plan = attribute(lending().plan(), blame, as_it_is)
    first = f"{1:040x}"
    assert sorted(asked) == [
        (("assignments/db.yaml", "pools/ci.yaml"), first),
        (("assignments/nightly.yaml", "pools/ci.yaml"), first),
    ]
    subjects = {one.node: one.reasons[0].commit.subject for one in plan.actions}
    assert subjects["r640-17"] != subjects["r640-01"] == subjects["r640-06"]


def test_what_waits_is_attributed_and_drift_is_not():
    world = template_edit()
    world.unreachable("r640-30")
    plan = planned(world)
    (waiting, *_) = [one for one in plan.blocked if one.node == "r640-01"]
    assert waiting.reasons[0].commit == commit_of(world.revision, "Lend machines to CI and DB")
    world = many_reasons()
    drifting = [
        reason
        for one in planned(world).blocked
        for reason in one.reasons
        if reason.cause is Cause.DRIFT
    ]
    assert all(reason.commit is None for reason in drifting)


def test_a_place_that_no_commit_is_known_of_stays_without_one():
    plan = attribute(under_way().plan(), lambda paths, since: None, as_it_is)
    assert plan == under_way().plan()
    assert "Lend machines" not in render_text(plan)


def test_attribution_changes_nothing_else():
    bare = lending().plan()
    plan = attribute(bare, lambda paths, since: commit_of(7), as_it_is)
    stripped = [
        replace(one, reasons=tuple(replace(reason, commit=None) for reason in one.reasons))
        for one in plan.actions
    ]
    assert tuple(stripped) == bare.actions
    assert plan.change_digest == bare.change_digest
