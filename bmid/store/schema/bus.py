"""Tables of what comes in and goes out: messages, events, the counters behind them, uploads; and who says it."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table

from bmid.store.column import Instant
from bmid.store.schema.base import METADATA, Number

__all__ = ["counter", "identity", "inbox", "outbox", "upload"]

inbox = Table(
    "inbox",
    METADATA,
    Column("user", String(255), primary_key=True),
    Column("source", String(255), primary_key=True),
    Column("message", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("operation", String(64), index=True),
    Column("event", String(64)),
    Column("received_at", Instant, nullable=False, index=True),
)

outbox = Table(
    "outbox",
    METADATA,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("event", String(64), unique=True, nullable=False),
    Column("type", String(255), nullable=False),
    Column("routing_key", String(255), nullable=False),
    Column("envelope", JSON, nullable=False),
    Column("operation", String(64), index=True),
    Column("created_at", Instant, nullable=False, index=True),
    Column("position", BigInteger, unique=True),
    Column("asked", Integer, nullable=False),
    Column("published_at", Instant),
    Column("unrouted", Boolean, nullable=False),
)
Index("ix_outbox_unpublished", outbox.c.id, sqlite_where=outbox.c.published_at.is_(None),
      postgresql_where=outbox.c.published_at.is_(None))  # fmt: skip

counter = Table(
    "counter",
    METADATA,
    Column("name", String(512), primary_key=True),  # a subject may hold a message's id, of 255 itself
    Column("value", BigInteger, nullable=False),
)

# One row. Its id is in all that this site puts into a storage.
identity = Table(
    "identity",
    METADATA,
    Column("one", Integer, primary_key=True, autoincrement=False),
    Column("id", String(32), nullable=False),
    Column("epoch", BigInteger, nullable=False),  # where sequences and positions of events begin
)

upload = Table(
    "upload",
    METADATA,
    Column("operation", String(64), ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True),
    Column("token_sha256", String(64), nullable=False),
    Column("size_limit", BigInteger, nullable=False),
    Column("size", BigInteger),
    Column("completed_at", Instant),
)
