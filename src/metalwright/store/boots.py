"""What the boot service keeps: tokens (their digests), the latest report of each node, evidence.

Only the process that drives writes here, under the same lock as the steps of its engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, and_, delete, insert, select, update

from metalwright.model.boot import Served
from metalwright.model.boots import Heard, IssuedBoot, Noted, WipeEvidence, furthest
from metalwright.model.frozen import FrozenDict
from metalwright.model.report import DiskFact, Phase, Report
from metalwright.store.codec import (
    disks_from_text,
    disks_to_text,
    report_from_text,
    report_to_text,
    storable,
    wipe_from_text,
    wipe_to_text,
)
from metalwright.store.ledger import Ledger
from metalwright.store.operators import Operators
from metalwright.store.schema_boots import boots, reports, wipes

BOOTS_KEPT_MAX: Final = 8
"""Boots of one node that are kept; the journal has the rest."""

NOBODY: Final = "-"
"""What stands in the journal for a node that is not known."""


class Boots(Operators):
    """The part of a store for the boot service. Every method raises `StoreError` when the database
    fails, and `FencedError` where another process drives.
    """

    def issue_boot(self, boot: IssuedBoot, detail: str) -> None:
        """Keep a new boot; the earlier ones of its node end with it.

        A boot that does not wipe may write to the disks: what was known of their wipe is over.
        """
        with self._writing() as ledger:
            ledger.must_drive()
            mine = boots.c.node == boot.node
            at = boot.issued_at
            ledger.run(update(boots).where(mine, boots.c.ended_at.is_(None)).values(ended_at=at))
            newest = select(boots.c.token_sha256).where(mine).order_by(boots.c.issued_at.desc())
            kept = [row[0] for row in ledger.run(newest.limit(BOOTS_KEPT_MAX - 1))]
            ledger.run(delete(boots).where(mine, boots.c.token_sha256.not_in(kept)))
            ledger.run(insert(boots).values(_boot_row(boot)))
            if boot.mode is not Served.WIPE:
                ledger.run(update(reports).where(reports.c.node == boot.node).values(last_wipe=""))
            ledger.line(at, boot.node, "served", boot.operation_id or None, detail)

    def boot(self, token_sha256: str) -> IssuedBoot | None:
        """The boot of a token, ended or not."""
        with self._reading() as connection:
            row = connection.execute(
                select(boots).where(boots.c.token_sha256 == token_sha256)
            ).one_or_none()
        return None if row is None else _boot(row)

    def latest_boot(self, node: str) -> IssuedBoot | None:
        """The boot of a node that has not ended."""
        with self._reading() as connection:
            row = connection.execute(
                select(boots).where(boots.c.node == node, boots.c.ended_at.is_(None))
            ).first()
        return None if row is None else _boot(row)

    def use_boot(self, token_sha256: str, at: datetime) -> None:
        """Note that a token was used."""
        with self._writing() as ledger:
            ledger.must_drive()
            this = boots.c.token_sha256 == token_sha256
            ledger.run(update(boots).where(this).values(used_at=at))

    def end_boots(self, node: str, at: datetime) -> None:
        """End the boots of a node: its machine was switched off, or is about to start anew."""
        with self._writing() as ledger:
            ledger.must_drive()
            open_ = and_(boots.c.node == node, boots.c.ended_at.is_(None))
            ledger.run(update(boots).where(open_).values(ended_at=at))

    def report(
        self,
        report: Report,
        token_sha256: str,
        detail: str | None = None,
        disks: tuple[DiskFact, ...] | None = None,
        *,
        wiped: bool = False,
    ) -> None:
        """Keep a report as its node's latest, with the evidence that it carries.

        `disks` are those that the machine is now told to wipe or install; with `wiped`, all of them
        have evidence. `detail` goes to the journal; `None` writes no line.
        """
        with self._writing() as ledger:
            ledger.must_drive()
            this = boots.c.token_sha256 == token_sha256
            values: dict[str, Any] = {"used_at": report.at, "boot_id": report.boot_id}
            if disks is not None:
                values["disks"] = disks_to_text(disks)
            ledger.run(update(boots).where(this).values(values))
            _put_report(ledger, report, token_sha256, wiped=wiped)
            _keep_wipes(ledger, report)
            if detail is not None:
                ledger.line(report.at, report.node, "reported", report.operation_id or None, detail)

    def said(self, node: str, operation_id: str, attempt: int) -> Phase | None:
        """The furthest that a machine reported in this attempt of this operation."""
        with self._reading() as connection:
            phase = connection.execute(
                select(reports.c.phase).where(
                    reports.c.node == node,
                    reports.c.operation_id == operation_id,
                    reports.c.attempt == attempt,
                )
            ).scalar_one_or_none()
        return None if phase is None else Phase(phase)

    def heard(self, nodes: Iterable[str] | None = None) -> Mapping[str, Heard]:
        """The latest report of each node (of those given), and whether its boot goes on."""
        query = select(reports, boots.c.ended_at, boots.c.issued_at).outerjoin(
            boots, boots.c.token_sha256 == reports.c.token_sha256
        )
        if nodes is not None:
            query = query.where(reports.c.node.in_(sorted(nodes)))
        with self._reading() as connection:
            rows = connection.execute(query.order_by(reports.c.node)).all()
        return FrozenDict(
            {
                row.node: Heard(
                    report=report_from_text(row.body),
                    last_wipe=row.last_wipe,
                    live=row.issued_at is not None and row.ended_at is None,
                )
                for row in rows
            }
        )

    def wipes(self, node: str, count_max: int) -> tuple[WipeEvidence, ...]:
        """The latest evidence of the wipes of a node's disks, the newest first."""
        newest = wipes.c.at.desc(), wipes.c.operation_id, wipes.c.attempt.desc(), wipes.c.disk
        with self._reading() as connection:
            rows = connection.execute(
                select(wipes).where(wipes.c.node == node).order_by(*newest).limit(count_max)
            ).all()
        return tuple(
            WipeEvidence(
                node=row.node,
                operation_id=row.operation_id,
                attempt=row.attempt,
                at=row.at,
                wipe=wipe_from_text(row.body),
            )
            for row in rows
        )

    def note(self, lines: Sequence[Noted], at: datetime) -> None:
        """Write lines of the boot service to the journal, in one transaction."""
        if not lines:
            return
        with self._writing() as ledger:
            ledger.must_drive()
            for line in lines:
                node, operation_id = line.node or NOBODY, line.operation_id or None
                ledger.line(at, node, line.event, operation_id, line.detail)


