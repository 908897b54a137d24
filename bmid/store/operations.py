"""Operations: accepted, taken in order, waited for, ended. Whose turn it is, one query says.

An operation holds its keys from acceptance to its end: later ones that want the same key stand behind it, whether
it runs, waits or is stuck. Claims only say which worker acts right now.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, text, update

from bmid.model.claim import Held, Key
from bmid.model.operation import Operation, Phase
from bmid.store import claims
from bmid.store.database import Tx
from bmid.store.line import DUE, FREE, NEXT, WANTED
from bmid.store.outbox import take_number
from bmid.store.rows import columns, entity
from bmid.store.schema import operation, operation_key

__all__ = [
    "Busy",
    "accept",
    "begun",
    "change",
    "commands",
    "end",
    "find",
    "forget",
    "give_back",
    "keys",
    "members",
    "next_due",
    "note_owner",
    "pending",
    "start",
    "take",
    "wake",
    "wake_group",
]


class Busy(Exception):
    """The operation's turn has come, but somebody's claim on one of its keys has not run out yet."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation


ACTIVE = (Phase.PENDING, Phase.RUNNING, Phase.REVERTING)

INSERT, INSERT_KEYS = insert(operation), insert(operation_key)


AHEAD = 1 << 48  # places by which what is urgent stands before all others, in its own order


def accept(tx: Tx, new: Operation, keys: Sequence[Key], *, urgent: bool = False) -> Operation:
    """Write the operation down, behind all others, or before all that have not begun where it is urgent; returns it
    with its place in the line."""
    seq = take_number(tx, "operation") - (AHEAD if urgent else 0)
    tx.execute(INSERT, columns(new) | {"seq": seq})
    if keys:
        lines = [
            {"operation": new.id, "key": key.name, "exclusive": key.exclusive, "seq": seq, "started": False}
            for key in keys
        ]
        tx.execute(INSERT_KEYS, lines)
    return replace(new, seq=seq)


MEMBERS = text(
    "SELECT count(*) AS total, sum(CASE WHEN ended_at IS NULL THEN 0 ELSE 1 END) AS ended"
    " FROM operation WHERE parent = :parent"
)


BY_ID = update(operation).where(operation.c.id == bindparam("identifier"))
START_KEYS = text("UPDATE operation_key SET started = TRUE WHERE operation = :operation")
DROP_KEYS = text("DELETE FROM operation_key WHERE operation = :operation")


def take(
    tx: Tx, head: str, holder: str, lease: float, active: Container[str] = (), client: str | None = None
) -> tuple[Operation, tuple[Held, ...]] | None:
    """The oldest operation that is due, free and ours to run, with its claims; None if there is none.

    `active`: what this instance works on. It doesn't take over from itself where it stood still, or the clock jumped.
    `client`: who we are to the storage; written down beside those who had it and never gave it back, who are the
    operation's `clients`.
    """
    row = tx.execute(NEXT, {"moment": tx.now, "head": head}).first()
    if row is None:
        return None
    if row.claimed_until is not None and row.id in active:
        raise Busy(row.id)
    keys = [f"operation:{row.id}"]
    expired = row.phase == Phase.PENDING and row.expires_at and row.expires_at <= tx.now
    if not expired:
        keys += [one.key for one in tx.execute(WANTED, {"operation": row.id})]
    held = claims.take(tx, keys, holder, lease, row.id)
    # Whoever had the claims until now may have begun after we looked: what is urgent comes in before others.
    fresh = row.plan is None and not expired
    if held is None or (fresh and tx.execute(FREE, {"operation": row.id}).first() is None):
        raise Busy(row.id)
    clients = [*(row.clients or ()), *([client] if client else ())]
    change(tx, row.id, claimed_until=tx.now + timedelta(seconds=lease), clients=clients)
    return entity(Operation, row), held


