"""Checks that no report will ever answer are told, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from metalwright.inventory import Code
from metalwright.model.finding import Finding, Severity

from .samples import assignment, document, fleet, many, pool, template
from .test_checks import assembled

FACTS = [{"name": "hardware", "facts": {}}]
OUTSIDE = [{"name": "alive", "ping": {}}, {"name": "web", "http": {}}, {"name": "sh", "ssh": {}}]


def warnings(**files: str) -> list[Finding]:
    given = fleet() | {f"{name}.yaml": text for name, text in files.items()}
    found = assembled(given)
    assert found.errors == ()
    return [each for each in found.warnings if each.code is Code.TEMPLATE_NO_REPORT]


@pytest.mark.parametrize(
    "kind",
    [{"phoneHome": {}}, {"facts": {}}, {"links": {}}, {"smart": {}}, {"command": {"run": "true"}}],
)
def test_a_template_that_does_not_phone_home_is_asked_for_no_report(kind: dict[str, Any]) -> None:
    checks = [*OUTSIDE, {"name": "mine", **kind}]
    mute = template(validation=checks, phoneHome=False)
    (found,) = warnings(templates=mute)
    assert found.severity is Severity.WARNING
    assert found.message == (
        "spec.validation: the machine's report is to answer mine, and with phoneHome: false"
        " there is none"
    )
    assert found.path == "templates.yaml"
    assert mute.splitlines()[found.line - 1].strip().startswith("validation:")
    assert warnings(templates=template(validation=checks)) == []
    assert warnings(templates=template(validation=OUTSIDE, phoneHome=False)) == []


def test_what_a_template_inherits_counts_and_what_takes_its_place() -> None:
    base = template(validation=FACTS)
    child = document("BootTemplate", "child", {"extends": "base", "phoneHome": False})
    (found,) = warnings(templates=many(base, child))
    assert found.message.startswith("spec: the machine's report is to answer hardware")
    other = [{"name": "hardware", "ping": {}}]
    spec = {"extends": "base", "phoneHome": False, "validation": other}
    assert warnings(templates=many(base, document("BootTemplate", "child", spec))) == []


def test_a_template_of_the_disk_as_it_is_does_not_phone_home_by_itself() -> None:
    local = {"method": "local", "validation": FACTS}
    (found,) = warnings(local=document("BootTemplate", "local", local))
    assert "hardware" in found.message
    spoken = document("BootTemplate", "local", local | {"phoneHome": True})
    assert warnings(local=spoken) == []


def test_the_checks_of_a_pool_are_those_of_all_that_its_nodes_run() -> None:
    mute = template("mute", phoneHome=False)
    checked = pool(validation=FACTS)
    assert warnings(pools=checked, more=mute) == []
    (found,) = warnings(pools=pool(validation=FACTS, resting={"template": "mute"}), more=mute)
    assert found.message.endswith("its nodes run mute, which does not phone home")
    (lent,) = warnings(pools=checked, more=mute, work=assignment("loan", template="mute"))
    assert (lent.path, lent.message) == ("pools.yaml", found.message)
    assert warnings(pools=pool(resting={"template": "mute"}), more=mute) == []
