"""Whose data may be on the disks of a node, and which disks an installation was begun on.

What the store has of earlier operations tells it: the last assignment that a node was booted for,
or has, and not wiped since. A wipe counts only where its operation came to its end. Where an
operation came to none and may have booted nothing, its assignment counts if no earlier one does.
"""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

OPERATIONS = "SELECT node, state, body FROM operations ORDER BY created_at, id"
KNOWN = "SELECT node, applied, in_doubt FROM nodes WHERE applied IS NOT NULL"


def upgrade() -> None:
    """Add the column, and fill it."""
    op.execute("ALTER TABLE nodes ADD COLUMN tenant TEXT")
    run = op.get_bind().execute
    tenants: dict[str, Any] = {}
    installing = []
    for row in run(sa.text(OPERATIONS)):
        body = json.loads(row.body)
        if "boot" not in body["stages"] or not body["attempt"]:
            continue
        if body["holder"]["kind"] != "Assignment":
            if "wipe" in body["stages"] and row.state == "active":
                tenants.pop(row.node, None)
        elif row.state == "active" or _started(body) or row.node not in tenants:
            tenants[row.node] = body["holder"]
        if row.state == "running" and "installing" in body["stages"]:
            installing.append({"of": row.node})
    for row in run(sa.text(KNOWN)):
        holder = json.loads(row.applied)["holder"]
        if holder["kind"] == "Assignment" and not (row.in_doubt and row.node in tenants):
            tenants[row.node] = holder
    rows = [{"of": node, "tenant": json.dumps(holder)} for node, holder in tenants.items()]
    if rows:
        run(sa.text("UPDATE nodes SET tenant = :tenant WHERE node = :of"), rows)
    if installing:
        run(sa.text("UPDATE nodes SET wiped = 1 WHERE node = :of"), installing)


def _started(body: dict[str, Any]) -> bool:
    """Whether the system was being started when the operation was written last."""
    told = (body["intent"] or {}).get("kind") == "power on"
    return body["stage"] in ("installing", "validating") or (body["stage"] == "boot" and told)
