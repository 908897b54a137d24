"""The tables. What changes here needs a migration beside it."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from bmid.store.column import Instant

__all__ = ["COMMAND_NODE", "METADATA", "REVISION"]

REVISION = "0002"
METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
# SQLite numbers rows by itself only where the key is a plain INTEGER.
Number = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[str]:
    return Column("id", String(64), primary_key=True)


project = Table("project", METADATA, _id(), Column("name", String(63), unique=True), Column("created_at", Instant))

image = Table(
    "image",
    METADATA,
    _id(),
    Column("project", String(63), nullable=False),
    Column("name", String(63), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("format", String(16), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("firmware", JSON, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("description", Text, nullable=False),
    Column("labels", JSON, nullable=False),
    Column("parent", String(64), index=True),
    Column("ready", Boolean, nullable=False),
    UniqueConstraint("project", "name"),
)

image_default = Table(
    "image_default",
    METADATA,
    _id(),
    Column("project", String(63), nullable=False, index=True),
    Column("labels", JSON, nullable=False),
    Column("image", String(64), ForeignKey("image.id", ondelete="CASCADE"), nullable=False, index=True),
)

node = Table(
    "node",
    METADATA,
    _id(),
    Column("name", String(63), unique=True, nullable=False),
    Column("macs", JSON, nullable=False),
    Column("boot_mac", String(17), nullable=False),
    Column("firmware", String(8), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("address", String(64), unique=True),
    Column("labels", JSON, nullable=False),
    Column("power", JSON),
    Column("hil_name", Text),
    Column("disk", String(64)),
    Column("generation", Integer, nullable=False),
    Index("ix_node_age", "created_at", "id"),
)

node_mac = Table(
    "node_mac",
    METADATA,
    Column("mac", String(17), primary_key=True),
    Column("node", String(64), ForeignKey("node.id", ondelete="CASCADE"), nullable=False, index=True),
)

network = Table(
    "network",
    METADATA,
    Column("name", String(63), primary_key=True),
    Column("subnet", String(64), nullable=False),
    Column("first", String(64), nullable=False),
    Column("last", String(64), nullable=False),
    Column("interface", String(64), nullable=False),
    Column("portal", String(64), nullable=False),
)

disk = Table(
    "disk",
    METADATA,
    _id(),
    Column("project", String(63), nullable=False),
    Column("name", String(80), nullable=False),
    Column("image", String(64), ForeignKey("image.id"), nullable=False, index=True),
    Column("size", BigInteger, nullable=False),
    Column("number", Integer, unique=True, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("node", String(63), unique=True),
    Column("network", String(63)),
    Column("address", String(64)),
    Column("hostname", String(63)),
    Column("head", String(63)),
    Column("shard", String(63)),
    Column("generation", Integer, nullable=False),
    Column("owner", Text),
    Column("seed", JSON(none_as_null=True)),
    UniqueConstraint("project", "name"),
    UniqueConstraint("network", "address"),
    Index("ix_disk_home", "head", "shard"),
    Index("ix_disk_name", "name", "id"),
    Index("ix_disk_age", "created_at", "id"),
)

boot = Table(
    "boot",
    METADATA,
    Column("disk", String(64), ForeignKey("disk.id", ondelete="CASCADE"), primary_key=True),
    Column("node", String(63), nullable=False),
    Column("project", String(63), nullable=False),
    Column("operation", String(64), nullable=False),
    Column("correlation", String(255), nullable=False),
    Column("stage", String(16), nullable=False, index=True),
    Column("attempt", Integer, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("deadline", Instant),
    Column("base", Integer, nullable=False),
    Column("evidence", JSON, nullable=False),
)

head = Table(
    "head",
    METADATA,
    Column("name", String(63), primary_key=True),
    Column("instance", String(64), nullable=False),
    Column("shards", JSON, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("draining", Boolean, nullable=False, server_default=false()),
    Column("version", String(32), nullable=False, server_default=""),
    Column("url", String(255), nullable=False, server_default=""),
)

operation = Table(
    "operation",
    METADATA,
    _id(),
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

upload = Table(
    "upload",
    METADATA,
    Column("operation", String(64), ForeignKey("operation.id", ondelete="CASCADE"), primary_key=True),
    Column("token_sha256", String(64), nullable=False),
    Column("size_limit", BigInteger, nullable=False),
    Column("size", BigInteger),
    Column("completed_at", Instant),
)
