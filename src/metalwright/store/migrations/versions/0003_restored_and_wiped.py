"""Which store this is and how far it was driven; which nodes' disks are not known after a wipe.

A node that is in the middle of an operation when the store is upgraded counts as wiped where the
journal has a wipe of it since it was adopted, or brought to something, last.
"""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

COLUMNS = (
    ("meta", "store_id VARCHAR(32) DEFAULT '' NOT NULL", "", ""),
    ("meta", "restored INTEGER DEFAULT 0 NOT NULL", "restored", "restored >= 0"),
    ("meta", "driven INTEGER DEFAULT 0 NOT NULL", "driven", "driven >= 0"),
    ("nodes", "wiped INTEGER DEFAULT 0 NOT NULL", "wiped", "wiped IN (0, 1)"),
)

WIPED = """
    UPDATE nodes SET wiped = 1
    WHERE in_doubt = 1 AND EXISTS (
        SELECT 1 FROM journal
        WHERE journal.node = nodes.node
          AND journal.effect LIKE '{"kind":"wipe"%'
          AND journal.seq > COALESCE(
            (SELECT MAX(known.seq) FROM journal AS known
             WHERE known.node = nodes.node AND known.event IN ('active', 'adopted')), 0))
"""


def upgrade() -> None:
    """Add the columns, and give the store a name of its own."""
    for table, column, name, rule in COLUMNS:
        check = f" CONSTRAINT ck_{table}_{name} CHECK ({rule})" if rule else ""
        op.execute(f"ALTER TABLE {table} ADD COLUMN {column}{check}")
    op.execute(sa.text("UPDATE meta SET store_id = :id").bindparams(id=uuid4().hex))
    op.execute(sa.text(WIPED))
