"""Portals: which head carries each address where nodes find their targets, and how one passes to another head.

Why an address is to move, and who may have it, is decided in bmid/model/succession.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select, update

from bmid.model.entity import DiskState, Portal
from bmid.model.operation import Phase
from bmid.store import claims
from bmid.store.database import Conflict, Tx
from bmid.store.rows import entity, upsert
from bmid.store.schema import claim, disk, head, operation, operation_key, portal

__all__ = [
    "Moved",
    "bind",
    "bring",
    "every",
    "hasten",
    "hold",
    "loads",
    "mapped",
    "move",
    "pass_on",
    "stay",
    "withdraw",
]

COLUMNS = (disk.c.id, disk.c.project, disk.c.name, disk.c.node, disk.c.state, disk.c.owner)


@dataclass(frozen=True)
class Moved:
    """What went with an address: mapped disks with their nodes, and the recorded clients that exported them."""

    disks: tuple[tuple[str, str], ...]
    owners: tuple[str, ...]


def every(tx: Tx, *, share: bool = False) -> Sequence[Portal]:
    """All portals by name. `share`: none of them moves before this transaction has ended."""
    query = select(portal).order_by(portal.c.portal)
    return [entity(Portal, row) for row in tx.execute(query.with_for_update(read=True) if share else query)]


# Rows are locked in the order of their names, by whoever locks several.
HOLD = select(portal.c.portal).order_by(portal.c.portal).with_for_update(read=True)


def hold(tx: Tx) -> None:
    """Where each disk is at home stays so until this transaction has ended, for who plans by it."""
    if tx.connection.dialect.name == "postgresql":
        tx.execute(HOLD).all()


def loads(tx: Tx) -> Mapping[str, int]:
    """How many disks were told each portal."""
    counted = select(disk.c.portal, func.count()).where(disk.c.portal.is_not(None)).group_by(disk.c.portal)
    return {row.portal: row[1] for row in tx.execute(counted)}


def bring(tx: Tx, name: str, shards: Mapping[str, str]) -> None:
    """A head begins: its portals are there from now on. Where another head carries one, it goes on to."""
    for shard, told in shards.items():
        row = {"portal": told, "head": name, "shard": shard, "native": name, "ready": True}
        mine = (portal.c.head == name) & (portal.c.native == name)
        statement = upsert(tx, portal).values(row)
        change = statement.on_conflict_do_update(index_elements=["portal"], set_={"shard": shard}, where=mine)
        if told:
            tx.execute(change)
    _write_told(tx, name, shards)
    used = select(disk.c.portal).where(disk.c.portal.is_not(None))
    left = portal.c.portal.not_in([*shards.values()]) & portal.c.portal.not_in(used)
    tx.execute(delete(portal).where(portal.c.native == name, portal.c.head == name, left))


def _write_told(tx: Tx, name: str, shards: Mapping[str, str]) -> None:
    """What nodes were told by a program that didn't write it down: the portal of their disk's shard."""
    mine = update(disk).where(disk.c.head == name, disk.c.portal.is_(None))
    for shard, told in shards.items():
        if told:
            tx.execute(mine.where(disk.c.shard == shard).values(portal=told))


def bind(tx: Tx, address: str, carrier: str, to: str | None) -> None:
    """The portals of an address are to move to a head; None: they stay."""
    mine = update(portal).where(portal.c.portal.startswith(f"{address}:", autoescape=True), portal.c.head == carrier)
    tx.execute(mine.values(bound_for=to, withdrawn_at=None))


def withdraw(tx: Tx, address: str, carrier: str) -> None:
    """Nobody answers at the address any more, says its carrier, or a person."""
    mine = update(portal).where(portal.c.portal.startswith(f"{address}:", autoescape=True), portal.c.head == carrier)
    tx.execute(mine.where(portal.c.withdrawn_at.is_(None)).values(withdrawn_at=tx.now))


def stay(tx: Tx, address: str, carrier: str) -> None:
    """The carrier has the address after all: what was said of its leaving is over."""
    mine = update(portal).where(portal.c.portal.startswith(f"{address}:", autoescape=True), portal.c.head == carrier)
    tx.execute(mine.where(portal.c.bound_for.is_(None)).values(withdrawn_at=None))


def mapped(tx: Tx, portals: Sequence[Portal]) -> Moved:
    """Mapped disks of these portals, where they are at home by now."""
    there = (disk.c.head == portals[0].head) & disk.c.portal.in_([one.portal for one in portals])
    return _moved(tx.execute(select(*COLUMNS).where(there, disk.c.state == DiskState.MAPPED)))


def move(tx: Tx, portals: Sequence[Portal], to: str, *, whole: bool) -> Moved:
    """Portals of one carrier pass to another head, with their disks and whatever is being done to them; `whole`: with
    all that the carrier has in hand, for one that is dead. Conflict where they have moved meanwhile."""
    origin, names = portals[0].head, [one.portal for one in portals]
    wanted = select(portal.c.portal).where(portal.c.portal.in_(names)).order_by(portal.c.portal)
    tx.execute(wanted.with_for_update()).all()
    _write_told(tx, origin, _shards_of(tx, origin))
    change = update(portal).where(portal.c.portal.in_(names), portal.c.head == origin)
    fresh = {"head": to, "ready": False, "bound_for": None, "withdrawn_at": None}
    if len(list(tx.execute(change.values(fresh).returning(portal.c.portal)))) < len(names):
        raise Conflict
    there = (disk.c.head == origin) & disk.c.portal.in_(names)
    rows = list(tx.execute(select(*COLUMNS).where(there)))
    keys = [f"node:{row.node}" for row in rows if row.node] + [f"disk:{row.project}/{row.name}" for row in rows]
    pass_on(tx, origin, to, None if whole else keys)  # claims before disks, as whoever ends an operation
    return _moved(tx.execute(update(disk).where(there).values(head=to).returning(*COLUMNS)))


def _moved(rows: Iterable[Any]) -> Moved:
    rows = list(rows)
    disks = sorted((row.id, row.node) for row in rows if row.state == DiskState.MAPPED and row.node)
    return Moved(tuple(disks), tuple(row.owner for row in rows if row.owner))


def _shards_of(tx: Tx, name: str) -> dict[str, str]:
    row = tx.execute(select(head.c.shards).where(head.c.name == name)).first()
    return {one["name"]: one["portal"] for one in (row.shards if row else ()) if isinstance(one, dict)}


def pass_on(tx: Tx, origin: str, to: str, keys: Collection[str] | None = None) -> int:
    """Unfinished operations at home at `origin` go on at `to`, from the top, and no worker of `origin` has a claim on
    them any more; of those with one of the keys, or of all. How many."""
    mine: Any = operation.c.ended_at.is_(None) & (operation.c.home == origin)
    if keys is not None:
        wanted = select(operation_key.c.operation).where(operation_key.c.key.in_(keys))
        mine = mine & operation.c.id.in_(wanted)
    moved = [row.id for row in tx.execute(select(operation.c.id).where(mine))]
    tx.execute(update(claim).where(claim.c.operation.in_(moved)).values(holder=None, operation=None, expires_at=None))
    tx.execute(update(operation).where(operation.c.id.in_(moved)).values(home=to, claimed_until=None))
    if keys is None:
        claims.release_others(tx, origin, "")
    return len(moved)


def hasten(tx: Tx, group: str, seconds: float = 0.0) -> None:
    """The members of a group that have not begun are looked at in so many seconds."""
    waiting = (operation.c.parent == group) & (operation.c.phase == Phase.PENDING)
    tx.execute(update(operation).where(waiting).values(due_at=tx.now + timedelta(seconds=seconds)))
