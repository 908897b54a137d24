"""Tables of what was found when the world was compared with the rows: findings until they are gone, and the looks."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Integer, String, Table, Text

from bmid.store.column import Instant
from bmid.store.schema.base import METADATA

__all__ = ["finding", "look"]

finding = Table(
    "finding",
    METADATA,
    Column("kind", String(32), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("head", String(63), primary_key=True),
    Column("place", String(255), primary_key=True),
    Column("what", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("node", String(63)),
    Column("project", String(63)),
    Column("name", String(80)),
    Column("details", JSON, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("first_seen", Instant, nullable=False),
    Column("last_seen", Instant, nullable=False),
)

look = Table(
    "look",
    METADATA,
    Column("head", String(63), primary_key=True),
    Column("part", String(80), primary_key=True),
    Column("tried_at", Instant, nullable=False),
    Column("seen_at", Instant),
    Column("problem", Text),
)
