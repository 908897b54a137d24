"""Heads: who is there, since when, with which shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from bmid.store.database import Tx
from bmid.store.rows import upsert
from bmid.store.schema import disk, head

__all__ = ["HeadRow", "Shard", "beat", "others", "shards"]


@dataclass(frozen=True)
class HeadRow:
    """A head as it last said of itself."""

    name: str
    instance: str
    seen_at: datetime


@dataclass(frozen=True)
class Shard:
    """A shard of a living head and the number of disks whose home it is."""

    head: str
    shard: str
    load: int


def beat(tx: Tx, name: str, instance: str, names: Sequence[str]) -> None:
    """This head is alive."""
    row = {"name": name, "instance": instance, "shards": list(names), "started_at": tx.now, "seen_at": tx.now}
    statement = upsert(tx, head).values(row)
    fresh = {"instance": instance, "shards": list(names), "seen_at": tx.now}
    tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_=fresh))


def others(tx: Tx, name: str, dead_after: float) -> Sequence[HeadRow]:
    """Other heads that are alive."""
    recent = head.c.seen_at > tx.now - timedelta(seconds=dead_after)
    rows = tx.execute(select(head).where(head.c.name != name, recent))
    return [HeadRow(row.name, row.instance, row.seen_at) for row in rows]


def shards(tx: Tx, dead_after: float) -> Sequence[Shard]:
    """All shards of living heads with their load."""
    loads = select(disk.c.head, disk.c.shard, func.count().label("load")).group_by(disk.c.head, disk.c.shard)
    load = {(row.head, row.shard): row.load for row in tx.execute(loads)}
    recent = tx.execute(select(head).where(head.c.seen_at > tx.now - timedelta(seconds=dead_after)))
    return [Shard(row.name, one, load.get((row.name, one), 0)) for row in recent for one in row.shards]
