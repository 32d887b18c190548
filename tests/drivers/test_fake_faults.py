"""Faults as settings write them, and whom they strike when."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from metalwright.drivers.fake_faults import FAULT_JSON, Fault, FaultKind, parse_faults
from metalwright.errors import SettingsError

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def test_settings_name_a_node_a_range_or_every_node() -> None:
    text = """
    [[faults]]
    node = "r640-[01-02]"
    fault = "silent"
    until = 2026-11-20T10:00:00+01:00

    [[faults]]
    node = "*"
    fault = "slow"
    rate = 0.25
    delay_s = 6

    [[faults]]
    node = "r640-02"
    fault = "wrong-password"
    since = "2026-11-20T08:00:00Z"
    """
    silent = Fault(kind=FaultKind.SILENT, until=LATER)
    assert parse_faults(tomllib.loads(text)["faults"]) == {
        "r640-01": (silent,),
        "r640-02": (silent, Fault(kind=FaultKind.WRONG_PASSWORD, since=NOW)),
        "*": (Fault(kind=FaultKind.SLOW, rate=0.25, delay_s=6),),
    }


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"node": "n1"},
        {"node": "n1", "fault": "on fire"},
        {"node": 5, "fault": "silent"},
        {"node": "n[1-", "fault": "silent"},
        {"fault": "silent"},
        {"node": "n1", "fault": "silent", "kind": "slow"},
        {"node": "n1", "fault": "silent", "untill": "2026-11-20T08:00:00Z"},
        {"node": "n1", "fault": "silent", "until": "tomorrow"},
        {"node": "n1", "fault": "silent", "rate": 0},
        {"node": "n1", "fault": "silent", "rate": 1.5},
        {"node": "n1", "fault": "silent", "rate": float("nan")},
        {"node": "n1", "fault": "slow", "delay_s": -1},
    ],
)
def test_what_is_not_a_fault_is_refused_with_its_number(entry: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match="fault 2 of the fake fleet: "):
        parse_faults([{"node": "n1", "fault": "silent"}, entry])


def test_a_fault_holds_from_an_instant_until_an_instant() -> None:
    fault = Fault(kind=FaultKind.SILENT, since=NOW, until=LATER)
    second = timedelta(seconds=1)
    struck = [fault.strikes(1, "n1", at) for at in (NOW - second, NOW, LATER - second, LATER)]
    assert struck == [False, True, True, False]


def test_a_rate_strikes_its_share_of_the_fleet_and_always_the_same() -> None:
    fault = Fault(kind=FaultKind.SILENT, rate=0.1)
    struck = [name for name in map(str, range(5_000)) if fault.strikes(1, name, NOW)]
    assert 400 < len(struck) < 600
    assert struck == [name for name in map(str, range(5_000)) if fault.strikes(1, name, LATER)]
    assert struck != [name for name in map(str, range(5_000)) if fault.strikes(2, name, NOW)]
    other = Fault(kind=FaultKind.GARBAGE, rate=0.1)
    both = [name for name in struck if other.strikes(1, name, NOW)]
    assert len(both) < 120, "one fault does not follow from the other"


@pytest.mark.parametrize("kind", FaultKind)
def test_a_fault_survives_its_json(kind: FaultKind) -> None:
    fault = Fault(kind=kind, since=NOW, until=LATER, rate=0.5)
    text = FAULT_JSON.dump_json(fault).decode()
    assert json.loads(text)["kind"] == kind.value
    assert FAULT_JSON.validate_json(text) == fault
