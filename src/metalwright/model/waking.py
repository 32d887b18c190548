"""Machines that nobody asks for their power: they are woken, and report themselves. Pure.

A magic packet has no answer. A report says that the machine is on, for as long as it is fresh;
silence is no sign that it is off. So to wake is all that is ever begun on unknown power.
"""

from __future__ import annotations

from typing import Final

from metalwright.model.desired import Target
from metalwright.model.observed import Power, Reading

WAKING: Final = frozenset({"wol"})
"""The drivers that wake machines and can tell nothing of them."""

BEAT_S: Final = 30
"""Seconds after which such a machine reports once more, for as long as it runs."""

REPORT_LIFE_S: Final = 100.0
"""For how many seconds a report says that the machine is on: two may be lost."""

TOKEN_REST_S: Final = 600.0
"""For how many seconds a machine that reports again and again may fall silent and keep its token,
however old that is.
"""


def may_wake(reading: Reading | None, target: Target, *, destroys: bool) -> bool:
    """Whether a machine whose power is unknown may be told to wake into this target.

    It is harmless where the machine is on already. It is of use only where the system that boots
    reports, and nothing that destroys data is begun on what is not known.
    """
    if reading is None or not reading.wakes or reading.power is not Power.UNKNOWN or destroys:
        return False
    return target.template is not None and target.template.phone_home
