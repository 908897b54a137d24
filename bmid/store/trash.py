"""What lies in the trash, as rows: what may go for good, and what explains an entry. Nothing is emptied here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, exists, func, select, update

from bmid.store import schema
from bmid.store.database import Tx
from bmid.store.outbox import take_number

__all__ = ["due", "expire", "explained", "forget", "kept"]

TRASH = schema.trash.c


def _absent() -> Sequence[ColumnElement[bool]]:
    """Nothing in the trash was made of it any more, and it is not on its way back."""
    child = schema.trash.alias("child")
    return (
        ~exists().where(child.c.parent == TRASH.id),
        ~exists().where(schema.image.c.id == TRASH.id),
        ~exists().where(schema.disk.c.id == TRASH.id),
    )


def due(tx: Tx, before: datetime, limit: int) -> Sequence[str]:
    """Ids of what expired before that moment and may go now, the first to expire first. What hangs on another goes
    before it."""
    rows = select(TRASH.id).where(TRASH.expires_at < before, *_absent())
    return list(tx.execute(rows.order_by(TRASH.expires_at, TRASH.id).limit(limit)).scalars())


def kept(tx: Tx) -> tuple[int, datetime | None]:
    """How many things are in the trash, and when the next of them expires."""
    count, first = tx.execute(select(func.count(), func.min(TRASH.expires_at))).one()
    return int(count), first


def expire(tx: Tx, older_than: float, project: str | None = None) -> tuple[int, int]:
    """What was removed so many days ago expires now; how much that is, in things and in bytes as nodes saw them."""
    wanted = [TRASH.expires_at > tx.now, TRASH.removed_at <= tx.now - timedelta(days=older_than)]
    if project is not None:
        wanted.append(TRASH.project == project)
    # In the line with restores: whoever plans one has written its row, or sees that it is too late.
    take_number(tx, "target")
    changed = tx.execute(update(schema.trash).where(*wanted).values(expires_at=tx.now).returning(TRASH.size))
    sizes = list(changed.scalars())
    return len(sizes), sum(sizes)


def explained(tx: Tx) -> Collection[str]:
    """Ids of all that has a row, as what it is or as what it was."""
    # In this order: what is removed meanwhile, or brought back, is seen at least once.
    tables = (schema.image, schema.disk, schema.trash, schema.image, schema.disk)
    return {identity for table in tables for identity in tx.execute(select(table.c.id)).scalars()}


def forget(tx: Tx, identity: str) -> None:
    """The row goes, after the bytes."""
    tx.execute(delete(schema.trash).where(TRASH.id == identity))
