"""The outbox: events are rows of the transaction that makes them true, and leave in order.

An event keeps its id and its place for as long as it is kept, so that it can be published again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from bmid.messages.base import Event
from bmid.messages.envelope import Envelope
from bmid.model.ident import uuid7
from bmid.store.database import Tx
from bmid.store.rows import upsert
from bmid.store.schema import counter, outbox

__all__ = ["Cause", "Unpublished", "again", "assign", "emit", "forget", "mark", "take_number", "unpublished", "waiting"]

SEQUENCE_DIGITS = 12  # zero-padded, so that text sorts as numbers do


@dataclass(frozen=True)
class Cause:
    """Why an event exists: ids that lead back to the message that asked for it."""

    source: str
    operation: str | None = None
    correlation: str | None = None
    causation: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True)
class Unpublished:
    """An event that waits for the relay."""

    id: int
    event: str
    type: str
    routing_key: str
    envelope: dict[str, Any]
    position: int


def take_number(tx: Tx, name: str) -> int:
    """Raise the counter of that name and return it: 1, 2, 3... for ever."""
    statement = upsert(tx, counter).values(name=name, value=1)
    raised = statement.on_conflict_do_update(index_elements=["name"], set_={"value": counter.c.value + 1})
    return int(tx.execute(raised.returning(counter.c.value)).scalar_one())


def emit(tx: Tx, event: Event, cause: Cause) -> str:
    """Write the event down; returns its id. It goes out after the commit."""
    number = take_number(tx, f"event:{event.subject()}")
    identifier = str(uuid7(tx.now, os.urandom(10)))
    envelope = Envelope(
        id=identifier,
        source=cause.source,
        type=event.type,
        time=tx.now,
        subject=event.subject(),
        correlationid=cause.correlation,
        causationid=cause.causation,
        traceparent=cause.traceparent,
        sequence=f"{number:0{SEQUENCE_DIGITS}d}",
        data=event.payload(),
    )
    tx.execute(
        insert(outbox).values(
            event=identifier,
            type=event.type,
            routing_key=f"{event.type}.{getattr(event, 'project', None) or '-'}",
            envelope={**envelope.attributes(), "data": envelope.data},
            operation=cause.operation,
            created_at=tx.now,
            unrouted=False,
        )
    )
    return identifier


def assign(tx: Tx, limit: int) -> int:
    """Give positions to events that have none, in outbox order; how many."""
    query = select(outbox.c.id).where(outbox.c.position.is_(None)).order_by(outbox.c.id).limit(limit)
    waiting = [row.id for row in tx.execute(query)]
    if not waiting:
        return 0
    statement = upsert(tx, counter).values(name="position", value=len(waiting))
    raised = statement.on_conflict_do_update(
        index_elements=["name"], set_={"value": counter.c.value + statement.excluded.value}
    )
    last = int(tx.execute(raised.returning(counter.c.value)).scalar_one())
    first = last - len(waiting) + 1
    change = update(outbox).where(outbox.c.id == bindparam("row")).values(position=bindparam("place"))
    tx.execute(change, [{"row": row, "place": first + index} for index, row in enumerate(waiting)])
    return len(waiting)


def unpublished(tx: Tx, limit: int) -> Sequence[Unpublished]:
    """Events with a position that have not been confirmed, oldest first."""
    query = (
        select(outbox)
        .where(outbox.c.published_at.is_(None), outbox.c.position.is_not(None))
        .order_by(outbox.c.position)
        .limit(limit)
    )
    return [
        Unpublished(row.id, row.event, row.type, row.routing_key, row.envelope, row.position)
        for row in tx.execute(query)
    ]


def waiting(tx: Tx) -> bool:
    """Whether there is anything to publish. Cheap."""
    return tx.execute(select(outbox.c.id).where(outbox.c.published_at.is_(None)).limit(1)).first() is not None


def mark(tx: Tx, routed: Sequence[int], unrouted: Sequence[int]) -> None:
    """The broker has confirmed them; nobody listened to the unrouted ones."""
    for keys, lost in ((routed, False), (unrouted, True)):
        if keys:
            change = update(outbox).where(outbox.c.id.in_(keys)).values(published_at=tx.now, unrouted=lost)
            tx.execute(change)


def again(tx: Tx, *, events: Sequence[str] = (), operation: str | None = None, types: Sequence[str] = ()) -> None:
    """Publish events once more, under their old ids."""
    change = update(outbox).values(published_at=None)
    if operation is not None:
        change = change.where(outbox.c.operation == operation, outbox.c.type.in_(types))
    else:
        change = change.where(outbox.c.event.in_(events))
    tx.execute(change)


def forget(tx: Tx, before: datetime) -> int:
    """Delete published events of before that time; how many."""
    gone = delete(outbox).where(outbox.c.created_at < before, outbox.c.published_at.is_not(None))
    return int(tx.execute(gone).rowcount)