def _boot_row(boot: IssuedBoot) -> dict[str, Any]:
    return {
        "token_sha256": boot.token_sha256,
        "node": boot.node,
        "mode": boot.mode.value,
        "operation_id": boot.operation_id,
        "attempt": boot.attempt,
        "template_digest": boot.template_digest,
        "claimed": storable(boot.claimed),
        "issued_at": boot.issued_at,
        "ended_at": boot.ended_at,
        "used_at": boot.used_at,
        "boot_id": boot.boot_id,
        "disks": disks_to_text(boot.disks),
    }


def _boot(row: Row[Any]) -> IssuedBoot:
    return IssuedBoot(
        token_sha256=row.token_sha256,
        node=row.node,
        mode=Served(row.mode),
        operation_id=row.operation_id,
        attempt=row.attempt,
        template_digest=row.template_digest,
        claimed=row.claimed,
        issued_at=row.issued_at,
        ended_at=row.ended_at,
        used_at=row.used_at,
        boot_id=row.boot_id,
        disks=disks_from_text(row.disks),
    )


def _put_report(ledger: Ledger, report: Report, token_sha256: str, *, wiped: bool) -> None:
    this = reports.c.node == report.node
    old = ledger.run(select(reports).where(this)).one_or_none()
    values: dict[str, Any] = {
        "at": report.at,
        "token_sha256": token_sha256,
        "body": report_to_text(report),
    }
    if report.operation_id:
        same = old is not None and (old.operation_id, old.attempt) == (
            report.operation_id,
            report.attempt,
        )
        before = Phase(old.phase) if old is not None and same and old.phase else None
        values |= {
            "operation_id": report.operation_id,
            "attempt": report.attempt,
            "phase": furthest(before, report.phase).value,
        }
    if wiped:
        values["last_wipe"] = report.operation_id
    if old is not None:
        ledger.run(update(reports).where(this).values(values))
        return
    first = {"operation_id": "", "attempt": 0, "phase": None, "last_wipe": ""}
    ledger.run(insert(reports).values(first | values | {"node": report.node}))


def _keep_wipes(ledger: Ledger, report: Report) -> None:
    """Insert the evidence that is not there yet: what was said first stays."""
    if not report.wipes or not report.operation_id:
        return
    key = (wipes.c.operation_id == report.operation_id, wipes.c.attempt == report.attempt)
    there = set(ledger.run(select(wipes.c.disk).where(*key)).scalars())
    for wipe in report.wipes:
        if wipe.name in there:
            continue
        there.add(wipe.name)
        row = {
            "operation_id": report.operation_id,
            "attempt": report.attempt,
            "disk": storable(wipe.name),
            "node": report.node,
            "at": report.at,
            "verified": int(wipe.verified),
            "body": wipe_to_text(wipe),
        }
        ledger.run(insert(wipes).values(row))
