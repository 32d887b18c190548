"""For how long a serial number that was read counts."""

from __future__ import annotations

import pytest

from metalwright.drivers.ipmi_fru import FruSerials
from metalwright.drivers.ipmi_identity import (
    FRU_KEPT_S,
    FRU_KEPT_WITHOUT_GUID_S,
    FRU_SURE_S,
    FRU_SURE_WITHOUT_GUID_S,
    Serials,
)

GUID = bytes(range(16))


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("guid", "kept_s", "sure_s"),
    [
        (GUID, FRU_KEPT_S, FRU_SURE_S),
        (b"", FRU_KEPT_WITHOUT_GUID_S, FRU_SURE_WITHOUT_GUID_S),
        (bytes(16), FRU_KEPT_WITHOUT_GUID_S, FRU_SURE_WITHOUT_GUID_S),
    ],
)
def test_a_change_needs_a_younger_one_than_a_sweep(
    guid: bytes, kept_s: float, sure_s: float
) -> None:
    clock = Clock()
    serials = Serials(clock)
    assert serials.valid_for("bmc") is None
    serials.keep("bmc", guid, FruSerials(product="P"))
    for age_s, sure, valid in (
        (sure_s - 1, True, True),
        (sure_s, True, False),
        (sure_s, False, True),
        (kept_s - 1, False, True),
        (kept_s, False, False),
    ):
        clock.now = 50.0 + age_s
        assert serials.valid_for("bmc", sure=sure) == (guid if valid else None)
