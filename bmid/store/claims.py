"""Claims: exclusive rights as rows. A right passes on by a higher epoch, and epochs never go back.

A holder is one running instance of a head; it renews all of its claims at once. Who has lost a claim finds out
before the next call and at the next commit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Table, bindparam, or_, select, text, update

from bmid.errors import ClaimLost
from bmid.model.claim import Held
from bmid.store.column import Instant
from bmid.store.database import Tx
from bmid.store.rows import per_dialect
from bmid.store.schema import claim, operation

__all__ = [
    "ClaimRow",
    "break_all",
    "held",
    "release",
    "release_others",
    "release_roles",
    "renew",
    "take",
    "take_role",
    "verify",
]

_MINE = "SELECT key, epoch, expires_at FROM claim WHERE operation = :operation AND holder = :holder"
HELD = text(_MINE).columns(expires_at=Instant)
LOCKED = text(f"{_MINE} FOR UPDATE").columns(expires_at=Instant)
ROLE = text("SELECT expires_at FROM claim WHERE key = :key AND holder = :holder").columns(expires_at=Instant)


@per_dialect
def TAKE(insert: Callable[[Table], Any]) -> Any:  # noqa: N802 - a statement, like those beside it
    """Insert the claim, or take it over where it is free."""
    statement = insert(claim)
    fresh = {name: statement.excluded[name] for name in ("holder", "operation", "expires_at")}
    free = or_(claim.c.holder.is_(None), claim.c.expires_at < bindparam("moment", type_=Instant))
    change = statement.on_conflict_do_update(
        index_elements=["key"], set_={"epoch": claim.c.epoch + 1, **fresh}, where=free
    )
    return change.returning(claim.c.epoch)


def take(tx: Tx, keys: Sequence[str], holder: str, lease: float, purpose: str | None) -> tuple[Held, ...] | None:
    """Take all keys, or none: None where one of them is held by somebody whose lease runs on."""
    until = tx.now + timedelta(seconds=lease)
    row = {"epoch": 1, "holder": holder, "operation": purpose, "expires_at": until, "moment": tx.now}
    held = []
    for key in keys:
        taken = tx.execute(TAKE(tx), row | {"key": key}).first()
        if taken is None:
            return None
        held.append(Held(key, taken.epoch))
    return tuple(held)


def verify(tx: Tx, held: Iterable[Held], holder: str, purpose: str, *, keep: bool = False) -> float:
    """ClaimLost, unless every claim is still ours under the epoch that we took it with; for how many seconds more it
    will be, if nobody renews it. `keep`: and it stays so until this transaction has ended, also where somebody takes
    away what a dead head held."""
    statement = LOCKED if keep and tx.connection.dialect.name == "postgresql" else HELD
    found = tx.execute(statement, {"operation": purpose, "holder": holder})
    ours: dict[tuple[str, int], datetime] = {(row.key, row.epoch): row.expires_at for row in found}
    lost = [one.key for one in held if (one.key, one.epoch) not in ours]
    if lost:
        raise ClaimLost(f"the claim on {', '.join(lost)} has passed on")
    return min((ours[one.key, one.epoch] - tx.now).total_seconds() for one in held)


RELEASE = text(
    "UPDATE claim SET holder = NULL, operation = NULL, expires_at = NULL WHERE operation = :o AND holder = :h"
)
DELETE = text("DELETE FROM claim WHERE key = :key AND holder = :h")


def release(tx: Tx, purpose: str, holder: str, *, ended: bool = False) -> None:
    """Give back all claims of an operation. Rows of things stay, for their epochs; that of an ended operation goes."""
    if ended:
        tx.execute(DELETE, {"key": f"operation:{purpose}", "h": holder})
    tx.execute(RELEASE, {"o": purpose, "h": holder})


@dataclass(frozen=True)
class ClaimRow:
    """A claim that somebody holds. `operation` None: a role of a head."""

    key: str
    epoch: int
    holder: str
    operation: str | None
    expires_at: datetime


def held(tx: Tx) -> list[ClaimRow]:
    """All claims that somebody holds, whether their leases run on or not."""
    query = select(claim.c.key, claim.c.epoch, claim.c.holder, claim.c.operation, claim.c.expires_at)
    return [ClaimRow(*row) for row in tx.execute(query.where(claim.c.holder.is_not(None)).order_by(claim.c.key))]


def break_all(tx: Tx, one: ClaimRow) -> list[str]:
    """Take a claim from its holder, and those that it holds for the same operation; their keys. The epochs go up now,
    so that it is the old holder in no way any more, also where nobody takes them again."""
    whole = (claim.c.operation == one.operation) if one.operation else (claim.c.key == one.key)
    free = update(claim).where(whole, claim.c.holder == one.holder)
    rows = tx.execute(
        free.values(epoch=claim.c.epoch + 1, holder=None, operation=None, expires_at=None).returning(claim.c.key)
    )
    return sorted(rows.scalars())


def renew(tx: Tx, holder: str, purposes: Sequence[str], lease: float) -> int:
    """Prolong the claims of the operations that this instance works on right now; how many claims that is.

    What a transaction of a worker has locked is left out: it ends or begins there. Waiting for it, with other rows
    locked here, would be a deadlock each few seconds.
    """
    until = tx.now + timedelta(seconds=lease)
    mine = claim.c.operation.in_(purposes) & (claim.c.holder == holder)
    keys = select(claim.c.key).where(mine).with_for_update(skip_locked=True)
    held = select(claim.c.operation).where(mine)
    idle = select(operation.c.id).where(operation.c.id.in_(held)).with_for_update(skip_locked=True)
    tx.execute(update(operation).where(operation.c.id.in_(idle)).values(claimed_until=until))
    return int(tx.execute(update(claim).where(claim.c.key.in_(keys)).values(expires_at=until)).rowcount)


def release_others(tx: Tx, head: str, holder: str) -> int:
    """Free what earlier instances of this head held. Only where this head is known to run once."""
    stale = claim.c.holder.startswith(f"{head}/", autoescape=True) & (claim.c.holder != holder)
    ended = select(claim.c.operation).where(stale)
    tx.execute(update(operation).where(operation.c.id.in_(ended)).values(claimed_until=None))
    freed = update(claim).where(stale).values(holder=None, operation=None, expires_at=None)
    return int(tx.execute(freed).rowcount)


def release_roles(tx: Tx, holder: str) -> None:
    """Give back all roles: whoever asks next has them. For an instance that is about to end."""
    mine = claim.c.key.startswith("role:") & (claim.c.holder == holder)
    tx.execute(update(claim).where(mine).values(holder=None, operation=None, expires_at=None))


def take_role(tx: Tx, role: str, holder: str, lease: float) -> bool:
    """Have a role that one head has at a time: renewed if it is ours, taken if it is free."""
    key = f"role:{role}"
    mine = tx.execute(ROLE, {"key": key, "holder": holder}).first()
    if mine is not None and mine.expires_at > tx.now + timedelta(seconds=lease / 2):
        return True
    if mine is not None and mine.expires_at >= tx.now:
        # Between the look and the update it may have run out, and passed on.
        still = update(claim).where(claim.c.key == key, claim.c.holder == holder)
        longer = still.values(expires_at=tx.now + timedelta(seconds=lease)).returning(claim.c.epoch)
        if tx.execute(longer).first() is not None:
            return True
    return take(tx, [key], holder, lease, None) is not None
