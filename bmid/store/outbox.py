"""The outbox: events are rows of the transaction that makes them true, and leave in order.

An event keeps its id and its place for as long as it is kept, so that it can be published again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Table, bindparam, delete, func, insert, select, text, update

from bmid.messages.base import Event
from bmid.messages.envelope import Envelope
from bmid.model.ident import uuid7
from bmid.store.column import Instant
from bmid.store.database import Conflict, Tx
from bmid.store.rows import per_dialect
from bmid.store.schema import counter, identity, outbox

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
    """An event that waits for the relay. `asked` counts how often it was asked for again."""

    id: int
    event: str
    type: str
    routing_key: str
    envelope: dict[str, Any]
    position: int
    asked: int


def _raised(insert: Callable[[Table], Any], first: Any) -> Any:
    """Raise a counter by `by`; where there is none it begins behind `first`."""
    by = bindparam("by", type_=BigInteger)
    statement = insert(counter).values(name=bindparam("name"), value=by + first)
    more = {"value": counter.c.value + by}
    return statement.on_conflict_do_update(index_elements=["name"], set_=more).returning(counter.c.value)


@per_dialect
def RAISE(insert: Callable[[Table], Any]) -> Any:  # noqa: N802 - a statement
    """What counts from 1."""
    return _raised(insert, 0)


@per_dialect
def COUNT(insert: Callable[[Table], Any]) -> Any:  # noqa: N802 - a statement
    """What counts events: from the site's epoch on."""
    return _raised(insert, func.coalesce(select(identity.c.epoch).limit(1).scalar_subquery(), 0))


INSERT = insert(outbox)
UNNUMBERED = select(outbox.c.id).where(outbox.c.position.is_(None)).order_by(outbox.c.id).limit(bindparam("most"))
PLACE = (
    update(outbox)
    .where(outbox.c.id == bindparam("row"), outbox.c.position.is_(None))
    .values(position=bindparam("place"))
)
PLACED = select(func.count()).where(outbox.c.position.between(bindparam("first"), bindparam("last")))
WAITING = text("SELECT 1 FROM outbox WHERE published_at IS NULL LIMIT 1")
UNPUBLISHED = (
    select(outbox)
    .where(outbox.c.published_at.is_(None), outbox.c.position.is_not(None))
    .order_by(outbox.c.position)
    .limit(bindparam("most"))
)
# An event that was asked for once more while it was on its way out goes out once more.
MARK = text("UPDATE outbox SET published_at = :moment, unrouted = :lost WHERE id = :row AND asked = :asked").bindparams(
    bindparam("moment", type_=Instant), bindparam("lost", type_=Boolean)
)


def take_number(tx: Tx, name: str) -> int:
    """Raise the counter of that name and return it: 1, 2, 3... for ever."""
    return int(tx.execute(RAISE(tx), {"name": name, "by": 1}).scalar_one())


def _count(tx: Tx, name: str, by: int) -> int:
    return int(tx.execute(COUNT(tx), {"name": name, "by": by}).scalar_one())


def emit(tx: Tx, event: Event, cause: Cause) -> str:
    """Write the event down; returns its id. It goes out after the commit."""
    number = _count(tx, f"event:{event.subject()}", 1)
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
    row = {
        "event": identifier,
        "type": event.type,
        "routing_key": f"{event.type}.{getattr(event, 'project', None) or '-'}",
        "envelope": {**envelope.attributes(), "data": envelope.data},
        "operation": cause.operation,
        "created_at": tx.now,
        "asked": 0,
        "unrouted": False,
    }
    tx.execute(INSERT, row)
    return identifier


def assign(tx: Tx, limit: int) -> int:
    """Give positions to events that have none, in outbox order; how many."""
    rows = [row.id for row in tx.execute(UNNUMBERED, {"most": limit})]
    if rows:
        last = _count(tx, "position", len(rows))
        _place(tx, rows, last - len(rows) + 1)
    return len(rows)


def _place(tx: Tx, rows: Sequence[int], first: int) -> None:
    """Conflict, where another head has given one of them its position since they were looked for: whoever relays may
    have been frozen in the middle of this, and what has a position keeps it."""
    tx.execute(PLACE, [{"row": row, "place": first + index} for index, row in enumerate(rows)])
    if tx.execute(PLACED, {"first": first, "last": first + len(rows) - 1}).scalar_one() < len(rows):
        raise Conflict


def unpublished(tx: Tx, limit: int) -> Sequence[Unpublished]:
    """Events with a position that have not been confirmed, oldest first."""
    return [
        Unpublished(row.id, row.event, row.type, row.routing_key, row.envelope, row.position, row.asked)
        for row in tx.execute(UNPUBLISHED, {"most": limit})
    ]


def waiting(tx: Tx) -> bool:
    """Whether there is anything to publish. Cheap."""
    return tx.execute(WAITING).first() is not None


def mark(tx: Tx, events: Sequence[Unpublished], *, unrouted: bool) -> None:
    """The broker has confirmed them, into at least one queue or, unrouted, into none."""
    if events:
        rows = [{"row": one.id, "asked": one.asked, "moment": tx.now, "lost": unrouted} for one in events]
        tx.execute(MARK, rows)


def again(tx: Tx, *, events: Sequence[str] = (), operation: str | None = None, types: Sequence[str] = ()) -> None:
    """Publish events once more, under their old ids."""
    change = update(outbox).values(published_at=None, asked=outbox.c.asked + 1)
    if operation is not None:
        change = change.where(outbox.c.operation == operation, outbox.c.type.in_(types))
    else:
        change = change.where(outbox.c.event.in_(events))
    tx.execute(change)


def forget(tx: Tx, before: datetime) -> int:
    """Delete published events of before that time; how many."""
    for what, kept in (("operation", "SELECT id FROM operation"), ("message", "SELECT message FROM inbox")):
        # Counters of things stay for ever, those of what is forgotten itself go with it.
        prefix = f"event:{what}/"
        stale = text(f"DELETE FROM counter WHERE name LIKE :pattern AND substr(name, :start) NOT IN ({kept})")  # noqa: S608
        tx.execute(stale, {"pattern": f"{prefix}%", "start": len(prefix) + 1})
    gone = delete(outbox).where(outbox.c.created_at < before, outbox.c.published_at.is_not(None))
    return int(tx.execute(gone).rowcount)
