"""The Ironic driver: OpenStack's bare metal service as the engine that speaks to the hardware.

What Ironic owns is left to it: BMCs, boot devices, virtual media, cleaning, images on disks. One
list of all its nodes serves every observation for a short while, and a reading says how old it is.
Orders are single requests that are never repeated here; `ironic_steps` decides which, from the node
as it is now. This driver never waits for anything to come about, and never ends a maintenance.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from metalwright.drivers.contract import Clock, SecretSource
from metalwright.drivers.ironic_api import IronicApi, Place
from metalwright.drivers.ironic_boots import AsWritten, Boots
from metalwright.drivers.ironic_deploy import Interfaces
from metalwright.drivers.ironic_history import QUESTION, Proof, proof_of
from metalwright.drivers.ironic_listing import Listing
from metalwright.drivers.ironic_record import (
    ACTIVE,
    FIELDS,
    Mark,
    Record,
    reading_of,
    record_of,
    unreported,
)
from metalwright.drivers.ironic_steps import (
    Step,
    boot_step,
    deploys,
    is_ready,
    power_step,
    refuse,
    wipe_step,
)
from metalwright.errors import (
    CredentialsError,
    DriverError,
    NotBegunError,
    PermanentError,
    SettingsError,
    TemporaryError,
)
from metalwright.model.documents import Node
from metalwright.model.observed import BootDevice, Reading
from metalwright.model.operation import Effect, EffectKind, Operation, Stage

NAMED_MAX: Final = 5
"""Nodes that an alert names."""

UNCHECKED_KEPT: Final = timedelta(minutes=15)
"""For so long after its last observation a node stays in an alert: it may have left git."""

_POWER: Final = frozenset({EffectKind.POWER_ON, EffectKind.POWER_OFF, EffectKind.SOFT_POWER_OFF})


class IronicDriver:
    """Observes and changes machines through Ironic; safe to call from many threads.

    Every call ends within its `timeout_s`. After a `NotBegunError` nothing was begun; after another
    `TemporaryError` an order may have been taken or not, and the node's state tells. A refused
    login is presented once.
    """

    capabilities = frozenset(EffectKind)

    def __init__(
        self,
        place: Place,
        secrets: SecretSource,
        clock: Clock,
        *,
        interfaces: Interfaces | None = None,
        list_max_age_s: float = 2.0,
    ) -> None:
        """Nothing is asked yet. Raises SettingsError for a place that is none."""
        self._api = IronicApi(place, secrets)
        self._clock = clock
        self._interfaces = interfaces or Interfaces()
        self._listing = Listing(self._api, clock, list_max_age_s)
        self._boots: Boots = AsWritten()
        self._lock = threading.Lock()
        self._told: dict[str, threading.Lock] = {}
        self._touched: dict[str, datetime] = {}
        self._unchecked: dict[str, datetime] = {}

    def boot_by(self, boots: Boots) -> None:
        """From now on templates are handed over by `boots`; before the first call of a node."""
        self._boots = boots

    def observe(self, node: Node, timeout_s: float) -> Reading:
        """What Ironic knows of the node, from its list, or from the node alone where that was told
        something since the list began.

        Raises:
            TemporaryError, CredentialsError, PermanentError: there is no reading.
        """
        until = time.monotonic() + timeout_s
        found = self._listing.look(self._ident(node), until)
        touched = self._touched.get(node.metadata.name)
        if touched is None or found.asked_at > touched:
            record, asked_at = self._proven(found.record, until), found.asked_at
        else:
            asked_at = self._clock()
            record = self._record(found.record.uuid, until)
        reading = reading_of(record, found.macs, asked_at)
        if record.unchecked:
            self._unchecked[node.metadata.name] = self._clock()
        else:
            self._unchecked.pop(node.metadata.name, None)
        said = self._awaited(node, record)
        return reading if said is None else unreported(reading, record, said)

    def apply(self, node: Node, effect: Effect, timeout_s: float) -> None:
        """Have Ironic switch the power, choose a boot device or wipe.

        Raises:
            PermanentError: a boot device or level that it does not know, or it refused.
            TemporaryError, CredentialsError: it did not acknowledge it.
        """
        until = time.monotonic() + timeout_s
        if effect.kind is EffectKind.SET_BOOT_DEVICE and effect.argument not in list(BootDevice):
            raise PermanentError(f"Ironic cannot boot from {effect.argument!r} for us")
        with self._alone(node, until):
            record = self._now(node, until)
            if effect.kind is EffectKind.SET_BOOT_DEVICE:
                refuse(record)
                body = {"boot_device": effect.argument, "persistent": True}
                step = Step(path="management/boot_device", body=body)
            elif effect.kind in _POWER:
                step = power_step(record, effect.kind)
            else:
                step = wipe_step(record, effect)
            self._order(record, step, until)

    def carry_out(self, node: Node, operation: Operation, timeout_s: float) -> None:
        """Have Ironic begin, or go on with, the intent of an operation.

        Raises: as `apply`.
        """
        intent = operation.intent
        assert intent is not None
        if intent.kind is EffectKind.SET_BOOT_DEVICE:
            return  # Ironic chooses it by itself for what it deploys
        until = time.monotonic() + timeout_s
        with self._alone(node, until):
            record = self._now(node, until)
            if intent.kind is EffectKind.WIPE:
                step = wipe_step(record, intent)
            elif operation.stage is Stage.BOOT:
                step = self._boot_step(node, record, operation, until)
            else:
                step = power_step(record, intent.kind, self._soft_timeout_s(operation))
            self._order(record, step, until)

    def alerts(self) -> tuple[str, ...]:
        """A refused login, and which machines run a kernel and a ramdisk that nobody checked."""
        refusal, now = self._api.refusal, self._clock()
        told = (refusal,) if refusal else ()
        for name, seen_at in self._unchecked.copy().items():
            if now - seen_at > UNCHECKED_KEPT:
                self._unchecked.pop(name, None)
        names = sorted(self._unchecked.copy())
        if not names:
            return told
        more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
        words = (
            "Ironic fetched kernel and ramdisk itself, and does not check their digests, for"
            f" {', '.join(names[:NAMED_MAX])}{more}: switch the boot service on (boot.listen)"
        )
        return (*told, words)

    def rearm(self) -> None:
        """What was wrong was mended: a login that was refused may be presented once more."""
        self._api.rearm()

    def close(self) -> None:
        """Send nothing any more; calls after it raise TemporaryError. Twice is once."""
        self._api.close()

    def _boot_step(self, node: Node, record: Record, operation: Operation, until: float) -> Step:
        """The next order; its template has become text before Ironic is told anything of it."""
        template = operation.target.template
        served = template is not None and self._boots.serves(template)
        handover = None
        if deploys(record, operation, served=served):
            left_s, issue = max(0.0, until - time.monotonic()), is_ready(record)
            handover = self._boots.hand_over(node, operation, left_s, issue=issue)
        return boot_step(record, operation, node, self._interfaces, handover)

    def _awaited(self, node: Node, record: Record) -> str | None:
        """What the system that Ironic has deployed is still to say, `None` where it is nothing."""
        deployed = record.deployed
        if record.state != ACTIVE or not deployed.reports or deployed.attempt is None:
            return None
        return self._boots.awaited(node.metadata.name, deployed.operation, deployed.attempt)

    @contextmanager
    def _alone(self, node: Node, until: float) -> Iterator[None]:
        """One change of a node at a time; whoever observes it from now on asks for it alone."""
        name = node.metadata.name
        with self._lock:
            told = self._told.setdefault(name, threading.Lock())
        if not told.acquire(timeout=max(0.0, until - time.monotonic())):
            raise NotBegunError(f"Ironic is still being told something else about {name}")
        try:
            yield
        finally:
            self._touched[name] = self._clock()
            told.release()

    def _now(self, node: Node, until: float) -> Record:
        """The node as it is now; where even that cannot be told, nothing was begun."""
        try:
            return self._record(self._ident(node), until)
        except (NotBegunError, CredentialsError):
            raise
        except TemporaryError as error:
            raise NotBegunError(str(error)) from error.__cause__

    def _record(self, ident: str, until: float) -> Record:
        found = self._api.get(f"/nodes/{ident}", until, {"fields": ",".join(FIELDS)})
        return self._proven(record_of(found), until)

    def _proven(self, record: Record, until: float) -> Record:
        """The record with its wipe only where Ironic's history of the node proves that."""
        if record.wiped is None:
            return record
        history = self._api.get(f"/nodes/{record.uuid}/history", until, QUESTION)
        proof = proof_of(history, record.wipe.wished, record.wipe.step)
        if proof is Proof.WIPED:
            return record
        asked = record.mark == Mark(operation=record.wipe.operation, wished="wipe")
        return replace(record, wipe=Mark(), unproven=asked and proof is Proof.NONE)

    def _order(self, record: Record, step: Step, until: float) -> None:
        """Patch, then order. A patch by itself changes nothing about the machine."""
        if step.patch:
            try:
                self._api.send("PATCH", f"/nodes/{record.uuid}", list(step.patch), until)
            except (NotBegunError, CredentialsError):
                raise
            except TemporaryError as error:
                raise NotBegunError(str(error)) from error.__cause__
        if step.path:
            try:
                self._api.send("PUT", f"/nodes/{record.uuid}/{step.path}", step.body, until)
            except (NotBegunError, PermanentError):
                if step.undo:
                    with suppress(DriverError):  # the history tells as well
                        self._api.send("PATCH", f"/nodes/{record.uuid}", list(step.undo), until)
                raise
        if step.makes_room:
            raise NotBegunError(f"Ironic first ends what it was at: {record.state}")

    def _soft_timeout_s(self, operation: Operation) -> int | None:
        """Ironic locks the node for as long as it waits for a soft power-off: no longer than we."""
        if operation.stage_deadline_at is None:
            return None
        return max(1, int((operation.stage_deadline_at - self._clock()).total_seconds()))

    @staticmethod
    def _ident(node: Node) -> str:
        return node.spec.ironic_node or node.metadata.name


def open_ironic(settings: Mapping[str, Any], secrets: SecretSource, clock: Clock) -> IronicDriver:
    """The driver of `[drivers.ironic]`. Raises SettingsError for a table that is none."""
    clouds_file = settings.get("clouds_file")
    place = Place(
        endpoint=settings.get("endpoint") or "",
        cloud=settings.get("cloud") or "",
        clouds_file=Path(clouds_file) if clouds_file is not None else None,
        credentials=settings.get("credentials") or "",
    )
    interfaces = Interfaces(
        netboot=settings.get("netboot_interface", Interfaces().netboot),
        disk=settings.get("disk_interface", Interfaces().disk),
    )
    age_s = settings.get("list_max_age_s", 2.0)
    if not 0 <= age_s <= 60:
        raise SettingsError(f"drivers.ironic.list_max_age_s should be from 0 to 60, not {age_s}")
    return IronicDriver(place, secrets, clock, interfaces=interfaces, list_max_age_s=age_s)
