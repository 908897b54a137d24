"""What lies in the trash, as rows: what may go for good, and what explains an entry. Nothing is emptied here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, exists, func, select, update

from bmid.store import schema
from bmid.store.database import Tx
from bmid.store.outbox import take_number

__all__ = ["Thrown", "begun", "due", "expire", "explained", "forget", "hush", "kept"]

TRASH = schema.trash.c


def _absent() -> Sequence[ColumnElement[bool]]:
    """Nothing in the trash was made of it any more, and it is not on its way back."""
    child = schema.trash.alias("child")
    return (
        ~exists().where(child.c.parent == TRASH.id),
        ~exists().where(schema.image.c.id == TRASH.id),
        ~exists().where(schema.disk.c.id == TRASH.id),
    )


def due(tx: Tx, before: datetime, limit: int, tried: Collection[str] = ()) -> Sequence[str]:
    """Ids of what expired before that moment and may go now, the first to expire first, but for what was tried. What
    hangs on another goes before it."""
    rows = select(TRASH.id).where(TRASH.expires_at < before, TRASH.id.not_in(list(tried)), *_absent())
    return list(tx.execute(rows.order_by(TRASH.expires_at, TRASH.id).limit(limit)).scalars())


def kept(tx: Tx) -> tuple[int, datetime | None]:
    """How many things are in the trash, and when the next of them expires."""
    count, first = tx.execute(select(func.count(), func.min(TRASH.expires_at))).one()
    return int(count), first


class Thrown(NamedTuple):
    """What it is, whose, and its bytes as nodes saw them."""

    kind: str
    project: str
    size: int


def expire(tx: Tx, before: datetime, project: str | None = None) -> Sequence[Thrown]:
    """What was removed until then expires now; all of it."""
    wanted = [TRASH.expires_at > tx.now, TRASH.removed_at <= before]
    if project is not None:
        wanted.append(TRASH.project == project)
    # In the line with restores: whoever plans one has written its row, or sees that it is too late.
    take_number(tx, "target")
    told = (TRASH.kind, TRASH.project, TRASH.size)
    changed = tx.execute(update(schema.trash).where(*wanted).values(expires_at=tx.now).returning(*told))
    return [Thrown(*row) for row in changed]


def explained(tx: Tx) -> Collection[str]:
    """Ids of all that has a row, as what it is or as what it was."""
    # In this order: what is removed meanwhile, or brought back, is seen at least once.
    tables = (schema.image, schema.disk, schema.trash, schema.image, schema.disk)
    return {identity for table in tables for identity in tx.execute(select(table.c.id)).scalars()}


def begun(tx: Tx) -> Collection[str]:
    """Ids of all operations that are remembered: what is called like one was made by it, and so by this site."""
    return set(tx.execute(select(schema.operation.c.id)).scalars())


def hush(tx: Tx, before: datetime) -> int:
    """The seeds of what expired before that moment go, with the secrets in them: they were kept for a restore, and
    there is none any more. How many."""
    rows = select(TRASH.id, TRASH.row).where(TRASH.expires_at < before, TRASH.kind == "disk")
    told = [(one.id, one.row) for one in tx.execute(rows) if one.row.get("seed")]
    for identity, row in told:
        tx.execute(update(schema.trash).where(TRASH.id == identity).values(row={**row, "seed": None}))
    return len(told)


def forget(tx: Tx, identity: str) -> None:
    """The row goes, after the bytes."""
    tx.execute(delete(schema.trash).where(TRASH.id == identity))
