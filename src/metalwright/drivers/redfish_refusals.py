"""Which logins a Redfish service has refused: one refusal ends the tries of a secret's version.

Many BMCs lock an account after a few wrong passwords, and some begin to count anew only after
hours. So what was refused is not presented again, on behalf of whichever system of the service and
however often it is asked for, until the secret changes or an operator says that it was mended.
Nothing here speaks to a BMC, and no credentials are kept, only their versions.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from metalwright.drivers.credentials import Credentials
from metalwright.errors import CredentialsError

REFUSALS_MAX: Final = 20_000
"""That are remembered at once; the oldest one is forgotten first."""

SHOWN_MAX: Final = 3
"""BMCs that are named in one alert."""


@dataclass(frozen=True, slots=True)
class Login:
    """Credentials for a BMC, and the reference by which git names them."""

    bmc: str
    reference: str
    credentials: Credentials


class Refusals:
    """The refused logins of every service. Safe to call from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: OrderedDict[tuple[str, str], str] = OrderedDict()

    def stop_if_refused(self, login: Login) -> None:
        """Raises CredentialsError: this version was refused already. Nothing was asked."""
        with self._lock:
            refused = self._versions.get((login.bmc, login.reference))
        if refused == login.credentials.version:
            raise CredentialsError(
                f"it refused the user name or the password (credentials {login.reference}); it is"
                " not asked again until they change, or at SIGHUP"
            )

    def refused(self, login: Login) -> None:
        """The service refused it."""
        with self._lock:
            key = login.bmc, login.reference
            self._versions[key] = login.credentials.version
            self._versions.move_to_end(key)
            while len(self._versions) > REFUSALS_MAX:
                self._versions.popitem(last=False)

    def accepted(self, login: Login) -> None:
        """The service took it."""
        with self._lock:
            self._versions.pop((login.bmc, login.reference), None)

    def rearm(self) -> None:
        """Let every login be presented again, once: an operator says that they were mended."""
        with self._lock:
            self._versions.clear()

    def alerts(self) -> tuple[str, ...]:
        """Which credentials are refused, and where; without any secret."""
        with self._lock:
            keys = sorted(self._versions)
        groups: dict[str, list[str]] = {}
        for bmc, reference in keys:
            groups.setdefault(reference, []).append(bmc)
        return tuple(_told(reference, bmcs) for reference, bmcs in sorted(groups.items()))


def _told(reference: str, bmcs: list[str]) -> str:
    named = ", ".join(bmcs[:SHOWN_MAX])
    more = f" and {len(bmcs) - SHOWN_MAX} more" if len(bmcs) > SHOWN_MAX else ""
    return (
        f"credentials {reference} were refused by {named}{more}: not tried again there until they"
        " change"
    )
