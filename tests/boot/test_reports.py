"""What a machine reports of itself, made into values that can be compared."""

from __future__ import annotations

import json

import pytest

from metalwright.boot.reports import ReportBody, parse

UUID = "4c4c4544-004a-3110-8056-b4c04f4e3432"


def reported(**facts: object) -> ReportBody:
    body = {"phase": "running", "boot_id": "b1", "facts": facts}
    found = parse(json.dumps(body).encode())
    assert isinstance(found, ReportBody)
    return found


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (UUID, UUID),
        (UUID.upper(), UUID),
        (f"{{{UUID}}}", UUID),
        (UUID.replace("-", ""), UUID),
        ("Not Settable", None),
        (" ", None),
        (None, None),
    ],
)
def test_a_system_uuid_has_one_spelling_and_other_words_are_none(said, meant):
    facts = reported(system_uuid=said).its_facts()
    assert facts is not None
    assert facts.identity.system_uuid == meant


def test_a_text_of_blanks_says_nothing():
    facts = reported(vendor="", model=" ", serial="  ", cpu_arch="x86_64", cpus=0).its_facts()
    assert facts is not None
    assert (facts.vendor, facts.model, facts.serial) == (None, None, None)
    assert (facts.cpu_arch, facts.cpus) == ("x86_64", 0)
