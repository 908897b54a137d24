"""Where the upload listener asks which uploads are awaited, and tells that one is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bmid.store import uploads
from bmid.store.database import Database

__all__ = ["UploadDesk", "UploadSlot"]


@dataclass(frozen=True)
class UploadSlot:
    """One awaited upload: whose token opens it, where its bytes go, how many there may be."""

    token_sha256: str
    path: Path
    limit: int
    complete: bool


class UploadDesk:
    """Awaited uploads of this head."""

    def __init__(self, database: Database, head: str, staging: Path, notify: Callable[[], None]) -> None:
        self._database = database
        self._head = head
        self._staging = staging
        self._notify = notify

    def find(self, operation: str) -> UploadSlot | None:
        """The upload that an operation awaits, if it does so here: another head would never find the bytes."""
        with self._database.read() as tx:
            found = uploads.find(tx, operation)
        if found is None or found.home != self._head:
            return None
        return UploadSlot(found.token_sha256, self._staging / found.operation, found.limit, found.complete)

    def complete(self, operation: str, size: int) -> None:
        """The bytes are there."""
        with self._database.write() as tx:
            uploads.complete(tx, operation, size)
        self._notify()
