"""Defaults among images, seeds of disks, drained heads, groups of operations and their expiry.

The first revision makes all tables as the program knows them, so on a new database there is nothing left to add.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Table, inspect, text

from bmid.store.schema import METADATA

revision = "0002"
down_revision = "0001"

ADDED = {
    "disk": ("seed",),
    "head": ("draining", "version", "url"),
    "operation": ("parent", "expires_at"),
}


def upgrade() -> None:
    """Add what is missing; heads write their shards anew when they start."""
    bind = op.get_bind()
    METADATA.create_all(bind)
    for name, columns in ADDED.items():
        _add(METADATA.tables[name], columns)
    bind.execute(text("DELETE FROM head"))


def _add(table: Table, columns: tuple[str, ...]) -> None:
    """A column brings its index along."""
    present = {column["name"] for column in inspect(op.get_bind()).get_columns(table.name)}
    for name in columns:
        if name not in present:
            op.add_column(table.name, table.columns[name].copy())
