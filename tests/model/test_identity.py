from __future__ import annotations

import uuid

import pytest

from metalwright.model.hardware import Nic, NodeSpec
from metalwright.model.identity import Match, compare_identity
from metalwright.model.observed import Identity

UUID = "4c4c4544-0043-4810-8051-b4c04f4e3032"
SWAPPED = str(uuid.UUID(bytes=uuid.UUID(UUID).bytes_le))
BOOT, DATA = Nic(mac="52:54:00:00:00:01", boot=True), Nic(mac="52:54:00:00:00:02")


def declared(
    serial: str | None = None, system_uuid: str | None = None, nics: tuple[Nic, ...] = ()
) -> NodeSpec:
    return NodeSpec(driver="fake", serial=serial, system_uuid=system_uuid, nics=nics)


@pytest.mark.parametrize(
    ("spec", "read", "match"),
    [
        (declared(serial="ABC1"), Identity(serial=" abc1 "), Match.SAME),
        (declared(serial="ABC1"), Identity(serial="ABC2"), Match.OTHER),
        (declared(serial="ABC1"), Identity(), Match.UNKNOWN),
        (declared(serial="ABC1"), Identity(serial=""), Match.UNKNOWN),
        (declared(), Identity(serial="ABC1"), Match.UNKNOWN),
        (declared(system_uuid=UUID), Identity(system_uuid=UUID.upper()), Match.SAME),
        (declared(system_uuid=UUID), Identity(system_uuid=SWAPPED), Match.SAME),
        (declared(system_uuid=UUID), Identity(system_uuid=str(uuid.UUID(int=7))), Match.OTHER),
        (declared(system_uuid=UUID), Identity(system_uuid="not set"), Match.OTHER),
        (declared(nics=(BOOT, DATA)), Identity(macs=("52:54:00:00:00:01",)), Match.SAME),
        (declared(nics=(BOOT, DATA)), Identity(macs=("52:54:00:00:00:02",)), Match.OTHER),
        (declared(nics=(DATA,)), Identity(macs=("02:00:00:00:00:09",)), Match.UNKNOWN),
        (
            declared(serial="ABC1", nics=(BOOT,)),
            Identity(serial="ABC1", macs=("02:00:00:00:00:09",)),
            Match.OTHER,
        ),
    ],
)
def test_a_machine_is_the_declared_one_another_or_unknown(
    spec: NodeSpec, read: Identity, match: Match
) -> None:
    check = compare_identity(spec, read)
    assert check.match is match
    assert bool(check.message) is (match is not Match.SAME)
