"""The tables of the store, and the rules that the database itself holds to.

The rules that matter are constraints, not code: one unfinished operation for a node (`busy_node` is
unique), one holder for a slot (`scope`, `slot_no`), one slot in a scope for an operation. Values of
the model are JSON text; what is searched, ordered or constrained has a column of its own. Nothing
here is particular to one database.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    column,
    table,
)

SCHEMA_REVISION: Final = "0005"
"""The newest migration: what a store of this program looks like."""

NAME_LENGTH_MAX: Final = 253
SCOPE_LENGTH_MAX: Final = 600
"""`label/KEY=VALUE` with the longest key and value that git may hold."""


class Instant(TypeDecorator[datetime]):
    """An instant as text in UTC of fixed width, so that text order is time order everywhere.

    SQLite has no type for instants and SQLAlchemy's own forgets the zone there.
    """

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect | None) -> str | None:
        """An aware instant to text. Raises ValueError for one without a zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"an instant without a zone is not stored: {value}")
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"

    def process_result_value(self, value: Any, _dialect: Dialect) -> datetime | None:
        """Text to an aware instant in UTC."""
        return None if value is None else datetime.fromisoformat(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

meta = Table(
    "meta",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("generation", Integer, nullable=False),
    Column("journal_seq", Integer, nullable=False),
    Column("forgotten_generation", Integer, nullable=False),
    Column("applied_revision", String(64)),
    Column("epoch", Integer, nullable=False, server_default="0"),
    Column("claimed_by", Text),
    Column("claimed_at", Instant),
    Column("rollouts_generation", Integer, nullable=False, server_default="0"),
    Column("consents_generation", Integer, nullable=False, server_default="0"),
    Column("starts_generation", Integer, nullable=False, server_default="0"),
    Column("times_generation", Integer, nullable=False, server_default="0"),
    Column("store_id", String(32), nullable=False, server_default=""),
    Column("restored", Integer, nullable=False, server_default="0"),
    Column("driven", Integer, nullable=False, server_default="0"),
    CheckConstraint("id = 1", name="one_row"),
    CheckConstraint("generation >= 0 AND journal_seq >= 0", name="counters"),
    CheckConstraint("epoch >= 0", name="epoch"),
    CheckConstraint(
        "(epoch = 0) = (claimed_at IS NULL) AND (claimed_by IS NULL) = (claimed_at IS NULL)",
        name="claimed",
    ),
    CheckConstraint("restored >= 0", name="restored"),
    CheckConstraint("driven >= 0", name="driven"),
)
"""One row. `generation` grows with every change of the memory: caches compare it, and taking its
row lock is what makes writers queue up on a database that lets several in. The other generations
are those of the last change to one part of the memory. `epoch` grows with every claim to drive.
`store_id` names this store, copies of it too; `restored` grows each time that it was found to be a
copy from before, `driven` with every change that is written by whoever drives."""

schema_version = table("alembic_version", column("version_num"))
"""Alembic's own table, which migrations make: it says what the tables look like."""

targets = Table(
    "targets",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("body", Text, nullable=False),
)
"""Each distinct target once: user data is long, and a thousand nodes share it."""

operations = Table(
    "operations",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("node", String(NAME_LENGTH_MAX), nullable=False),
    Column("busy_node", String(NAME_LENGTH_MAX)),
    Column("state", String(16), nullable=False),
    Column("fence", Integer, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("target_id", String(64), ForeignKey("targets.id"), nullable=False),
    Column("body", Text, nullable=False),
    Column("cancelled_by", Text),
    UniqueConstraint("busy_node"),
    CheckConstraint(
        "state IN ('pending', 'running', 'active', 'failed', 'cancelled', 'superseded')",
        name="state",
    ),
    CheckConstraint("fence >= 0", name="fence"),
    CheckConstraint(
        "(state IN ('pending', 'running')) = (busy_node IS NOT NULL)", name="busy_unfinished"
    ),
    CheckConstraint("busy_node IS NULL OR busy_node = node", name="busy_same"),
    CheckConstraint("cancelled_by <> ''", name="cancelled_by"),
    Index(None, "node", "created_at"),
    Index(None, "created_at"),
)

nodes = Table(
    "nodes",
    metadata,
    Column("node", String(NAME_LENGTH_MAX), primary_key=True),
    Column("adopted_at", Instant, nullable=False),
    Column("adopted_by", Text, nullable=False),
    Column("applied", Text),
    Column("target_id", String(64), ForeignKey("targets.id")),
    Column("in_doubt", Integer, nullable=False),
    Column("failed_id", String(64), ForeignKey("operations.id")),
    Column("generation", Integer, nullable=False),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("hold_reason", Text),
    Column("hold_by", Text),
    Column("hold_at", Instant),
    Column("quarantine_reason", Text),
    Column("quarantine_at", Instant),
    Column("wiped", Integer, nullable=False, server_default="0"),
    Column("tenant", Text),
    CheckConstraint("(applied IS NULL) = (target_id IS NULL)", name="applied_target"),
    CheckConstraint("in_doubt IN (0, 1)", name="in_doubt"),
    CheckConstraint("failures >= 0", name="failures"),
    CheckConstraint("wiped IN (0, 1)", name="wiped"),
    CheckConstraint(
        "(hold_reason IS NULL) = (hold_at IS NULL) AND (hold_by IS NULL) = (hold_at IS NULL)",
        name="hold",
    ),
    CheckConstraint("(quarantine_reason IS NULL) = (quarantine_at IS NULL)", name="quarantine"),
    Index(None, "generation"),
)

slots = Table(
    "slots",
    metadata,
    Column("scope", String(SCOPE_LENGTH_MAX), primary_key=True),
    Column("slot_no", Integer, primary_key=True, autoincrement=False),
    Column("operation_id", String(64), ForeignKey("operations.id"), nullable=False),
    Column("granted_at", Instant, nullable=False),
    UniqueConstraint("operation_id", "scope"),
    CheckConstraint("slot_no >= 0", name="slot_no"),
)

journal = Table(
    "journal",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("node", String(NAME_LENGTH_MAX), nullable=False),
    Column("event", String(16), nullable=False),
    Column("operation_id", String(64)),
    Column("stage", String(16)),
    Column("effect", Text),
    Column("fence", Integer, nullable=False),
    Column("detail", Text, nullable=False),
    CheckConstraint("seq >= 1", name="seq"),
    Index(None, "node", "seq"),
)

observations = Table(
    "observations",
    metadata,
    Column("node", String(NAME_LENGTH_MAX), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("body", Text, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("key", String(NAME_LENGTH_MAX), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("body", Text, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("pool", String(NAME_LENGTH_MAX), nullable=False),
    Column("state", String(16), nullable=False),
    Column("wave", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("body", Text, nullable=False),
    CheckConstraint("state IN ('running', 'paused', 'done', 'superseded')", name="state"),
    CheckConstraint("wave >= 0", name="wave"),
)

consents = Table(
    "consents",
    metadata,
    Column("key", String(SCOPE_LENGTH_MAX), primary_key=True),
    Column("no", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    UniqueConstraint("no"),
    CheckConstraint("no >= 1", name="no"),
)
"""The disruptive changes that a commit acknowledged; a higher `no` is a later one."""

starts = Table(
    "starts",
    metadata,
    Column("bucket", String(SCOPE_LENGTH_MAX), primary_key=True),
    Column("at", Instant, nullable=False),
)
"""The instant of each start-rate bucket."""

stage_times = Table(
    "stage_times",
    metadata,
    Column("stage_key", String(SCOPE_LENGTH_MAX), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("samples", Text, nullable=False),
    Column("generation", Integer, nullable=False),
)
"""What stages took lately, in seconds, a JSON list from the oldest to the newest."""
