"""The inbox: which messages have been answered. (user, source, id) is the idempotency key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, update

from bmid.store.database import Tx
from bmid.store.rows import upsert
from bmid.store.schema import inbox

__all__ = ["Known", "answered", "forget", "insert", "operation_of"]


@dataclass(frozen=True)
class Known:
    """What an earlier copy of the message led to: an operation, or one event (a rejection)."""

    digest: str
    operation: str | None
    event: str | None


def insert(tx: Tx, user: str, source: str, message: str, digest: str) -> Known | None:
    """Note the message; what is known of an earlier copy, or None if this is the first."""
    row = {"user": user, "source": source, "message": message, "digest": digest, "received_at": tx.now}
    statement = upsert(tx, inbox).values(row).on_conflict_do_nothing().returning(inbox.c.message)
    if tx.execute(statement).first() is not None:
        return None
    same = (inbox.c.user == user) & (inbox.c.source == source) & (inbox.c.message == message)
    found = tx.execute(select(inbox).where(same)).one()
    return Known(found.digest, found.operation, found.event)


def answered(tx: Tx, user: str, source: str, message: str, *, operation: str | None, event: str | None) -> None:
    """Note what the message led to."""
    same = (inbox.c.user == user) & (inbox.c.source == source) & (inbox.c.message == message)
    tx.execute(update(inbox).where(same).values(operation=operation, event=event))


def operation_of(tx: Tx, message: str, source: str | None) -> str | None:
    """The operation that a message led to."""
    query = select(inbox.c.operation).where(inbox.c.message == message)
    if source is not None:
        query = query.where(inbox.c.source == source)
    row = tx.execute(query.limit(1)).first()
    return row.operation if row else None


def forget(tx: Tx, before: datetime) -> int:
    """Delete keys from before that time; how many."""
    return int(tx.execute(delete(inbox).where(inbox.c.received_at < before)).rowcount)
