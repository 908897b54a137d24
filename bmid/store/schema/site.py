"""Tables of the things that BMI knows: projects, images, nodes, networks, disks and their boots, heads and portals."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

from bmid.store.column import Instant
from bmid.store.schema.base import METADATA, identifier

__all__ = ["boot", "disk", "head", "image", "image_default", "network", "node", "node_mac", "portal", "project"]

project = Table(
    "project", METADATA, identifier(), Column("name", String(63), unique=True), Column("created_at", Instant)
)

image = Table(
    "image",
    METADATA,
    identifier(),
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
    Column("aside", JSON(none_as_null=True)),
    Column("failures", JSON(none_as_null=True)),  # in a row, for one problem
    UniqueConstraint("project", "name"),
)

image_default = Table(
    "image_default",
    METADATA,
    identifier(),
    Column("project", String(63), nullable=False, index=True),
    Column("labels", JSON, nullable=False),
    Column("image", String(64), ForeignKey("image.id", ondelete="CASCADE"), nullable=False, index=True),
)

node = Table(
    "node",
    METADATA,
    identifier(),
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
    Column("aside", JSON(none_as_null=True)),
    Column("failures", JSON(none_as_null=True)),
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
    identifier(),
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
    Column("portal", String(64)),  # IP:PORT, as its node was told; null: that of its home's own shard
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

portal = Table(
    "portal",
    METADATA,
    Column("portal", String(64), primary_key=True),  # IP:PORT
    Column("head", String(63), nullable=False),
    Column("shard", String(63), nullable=False),
    Column("native", String(63), nullable=False),
    Column("bound_for", String(63)),
    Column("withdrawn_at", Instant),
    Column("ready", Boolean, nullable=False),
)
