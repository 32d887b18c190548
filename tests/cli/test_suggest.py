"""The commit that gives a failed node's place to another one, however the list is written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from metalwright.store import Store

from ..warm import Warm  # noqa: TID252 - one for every room
from .test_brakes import NODE, Lab

POOL = """apiVersion: metalwright/v1
kind: Pool
metadata: {name: lab}
spec: {owner: Lab, selector: "*", resting: {power: off}}
---
apiVersion: metalwright/v1
kind: BootTemplate
metadata: {name: live}
spec: {method: local}
---
apiVersion: metalwright/v1
kind: Assignment
metadata: {name: bench}
spec:
  pool: lab
  template: live
  owner: Ada
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  nodes: [n1, n2]\n", "  nodes: [n9, n2]\n"),
        ('  nodes: [n2, "n1"]  # two\n', "  nodes: [n2, n9]  # two\n"),
        ('  nodes: ["n[1-3]"]\n', '  nodes: ["n[2-3,9]"]\n'),
        (
            "  nodes:\n    - n2\n    - n1  # by the door\n",
            "  nodes:\n    - n2\n    - n9  # by the door\n",
        ),
        ('  nodes:\n    - "n[1-2]"\n', '  nodes:\n    - "n[2,9]"\n'),
        ("  nodes:\n  - 'n1'\n  - n2\n", "  nodes:\n  - n9\n  - n2\n"),
        ('  nodes: ["n[1-3]"]  # x\n', '  nodes: ["n[2-3]", spare]  # x\n'),
        ('  nodes:\n  - "n[1-3]"\n', '  nodes:\n  - "n[2-3]"\n  - spare\n'),
    ],
)
def test_the_suggested_commit_swaps_the_node(
    tmp_path: Path, warm: Warm, before: str, after: str
) -> None:
    lab = Lab(tmp_path, warm)
    last = "spare" if "spare" in after else "n9"
    names = ("n1", "n2", "n3", last)
    lab.write("".join(NODE % (name, "") for name in names) + POOL + before)
    lab.commit("A bench")
    lab.mw("adopt", "n[1-3]", last)
    lab.mw("status")
    with Store.open(f"sqlite:///{lab.home}/state/metalwright.sqlite") as store:
        store.quarantine("n1", "validating: ssh: connection refused", datetime.now(UTC))
    taken = "n3" if "n[1-3]" not in before else last
    told = lab.mw("explain", "n1")
    assert f"suggested commit, unless it is mended soon, with {taken} in its place:" in told
    lab.git("apply", stdin=told[told.index("--- a/all.yaml") :])
    text = (lab.inventory / "all.yaml").read_text()
    assert text.count("lifecycle: broken") == 1
    wanted = after if taken == last else after.replace("[2,9]", "[2-3]").replace("n9", "n3")
    assert text.endswith(wanted)
    lab.commit("As suggested")
    assert "in its place" not in lab.mw("explain", taken)
    assert "held by assignment/bench" in lab.mw("explain", taken)


def test_a_list_that_cannot_be_told_by_its_line_is_explained_in_words(
    tmp_path: Path, warm: Warm
) -> None:
    lab = Lab(tmp_path, warm)
    nodes = "".join(NODE % (name, "") for name in ("n1", "n2"))
    flow = POOL.replace(
        "spec:\n  pool: lab\n  template: live\n  owner: Ada\n",
        "spec: {pool: lab, template: live, owner: n1, purpose: n1, nodes: [n1]}\n",
    )
    lab.write(nodes + flow)
    lab.commit("A bench")
    lab.mw("adopt", "n[1-2]")
    with Store.open(f"sqlite:///{lab.home}/state/metalwright.sqlite") as store:
        store.quarantine("n1", "validating: ssh: connection refused", datetime.now(UTC))
    told = lab.mw("explain", "n1")
    assert "name n2 instead of n1 in spec.nodes" in told
    assert "lifecycle: broken" in told
