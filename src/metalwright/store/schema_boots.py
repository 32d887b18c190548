"""The tables of the boot service: what was served, what was reported, the evidence of wipes."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, String, Table, Text

from metalwright.store.schema import NAME_LENGTH_MAX, Instant, metadata

boots = Table(
    "boots",
    metadata,
    Column("token_sha256", String(64), primary_key=True),
    Column("node", String(NAME_LENGTH_MAX), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("operation_id", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("template_digest", String(64), nullable=False),
    Column("claimed", Text, nullable=False),
    Column("issued_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("used_at", Instant),
    Column("boot_id", String(64), nullable=False),
    Column("disks", Text, nullable=False),
    CheckConstraint("mode IN ('netboot', 'wipe', 'install', 'local disk')", name="mode"),
    Index(None, "node", "issued_at"),
)
"""The boots that were served; of a token only its digest."""

reports = Table(
    "reports",
    metadata,
    Column("node", String(NAME_LENGTH_MAX), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("token_sha256", String(64), nullable=False),
    Column("operation_id", String(64), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("phase", String(16)),
    Column("last_wipe", String(64), nullable=False),
    Column("body", Text, nullable=False),
)
"""The latest report of each node. `operation_id`, `attempt` and `phase` are how far the latest
attempt came that reported, and stay when a boot that nobody asked for reports after it.
"""

wipes = Table(
    "wipes",
    metadata,
    Column("operation_id", String(64), primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("disk", String(NAME_LENGTH_MAX), primary_key=True),
    Column("node", String(NAME_LENGTH_MAX), nullable=False),
    Column("at", Instant, nullable=False),
    Column("verified", Integer, nullable=False),
    Column("body", Text, nullable=False),
    CheckConstraint("verified IN (0, 1)", name="verified"),
    Index(None, "node", "at"),
)
"""The evidence of wipes; a row is never changed."""
