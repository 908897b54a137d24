"""Where the listener asks which exported files may be fetched from this head, with which token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmid.handlers.export_image import ExportImage
from bmid.model.operation import Phase
from bmid.steps.export import PLACED, WRITTEN
from bmid.store import operations
from bmid.store.database import Database

__all__ = ["DownloadDesk", "DownloadSlot"]


@dataclass(frozen=True)
class DownloadSlot:
    """One exported file: whose token opens it, where it is, by what it is known again."""

    token_sha256: str
    folder: Path
    name: str
    identity: Sequence[int]
    sha256: str


class DownloadDesk:
    """Files that this head has exported, as long as their operations are kept."""

    def __init__(self, database: Database, head: str, exports: Path | None) -> None:
        self._database = database
        self._head = head
        self._exports = exports

    def find(self, operation: str) -> DownloadSlot | None:
        """The file of an operation that has ended well, and whose command had a token."""
        with self._database.read() as tx:
            one = operations.find(tx, operation)
        if one is None or self._exports is None or one.type != ExportImage.type:
            return None
        to: dict[str, Any] = one.command["to"]
        if one.phase is not Phase.SUCCEEDED or one.home != self._head or not to.get("token"):
            return None
        if PLACED not in one.marks:
            return None  # a dry run
        return DownloadSlot(to["token"], self._exports, to["file"], one.marks[PLACED], one.marks[WRITTEN]["sha256"])
