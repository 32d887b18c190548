"""The errors that cross rooms: what a caller may retry, what it must report, what is a bug.

Expected trouble inside the loop is a value (`Blocked`, `Outcome`, `Finding`); these exceptions are
for promises that cannot be kept. Every library's own exceptions are translated to these in the room
that owns the library, with the cause chained.

    MetalwrightError
    ├── SettingsError        a setting is missing or wrong: the operator mends it
    ├── RepositoryError      git could not be read: nothing is decided from it
    ├── InventoryError       a revision was read and refused; carries its findings
    ├── StoreError           the journal could not be read or written: nothing is started
    │   └── FencedError      another process has claimed the store since: this one drives no more
    ├── LockedError          another process drives this fleet
    ├── PlanError            a plan broke an invariant: nothing of it is carried out
    └── DriverError          the hardware did not do what was asked
        ├── TemporaryError   worth another try after a back-off (silence, busy, session slots full)
        │   └── NotBegunError    nothing was begun, and nothing is wrong: it has to wait its turn
        └── PermanentError   will fail again until someone changes something (address, secret)
            ├── CredentialsError     the credentials were refused
            └── NotSupportedError    the hardware has no such thing
"""

from __future__ import annotations

import traceback
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from metalwright.model.finding import Finding


class MetalwrightError(Exception):
    """Base of every error that Metalwright raises on purpose."""


class SettingsError(MetalwrightError):
    """A setting, or the secret that it names, is missing or wrong."""


class RepositoryError(MetalwrightError):
    """The git repository could not be read: unreachable, no such branch or commit, not a
    repository.
    """


class InventoryError(MetalwrightError):
    """A revision was read and is refused whole; `findings` says why, one per problem."""

    def __init__(self, message: str, findings: tuple[Finding, ...]) -> None:
        super().__init__(message)
        self.findings = findings


class StoreError(MetalwrightError):
    """The store could not be read or written. Nothing that it should have recorded was started."""


class FencedError(StoreError):
    """A newer process has claimed the store: what this one would have written is refused whole."""


class LockedError(MetalwrightError):
    """Another process holds the right to change this fleet."""


class PlanError(MetalwrightError):
    """A plan broke an invariant; `violations` names each one."""

    def __init__(self, violations: tuple[str, ...]) -> None:
        super().__init__("the plan breaks an invariant: " + "; ".join(violations))
        self.violations = violations


class DriverError(MetalwrightError):
    """The hardware, or the service in front of it, did not do what was asked."""


class TemporaryError(DriverError):
    """Worth another try after a back-off: silence, busy, no session slot, a fault that passes."""


class NotBegunError(TemporaryError):
    """Nothing was begun, for certain: locked, or as much under way as the service allows. Asking
    again, until the stage's deadline, is no try that counts.
    """


class PermanentError(DriverError):
    """Will fail again until something is changed: wrong address, no secret, unusable answer."""


class NotSupportedError(PermanentError):
    """The hardware itself has no such thing, and nothing was begun. A machine whose soft power-off
    fails with this, and with nothing else, is switched off at once: it cannot be asked to shut
    down.
    """


class CredentialsError(PermanentError):
    """The BMC refused the credentials. One try only: many BMCs lock the account after a few."""


def mistake_of(error: BaseException) -> str:
    """An exception that is none of ours: its type and place, `KeyError at client.py:12`.

    Its text is not repeated: nobody has seen to it that there is no secret in it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {PurePath(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