def next_due(tx: Tx, head: str) -> datetime | None:
    """When the next operation that waits wants to be looked at by this head; what is due already doesn't count."""
    row = tx.execute(DUE, {"moment": tx.now, "head": head}).first()
    return row.due_at if row else None


def start(tx: Tx, identifier: str, plan: dict[str, Any], home: str | None) -> None:
    """Keep the plan; from now on nobody may run before it on its keys."""
    change(tx, identifier, phase=Phase.RUNNING, plan=plan, home=home)
    tx.execute(START_KEYS, {"operation": identifier})


def change(tx: Tx, identifier: str, **values: Any) -> None:
    """Set columns of one operation."""
    tx.execute(BY_ID, {"identifier": identifier, **values})


def give_back(tx: Tx, identifier: str, clients: Sequence[str], **values: Any) -> None:
    """The same, by whoever has it in hand, and no call under way any more. `clients` had it before, and are still to be
    cut off by whoever has it next."""
    change(tx, identifier, claimed_until=None, clients=list(clients), **values)


def end(tx: Tx, identifier: str, phase: Phase, problem: dict[str, Any] | None) -> None:
    """The operation is over; those behind it may go on."""
    give_back(tx, identifier, (), phase=phase, problem=problem, ended_at=tx.now, why="")
    tx.execute(DROP_KEYS, {"operation": identifier})


def wake(tx: Tx, identifier: str) -> None:
    """Look at it again now, instead of when it meant to."""
    change(tx, identifier, due_at=tx.now)


def members(tx: Tx, parent: str) -> tuple[int, int]:
    """Of a group's operations, how many have ended, and how many there are."""
    row = tx.execute(MEMBERS, {"parent": parent}).one()
    return int(row.ended or 0), int(row.total)


def wake_group(tx: Tx, parent: str) -> None:
    """One of the group has ended: if it was the last one, somebody looks at the group now."""
    ended, total = members(tx, parent)
    if ended == total:
        wake(tx, parent)


def find(tx: Tx, identifier: str, *, lock: bool = False) -> Operation | None:
    """One operation by its id. `lock`: nobody takes or changes it until this transaction has ended."""
    wanted = select(operation).where(operation.c.id == identifier)
    row = tx.execute(wanted.with_for_update() if lock else wanted).first()
    return entity(Operation, row) if row else None


NOTE_OWNER = text("UPDATE disk SET owner = :owner WHERE id = :disk RETURNING id")


def note_owner(tx: Tx, disk: str, owner: str | None) -> bool:
    """Write down which client exports a disk; False if there is no such disk."""
    return tx.execute(NOTE_OWNER, {"disk": disk, "owner": owner}).first() is not None


def pending(tx: Tx, kind: str, field: str) -> set[str]:
    """The values of one field of the commands of that type that have not ended."""
    return {one[field] for one in commands(tx, kind)}


def commands(tx: Tx, kind: str) -> list[dict[str, Any]]:
    """The commands of that type that have not ended."""
    query = select(operation.c.command).where(operation.c.type == kind, operation.c.ended_at.is_(None))
    return [row.command for row in tx.execute(query)]


def keys(tx: Tx, identifier: str) -> set[str]:
    """The keys that an operation has stood in line for, until it ends."""
    query = select(operation_key.c.key).where(operation_key.c.operation == identifier, operation_key.c.exclusive)
    return set(tx.execute(query).scalars())


def begun(tx: Tx, keys: Sequence[str]) -> set[str]:
    """Which of the keys an operation that has begun has exclusively: what is urgent waits for it."""
    mine = operation_key.c.key.in_(keys) & operation_key.c.exclusive & operation_key.c.started.is_(True)
    return set(tx.execute(select(operation_key.c.key).where(mine)).scalars())


def forget(tx: Tx, before: datetime) -> int:
    """Delete operations that ended before that time; how many."""
    return int(tx.execute(delete(operation).where(operation.c.ended_at < before)).rowcount)
