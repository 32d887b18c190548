"""The Redfish driver: power, boot device, health and virtual media of a machine through its BMC.

sushy knows the resources and what vendors make of them; the requests are our own (`redfish_http`).
There is one connection and one session per service (`redfish_session`). Only levels are set, never
a cycle, a reset or a push of a button. An action starts and returns, also where the service answers
with a task (202): that it is done is for the next observation to see. This driver never wipes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from metalwright.drivers.contract import SecretSource
from metalwright.drivers.credentials import Credentials, look_up
from metalwright.drivers.redfish_actions import Override, set_boot_override, set_power
from metalwright.drivers.redfish_errors import translated
from metalwright.drivers.redfish_http import Exchange
from metalwright.drivers.redfish_media import Media, cd_of, eject, image_of, insert, media_of
from metalwright.drivers.redfish_nics import macs_of
from metalwright.drivers.redfish_reading import MODES, TARGETS, reading_of
from metalwright.drivers.redfish_refusals import Login, Refusals
from metalwright.drivers.redfish_session import Service
from metalwright.drivers.redfish_socket import Endpoint, tls_context
from metalwright.errors import NotBegunError, PermanentError, SettingsError, TemporaryError
from metalwright.model.documents import Node
from metalwright.model.hardware import Bmc, BmcProtocol, BootInterface, port_of
from metalwright.model.observed import BootDevice, Reading
from metalwright.model.operation import Effect, EffectKind

SERVICES_MAX: Final = 20_000
CLOSE_TIMEOUT_S: Final = 5.0
CLOSERS_MAX: Final = 16

MISSING: Final = "sushy is missing: pip install 'metalwright[redfish]'"
NO_DISC: Final = "its boot disc is the boot service's, which is off (boot.listen)"

_POWER: Final = frozenset({EffectKind.POWER_ON, EffectKind.POWER_OFF, EffectKind.SOFT_POWER_OFF})

T = TypeVar("T")

Act = Callable[[Exchange, str], T]
"""What is done with the system at a path."""


@dataclass(frozen=True, slots=True)
class _Key:
    address: str
    port: int
    protocol: BmcProtocol
    verify_ca: bool


class RedfishDriver:
    """Observes and changes machines through Redfish; safe to call from many threads.

    Every call ends within its `timeout_s`: with a reading or nothing, or with `TemporaryError`
    (silence, busy, no session slot, a state in which it cannot), `CredentialsError` (a refused
    login is not repeated: `redfish_refusals`), or `PermanentError`. After a `TemporaryError` an
    effect may have come about or not; it will not come about later through us.
    """

    capabilities = frozenset({*_POWER, EffectKind.SET_BOOT_DEVICE})

    def __init__(
        self, secrets: SecretSource, *, ca_file: Path | None = None, boot_override: str = "Once"
    ) -> None:
        """`ca_file` has the authorities that sign the services' certificates (the system's are
        trusted without it), `boot_override` is `Once` or `Continuous`.

        Raises:
            SettingsError: `ca_file` cannot be used, or `boot_override` is neither.
        """
        if boot_override not in ("Once", "Continuous"):
            raise SettingsError(
                f"drivers.redfish.boot_override should be Once or Continuous, not {boot_override!r}"
            )
        try:
            self._trusting = {
                verify: tls_context(ca_file, verify=verify) for verify in (True, False)
            }
        except OSError as error:
            raise SettingsError(f"drivers.redfish.ca_file {ca_file}: {error}") from error
        self._secrets, self._boot_override = secrets, boot_override
        self._refusals = Refusals()
        self._services: OrderedDict[_Key, Service] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """Power, boot device, serial number, system UUID, MAC addresses and health; and of a node
        that boots from it, what is in the virtual CD drive.

        Raises:
            TemporaryError, CredentialsError, PermanentError: there is no reading.
        """

        def read(exchange: Exchange, path: str) -> Reading:
            system, seen = exchange.get(path).json(), self._service(node).seen
            reading = reading_of(system, macs_of(exchange, system, seen))
            if not _boots_by_disc(node):
                return reading
            return replace(reading, media=image_of(exchange, path, seen))

        return self._on_system(node, timeout_s, read)

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Have the BMC begin `effect`, or find that it is there already.

        Raises:
            PermanentError: not in `capabilities`, an unknown boot device, or one that takes a boot
                disc, which is not this method's (`insert_media`, `boot_from_media`).
            TemporaryError, CredentialsError, PermanentError: the BMC did not acknowledge it.
        """
        if effect.kind in _POWER:
            self._on_system(
                node, timeout_s, lambda exchange, path: set_power(exchange, path, effect.kind)
            )
        elif effect.kind is EffectKind.SET_BOOT_DEVICE and effect.argument in list(BootDevice):
            if effect.argument == BootDevice.PXE and _boots_by_disc(node):
                raise PermanentError(NO_DISC)
            target = TARGETS[BootDevice(effect.argument)]
            self._override(node, target, timeout_s, once=effect.once)
        else:
            raise PermanentError(
                f"Redfish cannot do {effect.kind.value} {effect.argument}".rstrip()
            )

    def media(self, node: Node, timeout_s: float) -> Media | None:
        """What is in the virtual CD drive; `None` where it has none.

        Raises:
            TemporaryError, CredentialsError, PermanentError: there is no answer.
        """
        return self._on_system(node, timeout_s, media_of)

    def insert_media(
        self, node: Node, url: str, timeout_s: float, replaced: Callable[[str], None]
    ) -> None:
        """Have the BMC put the image at `url` into its virtual CD drive, in place of what is there,
        which `replaced` is told. Nothing is done where it is in it already.

        Raises:
            PermanentError: it has no such drive.
            TemporaryError, CredentialsError, PermanentError: the BMC did not acknowledge it, or
                does not show it.
        """
        self._on_system(
            node, timeout_s, lambda exchange, path: insert(exchange, path, url, replaced)
        )

    def eject_media(self, node: Node, timeout_s: float, ours: Callable[[str], bool]) -> bool:
        """Have the BMC empty its virtual CD drive of an image that is `ours`; whether one was in
        it.

        Raises:
            TemporaryError, CredentialsError, PermanentError: the BMC did not acknowledge it, or
                does not let go of it.
        """
        return self._on_system(node, timeout_s, lambda exchange, path: eject(exchange, path, ours))

    def boot_from_media(self, node: Node, timeout_s: float) -> None:
        """Have the next boot, and only that, be from the virtual CD drive.

        Raises:
            TemporaryError, CredentialsError, PermanentError: the BMC did not acknowledge it.
        """

        def choose(exchange: Exchange, path: str) -> None:
            target = cd_of(exchange.get(path).json())
            override = Override(target, "Once", MODES[node.spec.boot_mode])
            set_boot_override(exchange, path, override)

        self._on_system(node, timeout_s, choose)

    def alerts(self) -> tuple[str, ...]:
        """What an operator should know: credentials that BMCs refuse, by reference."""
        return self._refusals.alerts()

    def rearm(self) -> None:
        """Try refused credentials again, once at each BMC: an operator has mended something."""
        self._refusals.rearm()

    def close(self) -> None:
        """Log out of every session, within `CLOSE_TIMEOUT_S`; those left end by their own age.

        Later calls raise TemporaryError.
        """
        with self._lock:
            self._closed = True
            services, self._services = list(self._services.values()), OrderedDict()
        if not services:
            return
        deadline = time.monotonic() + CLOSE_TIMEOUT_S
        executor = ThreadPoolExecutor(min(len(services), CLOSERS_MAX), "redfish-close")
        for service in services:
            executor.submit(_end, service, deadline)
        executor.shutdown(wait=True)

    def _override(self, node: Node, target: str, timeout_s: float, *, once: bool) -> None:
        enabled = "Once" if once else self._boot_override
        override = Override(target, enabled, MODES[node.spec.boot_mode])
        self._on_system(
            node, timeout_s, lambda exchange, path: set_boot_override(exchange, path, override)
        )

    def _on_system(self, node: Node, timeout_s: float, act: Act[T]) -> T:
        """What `act` returns; whatever it raises is one of our errors, without credentials."""
        bmc, began = _bmc_of(node), time.monotonic()
        name = f"BMC {bmc.address}:{port_of('redfish', bmc)}"
        failed: Exception | None = None
        credentials: Credentials | None = None
        try:
            _load_sushy()
            reference, credentials = self._credentials(node, bmc)
            left_s = timeout_s - (time.monotonic() - began)
            if left_s <= 0:
                raise NotBegunError("looking up the credentials took all of the time")
            return self._service(node).call(
                Login(name, reference, credentials),
                left_s,
                lambda exchange, service: act(exchange, service.system(exchange, bmc.system)),
            )
        except Exception as error:  # noqa: BLE001 - sushy reads answers without looking
            failed = error
        raise translated(failed, name, credentials)  # outside: it must not carry `failed` along

    def _service(self, node: Node) -> Service:
        bmc = _bmc_of(node)
        port = port_of("redfish", bmc) or 0
        key = _Key(bmc.address, port, bmc.protocol, bmc.verify_ca)
        with self._lock:
            if self._closed:
                raise TemporaryError("the driver is closed")
            service = self._services.get(key)
            if service is None:
                https = bmc.protocol is BmcProtocol.HTTPS
                context = self._trusting[bmc.verify_ca] if https else None
                service = self._services[key] = Service(
                    Endpoint(bmc.address, port, context), self._refusals
                )
            self._services.move_to_end(key)
            while len(self._services) > SERVICES_MAX:
                self._services.popitem(last=False)
            return service

    def _credentials(self, node: Node, bmc: Bmc) -> tuple[str, Credentials]:
        if bmc.credentials is None:
            raise PermanentError(f"node {node.metadata.name} names no credentials for its bmc")
        return bmc.credentials, look_up(self._secrets, bmc.credentials)


def _bmc_of(node: Node) -> Bmc:
    if node.spec.bmc is None:
        raise PermanentError(f"node {node.metadata.name} has no bmc")
    return node.spec.bmc


def _boots_by_disc(node: Node) -> bool:
    return node.spec.boot_interface is BootInterface.VIRTUAL_MEDIA


def _end(service: Service, deadline: float) -> None:
    left_s = deadline - time.monotonic()
    if left_s > 0:
        service.end(left_s)


def _load_sushy() -> Any:
    """sushy, which is only loaded where there is a machine for it.

    It writes warnings of what it raises as well into a log; here they are errors of a node.

    Raises:
        PermanentError: it is not installed.
    """
    try:
        import sushy
    except ImportError:
        raise PermanentError(MISSING) from None
    logging.getLogger("sushy").setLevel(logging.CRITICAL)
    return sushy
