"""Brakes and failures of nodes, rollouts, consents, start rates, learnt times, the driver's epoch.

The three tables that exist get columns, each with its rule in the same statement: that is the one
form that SQLite adds to a table in place, and a table that others refer to cannot be made anew
there within a transaction.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

COLUMNS = (
    ("meta", "epoch INTEGER DEFAULT 0 NOT NULL", "epoch", "epoch >= 0"),
    ("meta", "claimed_by TEXT", "", ""),
    (
        "meta",
        "claimed_at VARCHAR(27)",
        "claimed",
        "(epoch = 0) = (claimed_at IS NULL) AND (claimed_by IS NULL) = (claimed_at IS NULL)",
    ),
    ("meta", "rollouts_generation INTEGER DEFAULT 0 NOT NULL", "", ""),
    ("meta", "consents_generation INTEGER DEFAULT 0 NOT NULL", "", ""),
    ("meta", "starts_generation INTEGER DEFAULT 0 NOT NULL", "", ""),
    ("meta", "times_generation INTEGER DEFAULT 0 NOT NULL", "", ""),
    ("operations", "cancelled_by TEXT", "cancelled_by", "cancelled_by <> ''"),
    ("nodes", "failures INTEGER DEFAULT 0 NOT NULL", "failures", "failures >= 0"),
    ("nodes", "hold_reason TEXT", "", ""),
    ("nodes", "hold_by TEXT", "", ""),
    (
        "nodes",
        "hold_at VARCHAR(27)",
        "hold",
        "(hold_reason IS NULL) = (hold_at IS NULL) AND (hold_by IS NULL) = (hold_at IS NULL)",
    ),
    ("nodes", "quarantine_reason TEXT", "", ""),
    (
        "nodes",
        "quarantine_at VARCHAR(27)",
        "quarantine",
        "(quarantine_reason IS NULL) = (quarantine_at IS NULL)",
    ),
)


def upgrade() -> None:
    """Add the columns and tables; nodes whose last operation failed have failed once."""
    for table, column, name, rule in COLUMNS:
        check = f" CONSTRAINT ck_{table}_{name} CHECK ({rule})" if rule else ""
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column}{check}")
    op.execute("UPDATE nodes SET failures = 1 WHERE failed_id IS NOT NULL")
    _make_rollouts()
    op.create_table(
        "consents",
        sa.Column("key", sa.String(600), nullable=False),
        sa.Column("no", sa.Integer, nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_consents")),
        sa.UniqueConstraint("no", name=op.f("uq_consents_no")),
        sa.CheckConstraint("no >= 1", name=op.f("ck_consents_no")),
    )
    op.create_table(
        "starts",
        sa.Column("bucket", sa.String(600), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("bucket", name=op.f("pk_starts")),
    )
    op.create_table(
        "stage_times",
        sa.Column("stage_key", sa.String(600), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("samples", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("stage_key", name=op.f("pk_stage_times")),
    )


def _make_rollouts() -> None:
    op.create_table(
        "rollouts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("pool", sa.String(253), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("wave", sa.Integer, nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollouts")),
        sa.CheckConstraint(
            "state IN ('running', 'paused', 'done', 'superseded')", name=op.f("ck_rollouts_state")
        ),
        sa.CheckConstraint("wave >= 0", name=op.f("ck_rollouts_wave")),
    )
