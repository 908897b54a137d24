"""Heads: who is there, since when, with which shards, and what they have in hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import func, or_, select, update

from bmid.model.entity import DiskState
from bmid.model.operation import Phase
from bmid.store import portals
from bmid.store.database import Tx
from bmid.store.rows import upsert
from bmid.store.schema import claim, disk, head, operation, trash

__all__ = [
    "HOMED",
    "HeadRow",
    "HomedDisk",
    "Presence",
    "Shard",
    "beat",
    "drain",
    "elsewhere",
    "every",
    "find",
    "homed",
    "in_hand",
    "leave",
    "loads",
    "others",
    "portal",
    "shards",
    "starts",
]

GONE = ""  # the instance of a head that was stopped in order


@dataclass(frozen=True)
class Presence:
    """What a head says of itself with each heartbeat: its shards with their portals (IP:PORT), its version, and where
    its uploads go."""

    shards: Mapping[str, str] = field(default_factory=dict)
    version: str = ""
    url: str = ""


@dataclass(frozen=True)
class HeadRow:
    """A head as it last said of itself. `age` is the seconds since then."""

    name: str
    instance: str
    seen_at: datetime
    age: float
    draining: bool
    version: str
    url: str
    shards: dict[str, str]

    @property
    def stopped(self) -> bool:
        """Whether it was stopped in order, and not killed."""
        return self.instance == GONE

    def alive(self, dead_after: float) -> bool:
        """Whether it was heard of within so many seconds, and has not said good-bye."""
        return self.age < dead_after and not self.stopped


@dataclass(frozen=True)
class Shard:
    """A shard of a living head and the number of disks whose home it is."""

    head: str
    shard: str
    load: int
    portal: str = ""
    draining: bool = False


class HomedDisk(NamedTuple):
    """A disk as its home looks after it, again and again: without its seed, which may be as long as a book."""

    id: str
    project: str
    name: str
    state: str
    node: str | None
    shard: str | None
    number: int
    address: str | None


HOMED = select(*(disk.c[name] for name in HomedDisk._fields))


def beat(tx: Tx, name: str, instance: str, presence: Presence) -> None:
    """This head is alive."""
    fresh = {
        "instance": instance,
        "shards": [{"name": shard, "portal": portal} for shard, portal in presence.shards.items()],
        "version": presence.version,
        "url": presence.url,
        "seen_at": tx.now,
    }
    statement = upsert(tx, head).values({"name": name, "started_at": tx.now, "draining": False, **fresh})
    standing = find(tx, name)
    started = {"started_at": tx.now} if standing is None or standing.instance != instance else {}
    tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_={**fresh, **started}))


def leave(tx: Tx, name: str, instance: str) -> None:
    """This head was stopped: nothing new comes here until it is started again."""
    mine = (head.c.name == name) & (head.c.instance == instance)
    tx.execute(update(head).where(mine).values(instance=GONE, seen_at=tx.now))


def every(tx: Tx) -> Sequence[HeadRow]:
    """All heads that there ever were, by name."""
    return [_row(tx, row) for row in tx.execute(select(head).order_by(head.c.name))]


def starts(tx: Tx) -> Mapping[str, datetime]:
    """Since when each head runs, or ran last."""
    return {row.name: row.started_at for row in tx.execute(select(head.c.name, head.c.started_at))}


def others(tx: Tx, name: str, dead_after: float) -> Sequence[HeadRow]:
    """Other heads that are alive."""
    return [one for one in every(tx) if one.name != name and one.alive(dead_after)]


def drain(tx: Tx, name: str, *, draining: bool) -> bool:
    """New maps go elsewhere, or may come here again; False if there is no such head."""
    change = update(head).where(head.c.name == name).values(draining=draining)
    return tx.execute(change.returning(head.c.name)).first() is not None


def loads(tx: Tx) -> Mapping[str, Mapping[str, int]]:
    """How many disks are at home on each head, by shard."""
    found: dict[str, dict[str, int]] = {}
    counted = select(disk.c.head, disk.c.shard, func.count()).where(disk.c.head.is_not(None))
    for name, shard, count in tx.execute(counted.group_by(disk.c.head, disk.c.shard)):
        found.setdefault(name, {})[shard or ""] = count
    return found


def shards(tx: Tx, dead_after: float) -> Sequence[Shard]:
    """All shards of living heads with their load, each with a portal that it carries. None of the portals moves before
    this transaction has ended."""
    load, known = loads(tx), {one.name: one for one in every(tx) if one.alive(dead_after)}
    found: dict[tuple[str, str], Shard] = {}
    # A shard's own portal rather than one that it carries for another head.
    for one in sorted(portals.every(tx, share=True), key=lambda one: (one.head, one.head != one.native)):
        if one.head in known and one.ready and one.bound_for is None:
            disks = load.get(one.head, {}).get(one.shard, 0)
            home = Shard(one.head, one.shard, disks, one.portal, known[one.head].draining)
            found.setdefault((one.head, one.shard), home)
    return list(found.values())


def find(tx: Tx, name: str) -> HeadRow | None:
    """One head."""
    row = tx.execute(select(head).where(head.c.name == name)).first()
    return _row(tx, row) if row else None


def portal(tx: Tx, name: str, shard: str) -> str | None:
    """IP:PORT of a head's shard, also while the head is dead; None if there is none."""
    found = find(tx, name)
    return found.shards.get(shard) if found else None


def homed(tx: Tx, name: str, *, mapped: bool = False) -> Sequence[HomedDisk]:
    """Disks whose home is this head, by name; or only those that are mapped."""
    mine = HOMED.where(disk.c.head == name).order_by(disk.c.name)
    return [
        HomedDisk._make(row) for row in tx.execute(mine.where(disk.c.state == DiskState.MAPPED) if mapped else mine)
    ]


def elsewhere(tx: Tx, identifier: str, name: str) -> bool:
    """Whether a disk has its home on another head, or none; it stays so until this transaction has ended. One in the
    trash has none: what is here is of before it went, and it comes back parked. Neither has one that was never to be:
    the operation of its id has failed, and took it back."""
    query = select(disk.c.head, disk.c.state).where(disk.c.id == identifier).with_for_update(read=True)
    row = tx.execute(query).first()
    if row is None:
        failed = (operation.c.id == identifier) & (operation.c.phase == Phase.FAILED)
        kept = select(trash.c.id).where(trash.c.id == identifier).union_all(select(operation.c.id).where(failed))
        return tx.execute(kept).first() is not None
    return bool(row.head != name)


def in_hand(tx: Tx, name: str) -> int:
    """How many unfinished operations only this head may run, or runs right now."""
    held = select(claim.c.operation).where(claim.c.holder.startswith(f"{name}/", autoescape=True))
    mine = or_(operation.c.home == name, operation.c.id.in_(held))
    count = select(func.count()).select_from(operation).where(operation.c.ended_at.is_(None), mine)
    return int(tx.execute(count).scalar_one())


def _row(tx: Tx, row: Any) -> HeadRow:
    # A head of the version before names its shards without their portals.
    named = {one["name"]: one["portal"] for one in row.shards if isinstance(one, dict)}
    shards = named or {one: "" for one in row.shards if isinstance(one, str)}
    age = (tx.now - row.seen_at) / timedelta(seconds=1)
    return HeadRow(row.name, row.instance, row.seen_at, age, row.draining, row.version, row.url, shards)
