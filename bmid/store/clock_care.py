"""What is done where the database's clock went back: what lies ahead by the old time would wait for the new one.

Whether it went back, the keeper finds out.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update

from bmid.store.database import Tx
from bmid.store.operations import ACTIVE
from bmid.store.schema import claim, head, operation

__all__ = ["set_right"]


def set_right(tx: Tx, lease: float) -> None:
    """Look at all that waits now, let no claim run on for longer than a lease, and nobody be seen in the future."""
    now, longest = tx.now, tx.now + timedelta(seconds=lease)
    waits = operation.c.phase.in_(ACTIVE) & (operation.c.due_at > now)
    tx.execute(update(operation).where(waits).values(due_at=now))
    failed = operation.c.phase.in_(ACTIVE) & (operation.c.first_failed_at > now)
    tx.execute(update(operation).where(failed).values(first_failed_at=now))
    tx.execute(update(operation).where(operation.c.claimed_until > longest).values(claimed_until=longest))
    tx.execute(update(claim).where(claim.c.expires_at > longest).values(expires_at=longest))
    tx.execute(update(head).where(head.c.seen_at > now).values(seen_at=now))
