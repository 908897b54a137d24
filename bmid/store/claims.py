"""Claims: exclusive rights as rows. A right passes on by a higher epoch, and epochs never go back.

A holder is one running instance of a head; it renews all of its claims at once. Who has lost a claim finds out
before the next call and at the next commit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import delete, or_, select, text, update

from bmid.errors import ClaimLost
from bmid.model.claim import Held
from bmid.store.database import Tx
from bmid.store.rows import upsert
from bmid.store.schema import claim, operation

__all__ = ["release", "release_others", "renew", "take", "take_role", "verify"]

HELD = text("SELECT key, epoch FROM claim WHERE operation = :operation AND holder = :holder")


def take(tx: Tx, keys: Sequence[str], holder: str, lease: float, purpose: str | None) -> tuple[Held, ...] | None:
    """Take all keys, or none: None where one of them is held by somebody whose lease runs on."""
    free = or_(claim.c.holder.is_(None), claim.c.expires_at < tx.now)
    until = tx.now + timedelta(seconds=lease)
    held = []
    for key in keys:
        statement = upsert(tx, claim).values(key=key, epoch=1, holder=holder, operation=purpose, expires_at=until)
        taken = statement.on_conflict_do_update(
            index_elements=["key"],
            set_={"epoch": claim.c.epoch + 1, "holder": holder, "operation": purpose, "expires_at": until},
            where=free,
        ).returning(claim.c.epoch)
        row = tx.execute(taken).first()
        if row is None:
            return None
        held.append(Held(key, row.epoch))
    return tuple(held)


def verify(tx: Tx, held: Iterable[Held], holder: str, purpose: str) -> None:
    """ClaimLost, unless every claim is still ours under the epoch that we took it with."""
    ours = {(row.key, row.epoch) for row in tx.execute(HELD, {"operation": purpose, "holder": holder})}
    lost = [one.key for one in held if (one.key, one.epoch) not in ours]
    if lost:
        raise ClaimLost(f"the claim on {', '.join(lost)} has passed on")


def release(tx: Tx, purpose: str, holder: str, *, ended: bool = False) -> None:
    """Give back all claims of an operation. Rows of things stay, for their epochs; that of an ended operation goes."""
    mine = (claim.c.operation == purpose) & (claim.c.holder == holder)
    if ended:
        tx.execute(delete(claim).where(mine, claim.c.key == f"operation:{purpose}"))
    tx.execute(update(claim).where(mine).values(holder=None, operation=None, expires_at=None))


def renew(tx: Tx, holder: str, purposes: Sequence[str], lease: float) -> int:
    """Prolong the claims of the operations that this instance works on right now; how many claims that is."""
    until = tx.now + timedelta(seconds=lease)
    mine = claim.c.operation.in_(purposes) & (claim.c.holder == holder)
    held = select(claim.c.operation).where(mine)
    tx.execute(update(operation).where(operation.c.id.in_(held)).values(claimed_until=until))
    return int(tx.execute(update(claim).where(mine).values(expires_at=until)).rowcount)


def release_others(tx: Tx, head: str, holder: str) -> int:
    """Free what earlier instances of this head held. Only where this head is known to run once."""
    stale = claim.c.holder.startswith(f"{head}/", autoescape=True) & (claim.c.holder != holder)
    ended = select(claim.c.operation).where(stale)
    tx.execute(update(operation).where(operation.c.id.in_(ended)).values(claimed_until=None))
    freed = update(claim).where(stale).values(holder=None, operation=None, expires_at=None)
    return int(tx.execute(freed).rowcount)


def take_role(tx: Tx, role: str, holder: str, lease: float) -> bool:
    """Have a role that one head has at a time: renewed if it is ours, taken if it is free."""
    until = tx.now + timedelta(seconds=lease)
    key = f"role:{role}"
    mine = (claim.c.key == key) & (claim.c.holder == holder) & (claim.c.expires_at >= tx.now)
    if tx.execute(update(claim).where(mine).values(expires_at=until).returning(claim.c.epoch)).first():
        return True
    return take(tx, [key], holder, lease, None) is not None
