"""The IPMI driver: power, boot device, identity and health of a machine through its BMC.

pyghmi does the talking, over RMCP+, in worker processes (`workers.py`, `ipmi_worker.py`): never
in this one. There is one session per BMC at a time, opened for a request and closed after it. Only
levels are set, never a cycle or a reset, and only on the machine that git declares. This driver
never wipes, and never waits for an effect to come about: that is for the next observation to see.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial

from metalwright.drivers.admission import Lane
from metalwright.drivers.contract import SecretSource
from metalwright.drivers.credentials import Credentials, look_up
from metalwright.drivers.ipmi_answers import (
    Sensor,
    boot_device_of,
    health_of,
    login_refusal,
    no_slot,
    sensors_of,
    translated,
)
from metalwright.drivers.ipmi_fru import serials_of
from metalwright.drivers.ipmi_identity import Serials, guids_of, system_uuid_of
from metalwright.drivers.ipmi_logins import Logins
from metalwright.drivers.ipmi_probe import PROBE_TIMEOUT_S, answers
from metalwright.drivers.workers import (
    Answer,
    BusyError,
    Call,
    DeadlineError,
    WorkerError,
    WorkerPool,
)
from metalwright.errors import CredentialsError, PermanentError, TemporaryError
from metalwright.model.documents import Node
from metalwright.model.hardware import BootMode
from metalwright.model.observed import BootDevice, Identity, Power, Reading
from metalwright.model.operation import Effect, EffectKind

IPMI_PORT = 623
USERNAME_BYTES_MAX = 16
PASSWORD_BYTES_MAX = 20
"""IPMI 2.0, 22.28 and 22.30."""

FORMER_CREDENTIALS_S = 86_400.0

LOGINS_MAX = 2
"""In one call: the current credentials, and the former ones where those are refused."""

_NEVER = "-"
"""No GUID at all: the FRU inventory is read whatever the GUID is."""

_LEVELS = {
    EffectKind.POWER_ON: "on",
    EffectKind.POWER_OFF: "off",
    EffectKind.SOFT_POWER_OFF: "soft",
}


class IpmiDriver:
    """Observes and changes machines through their BMCs; safe to call from many threads.

    Every call ends within its `timeout_s`: a reading or nothing, or `TemporaryError` (silence,
    busy, no session slot), `CredentialsError` (a refused login is not repeated: `ipmi_logins`), or
    `PermanentError`. After a `TemporaryError` an effect may have come about or not; it will not
    come about later through us. Restart of the daemon, or its death, ends every worker.
    """

    capabilities = frozenset({*_LEVELS, EffectKind.SET_BOOT_DEVICE})

    def __init__(
        self,
        secrets: SecretSource,
        *,
        workers_max: int = 8,
        former_credentials_s: float = FORMER_CREDENTIALS_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`workers_max` processes of about 40 MB at most; three at least (else ValueError).

        `former_credentials_s`: how long former credentials stand in for new ones that a BMC
        refuses; 0 for never.
        """
        self._secrets = secrets
        self._pool = WorkerPool(workers_max)
        self._logins = Logins(former_credentials_s, monotonic)
        self._serials = Serials(monotonic)
        # A FRU inventory holds a worker for long: most are left to the sweep.
        self._fru_slots = threading.BoundedSemaphore(max(1, workers_max // 4))

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """Power, boot device where the BMC tells, health by the chassis status, the system UUID
        where it has one; and the serial number where git declares one, read now and then.

        Raises:
            TemporaryError, CredentialsError, PermanentError: there is no reading.
        """
        bmc = _name_of(node)
        known = self._serials.valid_for(bmc)
        slot = False
        wanted: str | None = known.hex() if known is not None else None
        if node.spec.serial is None:
            wanted = None
        elif known is None and self._fru_slots.acquire(blocking=False):
            wanted, slot = _NEVER, True
        try:
            answer = self._call(node, Lane.OBSERVE, timeout_s, do="observe", fru_unless=wanted)
        finally:
            if slot:
                self._fru_slots.release()
        guid, status = bytes.fromhex(answer["guid"]), bytes.fromhex(answer["status"])
        if "fru" in answer:
            self._serials.keep(bmc, guid, serials_of(bytes.fromhex(answer["fru"])))
        return Reading(
            power=Power.ON if status[0] & 1 else Power.OFF,
            boot_device=boot_device_of(bytes.fromhex(answer["boot_flags"])),
            identity=Identity(
                serial=self._serials.kept(bmc, guid).told(node.spec.serial),
                system_uuid=system_uuid_of(guid, node.spec.system_uuid),
            ),
            health=health_of(status),
        )

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Have the BMC begin `effect`, or find that it is there already.

        Raises:
            PermanentError: not in `capabilities`, an unknown boot device, or another machine
                answers than the one that git declares.
            TemporaryError, CredentialsError, PermanentError: the BMC did not acknowledge it.
        """
        if effect.kind in _LEVELS:
            self._change(node, timeout_s, do="power", level=_LEVELS[effect.kind])
        elif effect.kind is EffectKind.SET_BOOT_DEVICE and effect.argument in list(BootDevice):
            self._set_boot_device(node, effect, timeout_s)
        else:
            raise PermanentError(f"IPMI cannot do {effect.kind.value} {effect.argument}".rstrip())

    def sensors(self, node: Node, timeout_s: float) -> tuple[Sensor, ...]:
        """Every sensor of the BMC, by name. It takes a BMC seconds: only for those who ask.

        Raises:
            TemporaryError, CredentialsError, PermanentError: as for `observe`.
        """
        return sensors_of(self._call(node, Lane.OBSERVE, timeout_s, do="sensors"))

    def alerts(self) -> tuple[str, ...]:
        """What an operator should know: credentials that BMCs refuse, by reference."""
        return self._logins.alerts()

    def rearm(self) -> None:
        """Try refused credentials again, once at each BMC: an operator has mended something."""
        self._logins.rearm()

    def close(self) -> None:
        """End every worker. Calls that run, and later ones, raise TemporaryError."""
        self._pool.close()

    def _set_boot_device(self, node: Node, effect: Effect, timeout_s: float) -> None:
        device = effect.argument
        request = {"device": device, "uefi": node.spec.boot_mode is BootMode.UEFI}
        answer = self._change(node, timeout_s, do="boot device", once=effect.once, **request)
        shown = boot_device_of(bytes.fromhex(answer["boot_flags"]))
        if shown is not None and shown != device:
            raise TemporaryError(f"the BMC acknowledged boot device {device} and shows {shown}")

    def _change(self, node: Node, timeout_s: float, **request: object) -> Answer:
        """A change, of the declared machine only: who answers is asked in the same session.

        Where its serial number was not read lately, that is read first, and the change is asked for
        when it is the declared one.
        """
        bmc, spec, began = _name_of(node), node.spec, time.monotonic()
        for _ in range(2):
            known = self._serials.valid_for(bmc, sure=True)
            own = {
                "guids": [each.hex() for each in guids_of(spec.system_uuid)]
                if spec.system_uuid is not None
                else [],
                "fru_unless": None
                if spec.serial is None
                else _NEVER
                if known is None
                else known.hex(),
            }
            if spec.serial is not None or spec.system_uuid is not None:
                request["own"] = own
            left_s = timeout_s - (time.monotonic() - began)
            answer = self._call(node, Lane.CHANGE, left_s, **request)
            if "stranger" in answer:
                found = system_uuid_of(bytes.fromhex(answer["stranger"]), spec.system_uuid)
                raise PermanentError(_another(bmc, "system UUID", found, spec.system_uuid))
            if not answer.get("unsure"):
                return answer
            guid, serials = bytes.fromhex(answer["guid"]), serials_of(bytes.fromhex(answer["fru"]))
            self._serials.keep(bmc, guid, serials)
            told = serials.told(spec.serial)
            if told not in (None, spec.serial):
                raise PermanentError(_another(bmc, "serial number", told, spec.serial))
        raise TemporaryError(f"{bmc}: it shows another system GUID each time")

    def _call(self, node: Node, lane: Lane, timeout_s: float, **request: object) -> Answer:
        bmc, name, began = node.spec.bmc, _name_of(node), time.monotonic()
        current, reference = self._credentials(node)
        self._logins.choose(name, reference, current)  # else not even a probe is sent
        assert bmc is not None
        request |= {"host": bmc.address, "port": bmc.port or IPMI_PORT}
        if not answers(bmc.address, bmc.port or IPMI_PORT, min(PROBE_TIMEOUT_S, timeout_s / 2)):
            text = f"{name}: it did not answer"
            raise TemporaryError(text) from TimeoutError("no datagram came back")
        call = partial(Call, bmc=name, lane=lane, request=request)
        try:
            with self._pool.turn(name, lane, timeout_s - (time.monotonic() - began)) as ask:
                return self._asked(
                    name, reference, current, lambda login: ask(call(credentials=login))
                )
        except BusyError as error:
            raise TemporaryError(f"{name}: not asked: {error}") from error
        except DeadlineError as error:
            text = f"{name}: it gave no answer within {timeout_s:g} s"
            raise TemporaryError(text) from TimeoutError(str(error))
        except WorkerError as error:
            raise TemporaryError(f"{name}: {error}") from error

    def _asked(
        self, name: str, reference: str, current: Credentials, ask: Callable[[Credentials], Answer]
    ) -> Answer:
        """The answer to one request, logging in with what the BMC takes."""
        for _ in range(LOGINS_MAX):
            login = self._logins.choose(name, reference, current)
            answer = ask(login)
            refusal = login_refusal(answer)
            if refusal is not None:
                self._logins.refused(name, reference, login, refusal)
                continue
            if no_slot(answer):
                self._logins.full(name, reference)
            elif "error" not in answer or answer.get("login") is False:
                self._logins.accepted(name, reference, login, current)
            if "error" in answer:
                raise translated(name, answer, login)
            found: Answer = answer["ok"]
            return found
        raise CredentialsError(f"{name}: {refusal} (credentials {reference})")

    def _credentials(self, node: Node) -> tuple[Credentials, str]:
        reference = node.spec.bmc.credentials if node.spec.bmc is not None else None
        if reference is None:
            raise PermanentError(f"node {node.metadata.name} names no credentials for its bmc")
        found = look_up(self._secrets, reference)
        if len(found.username.encode()) > USERNAME_BYTES_MAX:
            raise PermanentError(
                f"credentials {reference}: an IPMI user name has {USERNAME_BYTES_MAX} bytes at most"
            )
        if len(found.password.encode()) > PASSWORD_BYTES_MAX:
            raise PermanentError(
                f"credentials {reference}: an IPMI password has {PASSWORD_BYTES_MAX} bytes at most"
            )
        return found, reference


def _name_of(node: Node) -> str:
    bmc = node.spec.bmc
    if bmc is None:
        raise PermanentError(f"node {node.metadata.name} has no bmc")
    return f"BMC {bmc.address}:{bmc.port or IPMI_PORT}"


def _another(bmc: str, what: str, found: object, declared: object) -> str:
    return f"{bmc}: another machine answers: its {what} is {found}, git declares {declared}"
