"""Operations: accepted, taken in order, waited for, ended. Whose turn it is, one query says.

An operation holds its keys from acceptance to its end: later ones that want the same key stand behind it, whether
it runs, waits or is stuck. Claims only say which worker acts right now.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, exists, insert, or_, select, update

from bmid.model.claim import Held, Key
from bmid.model.operation import FINAL, Operation, Phase
from bmid.store import claims
from bmid.store.database import Tx
from bmid.store.outbox import take_number
from bmid.store.rows import columns, entity
from bmid.store.schema import disk as disk_table
from bmid.store.schema import operation, operation_key

__all__ = [
    "Busy",
    "accept",
    "change",
    "end",
    "find",
    "forget",
    "note_owner",
    "pending",
    "start",
    "take",
    "unfinished",
    "wake",
]


class Busy(Exception):
    """The operation's turn has come, but somebody's claim on one of its keys has not run out yet."""

    def __init__(self, operation: str) -> None:
        super().__init__(operation)
        self.operation = operation


ACTIVE = (Phase.PENDING, Phase.RUNNING, Phase.REVERTING)


def accept(tx: Tx, new: Operation, keys: Sequence[Key]) -> Operation:
    """Write the operation down, behind all others; returns it with its place in the line."""
    seq = take_number(tx, "operation")
    row = columns(new) | {"seq": seq}
    tx.execute(insert(operation).values(row))
    if keys:
        lines = [
            {"operation": new.id, "key": key.name, "exclusive": key.exclusive, "seq": seq, "started": False}
            for key in keys
        ]
        tx.execute(insert(operation_key), lines)
    return entity(Operation, tx.execute(select(operation).where(operation.c.id == new.id)).one())


def _behind() -> Any:
    """True for an operation that another one stands before, or runs already, with a key that both want."""
    mine, other = operation_key.alias("mine"), operation_key.alias("other")
    same = (mine.c.operation == operation.c.id) & (other.c.key == mine.c.key) & (other.c.operation != operation.c.id)
    before = or_(other.c.seq < mine.c.seq, other.c.started)
    behind_exclusive = exists().where(same, other.c.exclusive.is_(True), before)
    exclusive_behind = exists().where(same, mine.c.exclusive.is_(True), before)
    return or_(behind_exclusive, exclusive_behind)


BEHIND = _behind()


def take(tx: Tx, head: str, holder: str, lease: float) -> tuple[Operation, tuple[Held, ...]] | None:
    """The oldest operation that is due, free and ours to run, with its claims; None if there is none."""
    query = (
        select(operation)
        .where(
            operation.c.phase.in_(ACTIVE),
            operation.c.due_at <= tx.now,
            or_(operation.c.home.is_(None), operation.c.home == head),
            or_(operation.c.claimed_until.is_(None), operation.c.claimed_until < tx.now),
            ~BEHIND,
        )
        .order_by(operation.c.seq)
        .limit(1)
        .with_for_update(of=operation, skip_locked=True)
    )
    row = tx.execute(query).first()
    if row is None:
        return None
    wanted = select(operation_key.c.key).where(operation_key.c.operation == row.id, operation_key.c.exclusive)
    keys = [f"operation:{row.id}", *sorted(one.key for one in tx.execute(wanted))]
    held = claims.take(tx, keys, holder, lease, row.id)
    if held is None:
        raise Busy(row.id)
    until = tx.now + timedelta(seconds=lease)
    tx.execute(update(operation).where(operation.c.id == row.id).values(claimed_until=until))
    return entity(Operation, row), held


def start(tx: Tx, identifier: str, plan: dict[str, Any], home: str | None) -> None:
    """Keep the plan; from now on nobody may run before it on its keys."""
    values = {"phase": Phase.RUNNING, "plan": plan, "home": home}
    tx.execute(update(operation).where(operation.c.id == identifier).values(values))
    tx.execute(update(operation_key).where(operation_key.c.operation == identifier).values(started=True))


def change(tx: Tx, identifier: str, **values: Any) -> None:
    """Set columns of one operation."""
    tx.execute(update(operation).where(operation.c.id == identifier).values(values))


def end(tx: Tx, identifier: str, phase: Phase, problem: dict[str, Any] | None) -> None:
    """The operation is over; those behind it may go on."""
    values = {"phase": phase, "problem": problem, "ended_at": tx.now, "claimed_until": None, "why": ""}
    tx.execute(update(operation).where(operation.c.id == identifier).values(values))
    tx.execute(delete(operation_key).where(operation_key.c.operation == identifier))


def wake(tx: Tx, identifier: str) -> None:
    """Look at it again now, instead of when it meant to."""
    change(tx, identifier, due_at=tx.now)


def find(tx: Tx, identifier: str) -> Operation | None:
    """One operation by its id."""
    row = tx.execute(select(operation).where(operation.c.id == identifier)).first()
    return entity(Operation, row) if row else None


def note_owner(tx: Tx, disk: str, owner: str | None) -> bool:
    """Write down which client exports a disk; False if there is no such disk."""
    change_row = update(disk_table).where(disk_table.c.id == disk).values(owner=owner)
    return tx.execute(change_row.returning(disk_table.c.id)).first() is not None


def pending(tx: Tx, kind: str, field: str) -> set[str]:
    """The values of one field of the commands of that type that have not ended."""
    query = select(operation.c.command).where(operation.c.type == kind, operation.c.phase.not_in(FINAL))
    return {row.command[field] for row in tx.execute(query)}


def unfinished(tx: Tx, keys: Sequence[str]) -> set[str]:
    """Which of the keys an unfinished operation wants exclusively."""
    query = select(operation_key.c.key).where(operation_key.c.key.in_(keys), operation_key.c.exclusive)
    return {row.key for row in tx.execute(query)}


def forget(tx: Tx, before: datetime) -> int:
    """Delete operations that ended before that time; how many."""
    return int(tx.execute(delete(operation).where(operation.c.ended_at < before)).rowcount)
