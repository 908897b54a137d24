"""The inbox: which messages have been answered. (user, source, id) is the idempotency key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Table, bindparam, delete, select, update

from bmid.store.database import Tx
from bmid.store.rows import per_dialect
from bmid.store.schema import inbox

__all__ = ["Known", "answered", "forget", "insert", "operation_of"]


@dataclass(frozen=True)
class Known:
    """What an earlier copy of the message led to: an operation, or one event (a rejection)."""

    digest: str
    operation: str | None
    event: str | None


@per_dialect
def INSERT(insert: Callable[[Table], Any]) -> Any:  # noqa: N802 - a statement
    """Insert the key, unless it is there."""
    return insert(inbox).on_conflict_do_nothing().returning(inbox.c.message)


ANSWER = (
    update(inbox)
    .where(
        inbox.c.user == bindparam("sender"),
        inbox.c.source == bindparam("origin"),
        inbox.c.message == bindparam("identifier"),
    )
    .values(operation=bindparam("led_to"), event=bindparam("answer"))
)


def insert(tx: Tx, user: str, source: str, message: str, digest: str) -> Known | None:
    """Note the message; what is known of an earlier copy, or None if this is the first."""
    row = {"user": user, "source": source, "message": message, "digest": digest, "received_at": tx.now}
    if tx.execute(INSERT(tx), row).first() is not None:
        return None
    same = (inbox.c.user == user) & (inbox.c.source == source) & (inbox.c.message == message)
    found = tx.execute(select(inbox).where(same)).one()
    return Known(found.digest, found.operation, found.event)


def answered(tx: Tx, user: str, source: str, message: str, *, operation: str | None, event: str | None) -> None:
    """Note what the message led to."""
    key = {"sender": user, "origin": source, "identifier": message}
    tx.execute(ANSWER, key | {"led_to": operation, "answer": event})


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
