"""Findings as rows, from the first look that saw them until they are gone; and the rows that a look is held against."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update

from bmid.model.finding import SHARED, Finding, Kind, Noted, part
from bmid.model.promise import PromisedDisk, PromisedImage, Promises
from bmid.store import ledger, site
from bmid.store.database import Tx
from bmid.store.rows import upsert
from bmid.store.schema import disk, finding, head, image, look, node, operation, operation_key, trash

__all__ = ["Looked", "forget", "held_up", "looks", "note", "noted", "promises"]

RESTORES = "bmi.export.restore.v1"
KINDS = {kind.value for kind in Kind}
KEYS = ("kind", "subject", "head", "place")
DISKS = select(
    *(disk.c[name] for name in ("id", "project", "name", "state", "number", "node", "address", "head", "shard")),
    disk.c.generation,
    disk.c.owner,
    disk.c.seed.is_not(None).label("seeded"),
)

NODES = select(node.c.name, node.c.disk).where(node.c.disk.is_not(None))
# What is nobody's can't be restored, and may never have been there.
TRASH = select(*(trash.c[name] for name in ("id", "kind", "project", "name"))).where(trash.c.project != "")


@dataclass(frozen=True)
class Looked:
    """When a part of a head was looked at last, and tried; `problem` says why that failed."""

    head: str
    part: str
    tried_at: datetime
    seen_at: datetime | None
    problem: str | None


def promises(tx: Tx, ends: Mapping[str, Sequence[str]] | None = None, retention: timedelta = timedelta()) -> Promises:
    """What the rows promise now; with `ends` (types of final events by command) also what is wrong among them.

    Who is at work is asked first: what has ended by the time when the other rows are read is still taken for busy.
    """
    unfinished = frozenset(tx.execute(select(operation.c.id).where(operation.c.ended_at.is_(None))).scalars())
    wanted = select(operation_key.c.key, operation.c.type).join(operation, operation.c.id == operation_key.c.operation)
    at_work: dict[str, set[str]] = {}
    for row in tx.execute(wanted.where(operation_key.c.exclusive, operation.c.ended_at.is_(None))):
        at_work.setdefault(row.key, set()).add(row.type)
    images = select(image.c.id, image.c.project, image.c.name, image.c.ready)
    return Promises(
        at_work=frozenset(at_work),
        restored=frozenset(key for key, types in at_work.items() if types <= {RESTORES}),
        unfinished=unfinished,
        disks={row.id: PromisedDisk(**row._mapping) for row in tx.execute(DISKS)},
        images={row.id: PromisedImage(**row._mapping) for row in tx.execute(images)},
        nodes={row.name: row.disk for row in tx.execute(NODES)},
        trash={row.id: f"{row.kind}:{row.project}/{row.name}" for row in tx.execute(TRASH)},
        ledger=tuple(ledger.faults(tx, ends, retention)) if ends is not None else (),
        site=site.identifier(tx),
    )


def note(tx: Tx, head: str, seen: Iterable[str], silent: Mapping[str, str], found: Iterable[Finding]) -> None:
    """Keep what a look of this head found. What it saw before and doesn't see now is gone, unless the part where it was
    didn't answer."""
    parts = set(seen)
    before = {one.finding.key: one for one in noted(tx, head, SHARED)}
    fresh = {_key(one): one for one in found}
    for key, old in before.items():
        if key not in fresh and part(old.finding) in parts:
            tx.execute(delete(finding).filter_by(**dict(zip(KEYS, key, strict=True))))
    for key, one in fresh.items():
        place = dict(zip(KEYS, key, strict=True))
        told = {"what": one.what, "why": one.why, "node": one.node, "project": one.project, "name": one.name}
        row: dict[str, Any] = {**told, "details": one.details, "last_seen": tx.now}
        if key in before:
            tx.execute(update(finding).filter_by(**place).values(looks=finding.c.looks + 1, **row))
        else:
            tx.execute(insert(finding).values(looks=1, first_seen=tx.now, **place, **row))
    for name in sorted(parts):
        _looked(tx, head, name, {"seen_at": tx.now, "problem": None})
    for name, problem in sorted(silent.items()):
        _looked(tx, head, name, {"problem": problem})


def _key(one: Finding) -> tuple[str, str, str, str]:
    return one.kind.value, one.subject[:255], one.head, one.where[:255]


def _looked(tx: Tx, head: str, name: str, told: dict[str, Any]) -> None:
    owner = SHARED if name in ("storage", "database") else head
    row = {"head": owner, "part": name, "tried_at": tx.now, **told}
    statement = upsert(tx, look).values(row)
    tx.execute(statement.on_conflict_do_update(index_elements=["head", "part"], set_={"tried_at": tx.now, **told}))


def noted(tx: Tx, *heads: str) -> Sequence[Noted]:
    """The findings of these heads, or all of them, those that were seen first at the beginning."""
    query = select(finding).order_by(finding.c.first_seen, *(finding.c[name] for name in KEYS))
    rows = tx.execute(query.where(finding.c.head.in_(heads)) if heads else query)
    # A head of the version after this one may know more kinds.
    return [_noted(row) for row in rows if row.kind in KINDS]


def _noted(row: Any) -> Noted:
    one = Finding(
        Kind(row.kind),
        row.subject,
        row.place,
        row.what,
        row.why,
        row.head,
        node=row.node,
        project=row.project,
        name=row.name,
        details=dict(row.details),
    )
    return Noted(one, row.first_seen, row.last_seen, row.looks)


def looks(tx: Tx) -> Sequence[Looked]:
    """When each part of each head was looked at last."""
    return [
        Looked(*row)
        for row in tx.execute(select(*(look.c[name] for name in ("head", "part", "tried_at", "seen_at", "problem"))))
    ]


def forget(tx: Tx, before: datetime) -> int:
    """Delete what was seen on heads that nobody has heard of since that time: what they had is another's, or gone. If
    one comes back, it looks anew. How many findings."""
    gone = select(head.c.name).where(head.c.seen_at < before)
    tx.execute(delete(look).where(look.c.head.in_(gone)))
    return int(tx.execute(delete(finding).where(finding.c.head.in_(gone))).rowcount)


def held_up(tx: Tx, look: str) -> str | None:
    """What the first of those that mend for a look and have to wait waits for, or failed with lately; None if none
    does."""
    mine = (operation.c.parent == look) & operation.c.ended_at.is_(None) & operation.c.why.is_not(None)
    found: str | None = tx.execute(select(operation.c.why).where(mine).order_by(operation.c.seq).limit(1)).scalar()
    return found
