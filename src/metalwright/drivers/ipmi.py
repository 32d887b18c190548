"""The IPMI driver: power and boot device of a machine through its BMC, over RMCP+.

pyghmi does the talking, in worker processes (`workers.py`, `ipmi_worker.py`): never in this one.
There is one session per BMC at a time, opened for a request and closed after it. Only levels are
set, never a cycle or a reset. This driver never wipes, never reads sensors, and never waits for an
effect to come about: that is for the next observation to see.
"""

from __future__ import annotations

import time
import uuid

from metalwright.drivers.admission import Lane
from metalwright.drivers.contract import SecretSource
from metalwright.drivers.credentials import Credentials
from metalwright.drivers.ipmi_errors import SILENCE, meaning_of
from metalwright.drivers.ipmi_probe import PROBE_TIMEOUT_S, answers
from metalwright.drivers.workers import (
    Answer,
    BusyError,
    Call,
    DeadlineError,
    WorkerError,
    WorkerPool,
)
from metalwright.errors import DriverError, PermanentError, SettingsError, TemporaryError
from metalwright.model.documents import Node
from metalwright.model.hardware import Bmc, BootMode
from metalwright.model.observed import BootDevice, Identity, Power, Reading
from metalwright.model.operation import Effect, EffectKind

IPMI_PORT = 623
USERNAME_BYTES_MAX = 16
PASSWORD_BYTES_MAX = 20
"""IPMI 2.0, 22.28 and 22.30."""

_LEVELS = {
    EffectKind.POWER_ON: "on",
    EffectKind.POWER_OFF: "off",
    EffectKind.SOFT_POWER_OFF: "soft",
}
_SELECTORS = {0x04: BootDevice.PXE, 0x08: BootDevice.DISK}
_SELECTOR_MASK = 0x3C


