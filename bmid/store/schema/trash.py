"""The table of what was removed and can be brought back until it expires."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Index, String, Table

from bmid.store.column import Instant
from bmid.store.schema.base import METADATA, identifier

__all__ = ["trash"]

trash = Table(
    "trash",
    METADATA,
    identifier(),
    Column("kind", String(16), nullable=False),
    Column("project", String(63), nullable=False),
    Column("name", String(80), nullable=False),
    Column("parent", String(64), index=True),
    Column("size", BigInteger, nullable=False),
    Column("removed_at", Instant, nullable=False),
    Column("expires_at", Instant, nullable=False),
    Column("operation", String(64), nullable=False),
    Column("row", JSON, nullable=False),
    Index("ix_trash_expiry", "expires_at", "id"),
    Index("ix_trash_age", "removed_at", "id"),
    Index("ix_trash_name", "project", "name"),
)
