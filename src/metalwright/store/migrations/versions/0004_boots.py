"""Boots that were served, what the machines reported, and the evidence of wipes."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the three tables."""
    op.create_table(
        "boots",
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("template_digest", sa.String(64), nullable=False),
        sa.Column("claimed", sa.Text, nullable=False),
        sa.Column("issued_at", sa.String(27), nullable=False),
        sa.Column("ended_at", sa.String(27)),
        sa.Column("used_at", sa.String(27)),
        sa.Column("boot_id", sa.String(64), nullable=False),
        sa.Column("disks", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_boots")),
        sa.CheckConstraint(
            "mode IN ('netboot', 'wipe', 'install', 'local disk')", name=op.f("ck_boots_mode")
        ),
    )
    op.create_index(op.f("ix_boots_node_issued_at"), "boots", ["node", "issued_at"])
    op.create_table(
        "reports",
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("phase", sa.String(16)),
        sa.Column("last_wipe", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_reports")),
    )
    op.create_table(
        "wipes",
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("disk", sa.String(253), nullable=False),
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("verified", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("operation_id", "attempt", "disk", name=op.f("pk_wipes")),
        sa.CheckConstraint("verified IN (0, 1)", name=op.f("ck_wipes_verified")),
    )
    op.create_index(op.f("ix_wipes_node_at"), "wipes", ["node", "at"])
