"""All of Ironic's nodes by one question, shared by every node that is observed for a short while.

One page of a thousand nodes costs Ironic as much as a dozen single ones. Whoever asks while a list
is on its way waits for that one. Each list says when its asking began: no reading made from it can
pass for one that is newer. It decides nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from metalwright.drivers.contract import Clock
from metalwright.drivers.ironic_record import FIELDS, Record, record_of
from metalwright.errors import (
    CredentialsError,
    DriverError,
    NotBegunError,
    PermanentError,
    TemporaryError,
)
from metalwright.model.frozen import FrozenDict

PAGE_NODES_MAX: Final = 1_000
"""Ironic gives no more in one answer (`[api] max_limit`)."""

PAGES_MAX: Final = 100
SHARE_MAX: Final = 0.2
"""A list is kept for as long as keeps Ironic busy with lists for this share of the time at most."""

PORTS_MAX_AGE_S: Final = 60.0
FAILURE_KEPT_S: Final = 1.0
"""For so long a list that failed is the answer to everybody: a dead Ironic is asked by one."""


class Api(Protocol):
    """What is asked of Ironic."""

    def get(self, path: str, until: float, params: Mapping[str, str] | None = None) -> Any:
        """The JSON at a path. Raises DriverError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One node of a list: when that was asked for, and the MACs of the node's ports."""

    record: Record
    macs: tuple[str, ...]
    asked_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class _List:
    asked_at: datetime
    good_until: float
    nodes: Mapping[str, Mapping[str, Any]] = FrozenDict()
    error: DriverError | None = None


class Listing:
    """The newest list. Safe to use from many threads; one of them asks, the others wait. With a
    `max_age_s` of 0 a list serves only those who waited for it.
    """

    def __init__(self, api: Api, clock: Clock, max_age_s: float) -> None:
        self._api, self._clock, self._max_age_s = api, clock, max_age_s
        self._changed = threading.Condition()
        self._asking = False
        self._list: _List | None = None
        self._macs: Mapping[str, tuple[str, ...]] = FrozenDict()
        self._macs_until = 0.0

    def look(self, ident: str, until: float) -> Found:
        """The node of this UUID or name, before `until` (`time.monotonic`).

        Raises:
            TemporaryError, CredentialsError: there is no list.
            PermanentError: no such node, or an answer that is none.
        """
        listed = self._newest(until)
        if listed.error is not None:
            raise type(listed.error)(str(listed.error)) from listed.error.__cause__
        node = listed.nodes.get(ident)
        if node is None:
            raise PermanentError(f"Ironic has no node {ident}")
        record = record_of(node)
        macs = self._macs.get(record.uuid, ())
        return Found(record=record, macs=macs, asked_at=listed.asked_at)

    def _newest(self, until: float) -> _List:
        with self._changed:
            began = time.monotonic()
            while True:
                kept = self._list
                if kept is not None and began < kept.good_until:
                    return kept
                if not self._asking:
                    self._asking = True
                    break
                if not self._changed.wait(max(0.0, until - time.monotonic())):
                    raise NotBegunError("Ironic's list of nodes did not come in time") from (
                        TimeoutError()
                    )
        listed: _List | None = None
        try:
            listed = self._ask(until)
        finally:
            with self._changed:
                self._asking = False
                self._list = listed
                self._changed.notify_all()
        return listed

    def _ask(self, until: float) -> _List:
        asked_at, began = self._clock(), time.monotonic()
        try:
            if began >= self._macs_until:
                self._macs, self._macs_until = self._ports(until), began + PORTS_MAX_AGE_S
                asked_at, began = self._clock(), time.monotonic()
            nodes = self._nodes(until)
        except (TemporaryError, PermanentError) as error:
            kept_s = min(FAILURE_KEPT_S, self._max_age_s)
            # A refused login is not presented again by the API itself, until it is another one.
            good_until = time.monotonic() + (0 if isinstance(error, CredentialsError) else kept_s)
            return _List(asked_at=asked_at, good_until=good_until, error=error)
        took_s = time.monotonic() - began
        age_s = max(self._max_age_s, took_s / SHARE_MAX) if self._max_age_s else 0.0
        return _List(asked_at=asked_at, good_until=began + age_s, nodes=nodes)

    def _nodes(self, until: float) -> Mapping[str, Mapping[str, Any]]:
        found: dict[str, Mapping[str, Any]] = {}
        for node in self._pages("nodes", {"fields": ",".join(FIELDS)}, until):
            for key in (node.get("name"), node.get("uuid")):
                if isinstance(key, str):
                    found[key] = node
        return found

    def _ports(self, until: float) -> Mapping[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for port in self._pages("ports", {"fields": "uuid,address,node_uuid"}, until):
            node, address = port.get("node_uuid"), port.get("address")
            if isinstance(node, str) and isinstance(address, str):
                found[node] = (*found.get(node, ()), address.lower())
        return found

    def _pages(self, kind: str, params: Mapping[str, str], until: float) -> list[dict[str, Any]]:
        """Every entry. A page is asked for by the last entry of the one before."""
        found: list[dict[str, Any]] = []
        marker: dict[str, str] = {}
        for _ in range(PAGES_MAX):
            asked = {**params, "limit": str(PAGE_NODES_MAX), **marker}
            answer = self._api.get(f"/{kind}", until, asked)
            page = answer.get(kind) if isinstance(answer, dict) else None
            if not isinstance(page, list) or not all(isinstance(each, dict) for each in page):
                raise PermanentError(f"Ironic's list of {kind} makes no sense")
            found += page
            if not answer.get("next") or not page:
                return found
            marker = {"marker": str(page[-1].get("uuid"))}
        raise PermanentError(f"Ironic has more {kind} than {PAGES_MAX * PAGE_NODES_MAX}")
