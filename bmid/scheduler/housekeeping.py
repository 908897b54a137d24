"""Forgets what is old: ended operations, idempotency keys, published events, what was found on heads that are no more,
staging files that nobody awaits."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import structlog

from bmid.store import claims, findings, inbox, operations, outbox
from bmid.store.database import Database

__all__ = ["Housekeeping"]

log = structlog.get_logger(__name__)


class Housekeeping:
    """Jobs that keep a head and the site small. `holder` is the instance's name on claims. What all heads share is
    tidied up by one of them at a time, what is a head's own by itself."""

    def __init__(self, database: Database, holder: str, staging: Path, retention_days: float) -> None:
        self._database = database
        self._holder = holder
        self._staging = staging
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
        """Delete staging files of operations that have ended: what a kill left behind."""
        if not self._staging.is_dir():
            return
        names = {path: path.name.partition(".")[0] for path in self._staging.iterdir()}
        with self._database.read() as tx:
            open_ones = {name for name in names.values() if (one := operations.find(tx, name)) and not one.ended_at}
        for path, name in names.items():
            if name not in open_ones:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
                log.info("staging.swept", operation=name)
