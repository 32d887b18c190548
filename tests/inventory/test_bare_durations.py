"""A duration without a unit is refused where a person wrote it: twenty of what?"""

from pathlib import Path

import pytest

from metalwright.errors import InventoryError
from metalwright.inventory import load_directory

POLICY = """\
apiVersion: metalwright/v1
kind: Policy
metadata: {name: fleet}
spec: {timeouts: {boot: 20}}
---
apiVersion: metalwright/v1
kind: Node
metadata: {name: n1}
spec: {driver: fake}
"""


def test_a_bare_number_is_no_duration(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    with pytest.raises(InventoryError) as caught:
        load_directory(tmp_path)
    (finding,) = caught.value.findings
    assert (finding.line, finding.code) == (4, "schema/wrong-value")
    assert "should be a duration such as 90s" in finding.message

    (tmp_path / "policy.yaml").write_text(POLICY.replace("20}", "20m}"), encoding="utf-8")
    inventory = load_directory(tmp_path)
    assert inventory.rules.timeouts.boot == 1_200
