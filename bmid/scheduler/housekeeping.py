"""Forgets what is old: ended operations, idempotency keys, published events, what was found on heads that are no more,
staging files that nobody awaits, and halves of exports that are done."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import structlog

from bmid.model.operation import Operation
from bmid.steps.sighting import partial_of, staged_for
from bmid.store import claims, findings, inbox, operations, outbox
from bmid.store.database import Database

__all__ = ["Housekeeping"]

log = structlog.get_logger(__name__)


class Housekeeping:
    """Jobs that keep a head and the site small. `holder` is the instance's name on claims. What all heads share is
    tidied up by one of them at a time, what is a head's own by itself."""

    def __init__(
        self, database: Database, holder: str, staging: Path, retention_days: float, exports: Path | None = None
    ) -> None:
        self._database = database
        self._holder = holder
        self._staging = staging
        self._exports = exports
        self._retention = timedelta(days=retention_days)

    def forget(self) -> None:
        """Delete rows past their retention; one head does it at a time."""
        with self._database.write() as tx:
            if not claims.take_role(tx, "housekeeping", self._holder, 600):
                return
            before = tx.now - self._retention
            gone = {
                "operations": operations.forget(tx, before),
                "keys": inbox.forget(tx, before),
                "events": outbox.forget(tx, before),
                "findings": findings.forget(tx, before),
            }
        if any(gone.values()):
            log.info("history.forgotten", **gone)

    def sweep(self) -> None:
        """Delete what was left behind of operations that have ended: staging files, which a kill leaves, and the hidden
        halves of exports, which another head wrote to its own folder in the end. A half that no row knows may be
        another site's: it has its quarantine."""
        for path, one in self._operations(self._staging, staged_for):
            if one is None or one.ended_at:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
                log.info("staging.swept", operation=staged_for(path.name))
        for path, one in self._operations(self._exports, partial_of):
            if one is not None and one.ended_at:
                path.unlink(missing_ok=True)
                log.info("export.swept", operation=one.id)

    def _operations(
        self, folder: Path | None, operation_of: Callable[[str], str | None]
    ) -> Iterator[tuple[Path, Operation | None]]:
        """What lies in a folder and is named by an operation, with its row."""
        if folder is None or not folder.is_dir():
            return
        names = {path: name for path in folder.iterdir() if (name := operation_of(path.name)) is not None}
        with self._database.read() as tx:
            rows = {name: operations.find(tx, name) for name in names.values()}
        yield from ((path, rows[name]) for path, name in names.items())
