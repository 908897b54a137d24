"""What makes up for losses: additions only, so that heads of the version before may run beside it."""

from __future__ import annotations

from alembic import op

from bmid.store.migration import add_columns, add_indexes
from bmid.store.schema import METADATA

revision = "0003"
down_revision = "0002"

ADDED: dict[str, tuple[str, ...]] = {
    "disk": ("portal",),
    "image": ("aside", "failures"),
    "node": ("aside", "failures"),
    "operation": ("clients",),
}
INDEXES: tuple[str, ...] = ("ix_operation_line", "ix_operation_due", "ix_operation_key_started")


def upgrade() -> None:
    """New tables whole, then what is new in those that stood."""
    METADATA.create_all(op.get_bind())
    for name, columns in ADDED.items():
        add_columns(name, columns)
    add_indexes(INDEXES)
