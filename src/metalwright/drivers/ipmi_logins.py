"""Which credentials a BMC may be asked with now: one refused login ends the tries of a version.

Many BMCs lock an account after a few wrong passwords, and a fleet makes thousands of logins. So a
version of a secret that a BMC refused is not presented to it again, by whomever, until the secret
changes; where the version before it had worked, that one stands in for a bounded time. A BMC that
has no session slot left is not asked for a while: each half-open login would hold another one.

Former credentials are kept in memory only. Nothing here speaks to a BMC.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from metalwright.drivers.credentials import Credentials
from metalwright.errors import CredentialsError, TemporaryError

BMCS_MAX: Final = 20_000
"""BMCs that are remembered at once; the one not asked for longest is forgotten first."""

VERSIONS_MAX: Final = 8
"""Refused versions that are remembered of one BMC."""

NO_SLOT_PAUSE_S: Final = 30.0
"""A BMC gives up a half-open or idle session after this time or twice it (ipmi_sim: 30 s)."""

SHOWN_MAX: Final = 3
"""BMCs that are named in one alert."""


@dataclass(slots=True)
class _Bmc:
    """What is known of the logins at one BMC. Times are of the monotonic clock."""

    good: Credentials | None = field(default=None, repr=False)
    refused: OrderedDict[str, str] = field(default_factory=OrderedDict)
    reference: str = ""
    stands_in_since: float | None = None
    stood_in: bool = False
    full_until: float = 0.0


class Logins:
    """The logins at every BMC. Safe to call from many threads; ask for one BMC in turn, so that no
    second login begins before the first one's end is told.
    """

    def __init__(self, former_s: float, monotonic: Callable[[], float]) -> None:
        """`former_s`: for how long former credentials may stand in for refused ones, seconds."""
        self._former_s, self._monotonic = former_s, monotonic
        self._lock = threading.Lock()
        self._bmcs: OrderedDict[str, _Bmc] = OrderedDict()

    def choose(self, bmc: str, reference: str, current: Credentials) -> Credentials:
        """What to log in with: the current credentials, or the former where they stand in.

        Raises:
            CredentialsError: everything that there is was refused already. Nothing was asked.
            TemporaryError: the BMC had no session slot left a short while ago.
        """
        with self._lock:
            known = self._bmcs.get(bmc)
            if known is None:
                return current
            self._bmcs.move_to_end(bmc)
            now = self._monotonic()
            if now < known.full_until:
                raise TemporaryError(f"{bmc}: not asked: all its session slots were taken just now")
            if current.version not in known.refused:
                return current
            if self._stands_in(known, now):
                assert known.good is not None
                return known.good
            raise CredentialsError(
                f"{bmc}: {known.refused[current.version]} (credentials {reference}); it is not"
                " asked again until they change, or at SIGHUP"
            )

    def accepted(
        self, bmc: str, reference: str, credentials: Credentials, current: Credentials
    ) -> None:
        """The BMC took them: they are the good ones. `current` are those that are to be used."""
        with self._lock:
            known = self._known(bmc, reference)
            good, version = known.good, credentials.version
            if good is None or version != good.version or version == current.version:
                known.good, known.stands_in_since, known.stood_in = credentials, None, False
                known.refused.clear()  # it has its own by now: nothing older is tried again
            elif known.stands_in_since is not None:
                known.stood_in = True

    def refused(self, bmc: str, reference: str, credentials: Credentials, words: str) -> None:
        """The BMC refused them: not again. Where those are the former ones, after they have stood
        in, it has changed its password meanwhile: what it refused before gets one more try.
        """
        with self._lock:
            known = self._known(bmc, reference)
            if known.good is not None and known.good.version == credentials.version:
                if known.stood_in:
                    known.refused.clear()
                known.good, known.stands_in_since, known.stood_in = None, None, False
            elif known.good is not None and known.stands_in_since is None:
                known.stands_in_since = self._monotonic()
            known.refused[credentials.version] = words
            while len(known.refused) > VERSIONS_MAX:
                known.refused.popitem(last=False)

    def full(self, bmc: str, reference: str) -> None:
        """The BMC had no session slot left."""
        with self._lock:
            self._known(bmc, reference).full_until = self._monotonic() + NO_SLOT_PAUSE_S

    def rearm(self) -> None:
        """Let every BMC be asked again, once: an operator says that they were mended."""
        with self._lock:
            for known in self._bmcs.values():
                known.refused.clear()
                known.full_until = 0.0

    def alerts(self) -> tuple[str, ...]:
        """What an operator should know now, without any secret."""
        with self._lock:
            now = self._monotonic()
            former: dict[str, list[str]] = {}
            stopped: dict[str, list[str]] = {}
            for bmc, known in self._bmcs.items():
                if known.refused:
                    group = former if self._stands_in(known, now) else stopped
                    group.setdefault(known.reference, []).append(bmc)
        return (*_told(stopped, _STOPPED), *_told(former, _FORMER))

    def _stands_in(self, known: _Bmc, now: float) -> bool:
        since = known.stands_in_since
        return known.good is not None and since is not None and now - since < self._former_s

    def _known(self, bmc: str, reference: str) -> _Bmc:
        known = self._bmcs.setdefault(bmc, _Bmc())
        known.reference = reference
        self._bmcs.move_to_end(bmc)
        while len(self._bmcs) > BMCS_MAX:
            self._bmcs.popitem(last=False)
        return known


_STOPPED = "credentials {0} were refused by {1}: not tried again there until they change"
_FORMER = "the new version of credentials {0} was refused by {1}: the former one stands in for now"


def _told(groups: dict[str, list[str]], words: str) -> Iterator[str]:
    for reference, bmcs in sorted(groups.items()):
        named = ", ".join(sorted(bmcs)[:SHOWN_MAX])
        more = f" and {len(bmcs) - SHOWN_MAX} more" if len(bmcs) > SHOWN_MAX else ""
        yield words.format(reference, named + more)
