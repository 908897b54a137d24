"""The line of operations, as queries: whose turn it is, and when somebody's comes. What follows is not said here."""

from __future__ import annotations

from typing import Any

from sqlalchemy import bindparam, or_, select, text

from bmid.model.operation import Phase
from bmid.store.column import Instant
from bmid.store.schema import operation, operation_key
from bmid.store.schema.work import LEFT

__all__ = ["DUE", "FREE", "NEXT", "WANTED"]


def _behind() -> Any:
    """True for an operation that another one stands before, or runs already, with a key that both want. Nobody stands
    before what has begun.

    Each look at the line is a subquery with a limit: an EXISTS would be turned inside out by PostgreSQL, which then
    joins all that stand in the line with each other, for minutes where 10,000 do.
    """
    mine, other = operation_key.alias("mine"), operation_key.alias("other")
    line = select(other.c.seq).where(other.c.key == mine.c.key).limit(1)
    before = line.where(other.c.seq < mine.c.seq, mine.c.started.is_(False))
    begun = line.where(other.c.started.is_(True), other.c.operation != mine.c.operation)
    conflicts = or_(
        before.where(other.c.exclusive.is_(True)).scalar_subquery().is_not(None),
        mine.c.exclusive & before.where(other.c.exclusive.is_(False)).scalar_subquery().is_not(None),
        begun.where(or_(other.c.exclusive, mine.c.exclusive)).scalar_subquery().is_not(None),
    )
    found = select(mine.c.key).where(mine.c.operation == operation.c.id, conflicts).limit(1)
    return found.scalar_subquery().is_not(None)


def _expired() -> Any:
    """True for an operation that may not begin any more; then it needs no turn."""
    return (operation.c.phase == Phase.PENDING) & (operation.c.expires_at <= MOMENT)


MOMENT = bindparam("moment", type_=Instant)
NEXT = (
    select(operation)
    # In the order of the line: then the first that is free is the one, and nothing is asked about those behind it.
    .where(
        text(LEFT),
        operation.c.phase != Phase.STUCK,
        operation.c.due_at <= MOMENT,
        or_(operation.c.home.is_(None), operation.c.home == bindparam("head")),
        or_(operation.c.claimed_until.is_(None), operation.c.claimed_until < MOMENT),
        or_(_expired(), ~_behind()),
    )
    .order_by(operation.c.seq)
    .limit(1)
    .with_for_update(of=operation, skip_locked=True)
)
DUE = (
    select(operation.c.due_at)
    .where(
        text(LEFT),
        operation.c.phase != Phase.STUCK,
        operation.c.due_at > MOMENT,
        or_(operation.c.home.is_(None), operation.c.home == bindparam("head")),
    )
    .order_by(operation.c.due_at)
    .limit(1)
)
WANTED = text("SELECT key FROM operation_key WHERE operation = :operation AND exclusive ORDER BY key")
FREE = select(operation.c.id).where(operation.c.id == bindparam("operation"), ~_behind())
