"""Defaults among images, seeds of disks, drained heads, groups of operations and their expiry; operations by age.

The first revision makes all tables as the program knows them, so on a new database there is nothing left to add.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

from bmid.store.migration import add_columns, add_indexes
from bmid.store.schema import METADATA

revision = "0002"
down_revision = "0001"

ADDED = {
    "disk": ("seed",),
    "head": ("draining", "version", "url"),
    "operation": ("parent", "expires_at"),
}
INDEXES = (
    "ix_node_age",
    "ix_disk_name",
    "ix_disk_age",
    "ix_operation_age",
    "ix_operation_project_age",
    "ix_operation_node",
)


def upgrade() -> None:
    """Add what is missing; heads write their shards anew when they start."""
    bind = op.get_bind()
    METADATA.create_all(bind)
    for name, columns in ADDED.items():
        add_columns(name, columns)
    add_indexes(INDEXES)
    op.drop_index("ix_operation_project", "operation", if_exists=True)
    bind.execute(text("DELETE FROM head"))
