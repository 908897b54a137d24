"""Tables of the work: operations, the line in which they stand, and who has what right now."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text

from bmid.store.column import Instant
from bmid.store.schema.base import METADATA, Number, identifier

__all__ = ["COMMAND_NODE", "LEFT", "claim", "operation", "operation_key"]

# What has not ended. In words that no other index answers to: SQLite would take that one, and sort.
LEFT = "(ended_at IS NULL) IS TRUE"

operation = Table(
    "operation",
    METADATA,
    identifier(),
    Column("seq", Number, unique=True, nullable=False),
    Column("type", String(255), nullable=False),
    Column("command", JSON, nullable=False),
    Column("user", String(255), nullable=False),
    Column("source", String(255), nullable=False),
    Column("message", String(255), nullable=False, index=True),
    Column("correlation", String(255), nullable=False),
    Column("traceparent", String(255)),
    Column("project", String(63)),
    Column("phase", String(16), nullable=False),
    Column("accepted_at", Instant, nullable=False),
    Column("due_at", Instant, nullable=False),
    Column("claimed_until", Instant),
    Column("clients", JSON),
    Column("home", String(63)),
    Column("plan", JSON),
    Column("marks", JSON, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_failed_at", Instant),
    Column("why", Text, nullable=False),
    Column("problem", JSON),
    Column("ended_at", Instant, index=True),
    Column("parent", String(64), index=True),
    Column("expires_at", Instant),
    Index("ix_operation_turn", "phase", "seq"),
    # The line, and those in it that wait, without all that has ended: one in a hundred operations, or in a thousand.
    Index("ix_operation_line", "seq", postgresql_where=text(LEFT), sqlite_where=text(LEFT)),
    Index("ix_operation_due", "due_at", postgresql_where=text(LEFT), sqlite_where=text(LEFT)),
    Index("ix_operation_age", "accepted_at", "seq"),
    Index("ix_operation_project_age", "project", "accepted_at", "seq"),
)
# The node that a command names. Both databases understand the operator, and find the index by this very text.
COMMAND_NODE = "(operation.command ->> 'node')"
Index("ix_operation_node", text("(command ->> 'node')"), operation.c.accepted_at, operation.c.seq)

operation_key = Table(
    "operation_key",
    METADATA,
    Column("operation", String(64), ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("exclusive", Boolean, nullable=False),
    Column("seq", Number, nullable=False),
    Column("started", Boolean, nullable=False),
    Index("ix_operation_key_turn", "key", "exclusive", "seq"),
    Index(
        "ix_operation_key_started", "key", postgresql_where=text("started IS true"), sqlite_where=text("started IS 1")
    ),
)

claim = Table(
    "claim",
    METADATA,
    Column("key", String(255), primary_key=True),
    Column("epoch", BigInteger, nullable=False),
    Column("holder", String(128), index=True),
    Column("operation", String(64), index=True),
    Column("expires_at", Instant),
)
