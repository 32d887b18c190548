"""The first schema: nodes, operations, slots, journal, observations, facts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table. Constraints are named as `metalwright.store.schema` names them."""
    _make_meta_and_targets()
    _make_operations_and_nodes()
    _make_slots_and_journal()
    for table, key in (("observations", "node"), ("facts", "key")):
        op.create_table(
            table,
            sa.Column(key, sa.String(253), nullable=False),
            sa.Column("at", sa.String(27), nullable=False),
            sa.Column("body", sa.Text, nullable=False),
            sa.PrimaryKeyConstraint(key, name=op.f(f"pk_{table}")),
        )


def _make_meta_and_targets() -> None:
    meta = op.create_table(
        "meta",
        sa.Column("id", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("journal_seq", sa.Integer, nullable=False),
        sa.Column("forgotten_generation", sa.Integer, nullable=False),
        sa.Column("applied_revision", sa.String(64)),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meta")),
        sa.CheckConstraint("id = 1", name=op.f("ck_meta_one_row")),
        sa.CheckConstraint("generation >= 0 AND journal_seq >= 0", name=op.f("ck_meta_counters")),
    )
    op.bulk_insert(meta, [{"id": 1, "generation": 0, "journal_seq": 0, "forgotten_generation": 0}])
    op.create_table(
        "targets",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_targets")),
    )


def _make_operations_and_nodes() -> None:
    op.create_table(
        "operations",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("busy_node", sa.String(253)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("created_at", sa.String(27), nullable=False),
        sa.Column("target_id", sa.String(64), nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operations")),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_operations_target_id_targets")
        ),
        sa.UniqueConstraint("busy_node", name=op.f("uq_operations_busy_node")),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'active', 'failed', 'cancelled', 'superseded')",
            name=op.f("ck_operations_state"),
        ),
        sa.CheckConstraint("fence >= 0", name=op.f("ck_operations_fence")),
        sa.CheckConstraint(
            "(state IN ('pending', 'running')) = (busy_node IS NOT NULL)",
            name=op.f("ck_operations_busy_unfinished"),
        ),
        sa.CheckConstraint(
            "busy_node IS NULL OR busy_node = node", name=op.f("ck_operations_busy_same")
        ),
    )
    op.create_index(op.f("ix_operations_node_created_at"), "operations", ["node", "created_at"])
    op.create_index(op.f("ix_operations_created_at"), "operations", ["created_at"])
    op.create_table(
        "nodes",
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("adopted_at", sa.String(27), nullable=False),
        sa.Column("adopted_by", sa.Text, nullable=False),
        sa.Column("applied", sa.Text),
        sa.Column("target_id", sa.String(64)),
        sa.Column("in_doubt", sa.Integer, nullable=False),
        sa.Column("failed_id", sa.String(64)),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("node", name=op.f("pk_nodes")),
        sa.ForeignKeyConstraint(
            ["target_id"], ["targets.id"], name=op.f("fk_nodes_target_id_targets")
        ),
        sa.ForeignKeyConstraint(
            ["failed_id"], ["operations.id"], name=op.f("fk_nodes_failed_id_operations")
        ),
        sa.CheckConstraint(
            "(applied IS NULL) = (target_id IS NULL)", name=op.f("ck_nodes_applied_target")
        ),
        sa.CheckConstraint("in_doubt IN (0, 1)", name=op.f("ck_nodes_in_doubt")),
    )
    op.create_index(op.f("ix_nodes_generation"), "nodes", ["generation"])


def _make_slots_and_journal() -> None:
    op.create_table(
        "slots",
        sa.Column("scope", sa.String(600), nullable=False),
        sa.Column("slot_no", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("operation_id", sa.String(64), nullable=False),
        sa.Column("granted_at", sa.String(27), nullable=False),
        sa.PrimaryKeyConstraint("scope", "slot_no", name=op.f("pk_slots")),
        sa.ForeignKeyConstraint(
            ["operation_id"], ["operations.id"], name=op.f("fk_slots_operation_id_operations")
        ),
        sa.UniqueConstraint("operation_id", "scope", name=op.f("uq_slots_operation_id_scope")),
        sa.CheckConstraint("slot_no >= 0", name=op.f("ck_slots_slot_no")),
    )
    op.create_table(
        "journal",
        sa.Column("seq", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("at", sa.String(27), nullable=False),
        sa.Column("node", sa.String(253), nullable=False),
        sa.Column("event", sa.String(16), nullable=False),
        sa.Column("operation_id", sa.String(64)),
        sa.Column("stage", sa.String(16)),
        sa.Column("effect", sa.Text),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_journal")),
        sa.CheckConstraint("seq >= 1", name=op.f("ck_journal_seq")),
    )
    op.create_index(op.f("ix_journal_node_seq"), "journal", ["node", "seq"])
