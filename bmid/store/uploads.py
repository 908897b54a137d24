"""Uploads that are awaited: whose token opens them, how much may come, whether it has come."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, select, update

from bmid.store import operations
from bmid.store.database import Tx
from bmid.store.schema import upload

__all__ = ["Upload", "complete", "find", "open_slot"]


@dataclass(frozen=True)
class Upload:
    """One awaited upload. Sizes in bytes; `home` is the head that awaits it."""

    operation: str
    home: str | None
    token_sha256: str
    limit: int
    size: int | None

    @property
    def complete(self) -> bool:
        """Whether the bytes are there."""
        return self.size is not None


def open_slot(tx: Tx, operation: str, token_sha256: str, limit: int) -> None:
    """Await bytes for this operation."""
    tx.execute(insert(upload).values(operation=operation, token_sha256=token_sha256, size_limit=limit))


def find(tx: Tx, operation: str) -> Upload | None:
    """The upload that this operation awaits, while it isn't over."""
    row = tx.execute(select(upload).where(upload.c.operation == operation)).first()
    found = operations.find(tx, operation)
    if row is None or found is None or found.ended_at is not None:
        return None
    return Upload(row.operation, found.home, row.token_sha256, row.size_limit, row.size)


def complete(tx: Tx, operation: str, size: int) -> None:
    """The bytes are there, whole: the operation may go on."""
    tx.execute(update(upload).where(upload.c.operation == operation).values(size=size, completed_at=tx.now))
    operations.wake(tx, operation)
