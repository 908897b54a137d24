"""What is done where the database's clock went back: what lies ahead by the old time would wait for the new one.

Whether it went back, the keeper finds out.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import Column, func, or_, select, update

from bmid.store.database import Tx
from bmid.store.operations import ACTIVE
from bmid.store.schema import claim, head, operation

__all__ = ["set_right"]


def set_right(tx: Tx, lease: float) -> int:
    """Look at all that waits now, let no claim run on for longer than a lease, and nobody be seen in the future. How
    much still lies ahead.

    What somebody has locked is passed by: waiting for a worker with so many rows locked here would be a deadlock, again
    and again. That worker may write times of before as well, so whoever asks for this has to ask again.
    """
    now, longest = tx.now, tx.now + timedelta(seconds=lease)
    active = operation.c.phase.in_(ACTIVE)
    _write(tx, operation.c.id, active & (operation.c.due_at > now), due_at=now)
    _write(tx, operation.c.id, active & (operation.c.first_failed_at > now), first_failed_at=now)
    _write(tx, operation.c.id, operation.c.claimed_until > longest, claimed_until=longest)
    _write(tx, claim.c.key, claim.c.expires_at > longest, expires_at=longest)
    _write(tx, head.c.name, head.c.seen_at > now, seen_at=now)
    waits = active & (operation.c.due_at > longest)
    far = or_(waits, active & (operation.c.first_failed_at > now), operation.c.claimed_until > longest)
    return _count(tx, operation.c.id, far) + _count(tx, claim.c.key, claim.c.expires_at > longest)


def _write(tx: Tx, key: Column[Any], which: Any, **values: Any) -> None:
    free = select(key).where(which).with_for_update(skip_locked=True)
    tx.execute(update(key.table).where(key.in_(free)).values(**values))


def _count(tx: Tx, key: Column[Any], which: Any) -> int:
    return int(tx.execute(select(func.count(key)).where(which)).scalar_one())