class IpmiDriver:
    """Observes and changes machines through their BMCs; safe to call from many threads.

    Every call ends within its `timeout_s`: a reading or nothing, or `TemporaryError` (silence,
    busy, no session slot), `CredentialsError` (one login was tried, and no second), or
    `PermanentError`. After a `TemporaryError` an effect may have come about or not; it will not
    come about later through us. Restart of the daemon, or its death, ends every worker.
    """

    capabilities = frozenset({*_LEVELS, EffectKind.SET_BOOT_DEVICE})

    def __init__(self, secrets: SecretSource, *, workers_max: int = 8) -> None:
        """`workers_max` processes of about 40 MB at most; three at least (else ValueError)."""
        self._secrets = secrets
        self._pool = WorkerPool(workers_max)

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """Power, boot device where the BMC tells, and the system UUID where it has one.

        Raises:
            TemporaryError, CredentialsError, PermanentError: there is no reading.
        """
        answer = self._call(node, Lane.OBSERVE, timeout_s, do="observe")
        declared = node.spec.system_uuid
        return Reading(
            power=Power.ON if answer["on"] else Power.OFF,
            boot_device=boot_device_of(bytes.fromhex(answer["boot_flags"])),
            identity=Identity(system_uuid=system_uuid_of(bytes.fromhex(answer["guid"]), declared)),
        )

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Have the BMC begin `effect`, or find that it is there already.

        Raises:
            PermanentError: not in `capabilities`, or an unknown boot device.
            TemporaryError, CredentialsError, PermanentError: the BMC did not acknowledge it.
        """
        if effect.kind in _LEVELS:
            self._call(node, Lane.CHANGE, timeout_s, do="power", level=_LEVELS[effect.kind])
        elif effect.kind is EffectKind.SET_BOOT_DEVICE and effect.argument in list(BootDevice):
            self._set_boot_device(node, effect.argument, timeout_s)
        else:
            raise PermanentError(f"IPMI cannot do {effect.kind.value} {effect.argument}".rstrip())

    def close(self) -> None:
        """End every worker. Calls that run, and later ones, raise TemporaryError."""
        self._pool.close()

    def _set_boot_device(self, node: Node, device: str, timeout_s: float) -> None:
        uefi = node.spec.boot_mode is BootMode.UEFI
        answer = self._call(
            node, Lane.CHANGE, timeout_s, do="boot device", device=device, uefi=uefi
        )
        shown = boot_device_of(bytes.fromhex(answer["boot_flags"]))
        if shown is not None and shown != device:
            raise TemporaryError(f"the BMC acknowledged boot device {device} and shows {shown}")

    def _call(self, node: Node, lane: Lane, timeout_s: float, **request: object) -> Answer:
        bmc, credentials = _bmc_of(node), self._credentials(node)
        port = bmc.port or IPMI_PORT
        request |= {"host": bmc.address, "port": port}
        name = f"BMC {bmc.address}:{port}"
        began = time.monotonic()
        if not answers(bmc.address, port, min(PROBE_TIMEOUT_S, timeout_s / 2)):
            text = f"{name}: it did not answer"
            raise TemporaryError(text) from TimeoutError("no datagram came back")
        call = Call(bmc=name, lane=lane, request=request, credentials=credentials)
        try:
            answer = self._pool.call(call, timeout_s - (time.monotonic() - began))
        except BusyError as error:
            raise TemporaryError(f"{name}: not asked: {error}") from error
        except DeadlineError as error:
            text = f"{name}: it gave no answer within {timeout_s:g} s"
            raise TemporaryError(text) from TimeoutError(str(error))
        except WorkerError as error:
            raise TemporaryError(f"{name}: {error}") from error
        if "error" in answer:
            raise _translated(name, answer, credentials)
        found: Answer = answer["ok"]
        return found

    def _credentials(self, node: Node) -> Credentials:
        reference = _bmc_of(node).credentials
        if reference is None:
            raise PermanentError(f"node {node.metadata.name} names no credentials for its bmc")
        try:
            found = self._secrets.get(reference)
        except SettingsError as error:
            raise PermanentError(str(error)) from error
        if len(found.username.encode()) > USERNAME_BYTES_MAX:
            raise PermanentError(
                f"credentials {reference}: an IPMI user name has {USERNAME_BYTES_MAX} bytes at most"
            )
        if len(found.password.encode()) > PASSWORD_BYTES_MAX:
            raise PermanentError(
                f"credentials {reference}: an IPMI password has {PASSWORD_BYTES_MAX} bytes at most"
            )
        return found


def boot_device_of(flags: bytes) -> BootDevice | None:
    """The boot device in an answer to Get System Boot Options, parameter 5 (IPMI 2.0, table 28-14).

    `None` when the BMC has none, says that its flags are not valid, or names another device.
    """
    if len(flags) < 4 or flags[1] & 0x80 or not flags[2] & 0x80:
        return None
    return _SELECTORS.get(flags[3] & _SELECTOR_MASK)


def system_uuid_of(guid: bytes, declared: str | None) -> str | None:
    """The system UUID as SMBIOS tools print it, from the 16 bytes of Get System GUID.

    IPMI 2.0 (20.8) sends a GUID least significant byte first; many BMCs send the SMBIOS structure
    as it is (DSP0134: three little-endian fields first), others the order of RFC 4122. The bytes do
    not say which. Where one of the three readings is the one that git declares, the machine is that
    one; else the SMBIOS reading stands. All zeros or all ones mean that nobody set it.
    """
    if len(guid) != 16 or guid in (bytes(16), b"\xff" * 16):
        return None
    smbios = str(uuid.UUID(bytes_le=guid))
    readings = (smbios, str(uuid.UUID(bytes=guid)), str(uuid.UUID(bytes=guid[::-1])))
    return declared if declared in readings else smbios


def _bmc_of(node: Node) -> Bmc:
    if node.spec.bmc is None:
        raise PermanentError(f"node {node.metadata.name} has no bmc")
    return node.spec.bmc


def _translated(name: str, answer: Answer, credentials: Credentials) -> DriverError:
    """The worker's error as one of ours; whatever its text, it carries no credentials."""
    text = str(answer["text"])
    match answer["error"]:
        case "ipmi":
            kind, words = meaning_of(text)
        case "missing":
            kind, words = PermanentError, "pyghmi is missing: pip install 'metalwright[ipmi]'"
        case "address":
            kind, words = TemporaryError, f"its address does not resolve ({text})"
        case "garbage":
            kind, words = TemporaryError, f"its answer cannot be understood ({text})"
        case _:
            kind, words = TemporaryError, f"the network failed ({text})"
    for secret in (credentials.password, credentials.username):
        words = words.replace(secret, "***")
    error = kind(f"{name}: {words}")
    if text in SILENCE:
        error.__cause__ = TimeoutError(text)
    return error
