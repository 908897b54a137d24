"""Sees to it that each head is looked at: soon after its start, and again and again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from bmid.handlers.reconcile_site import ReconcileSite
from bmid.messages.base import Command
from bmid.model.finding import SHARED
from bmid.store import claims, findings, heads, operations
from bmid.store.database import Database, Tx

__all__ = ["Reconciling"]

log = structlog.get_logger(__name__)
LEASE = 60.0  # seconds; six of its turns


class Reconciling:
    """One head does it for all that are alive. `holder` is its name on claims, `every` the seconds between two looks
    (0: only those that somebody asks for), `submit` makes an operation."""

    def __init__(
        self,
        database: Database,
        holder: str,
        every: float,
        dead_after: float,
        submit: Callable[[Tx, Command], str],
        notify: Callable[[], None],
    ) -> None:
        self._database = database
        self._holder = holder
        self._every = timedelta(seconds=every)
        self._dead_after = dead_after
        self._submit = submit
        self._notify = notify

    def run_once(self) -> int:
        """How many looks were asked for."""
        if not self._every:
            return 0
        with self._database.write() as tx:
            if not claims.take_role(tx, "reconcile", self._holder, LEASE):
                return 0
            due = self._due(tx)
            for number, name in enumerate(due):
                self._submit(tx, ReconcileSite(head=name, shared=number == 0 and self._shared(tx, due)))
        if due:
            self._notify()
            log.info("site.looked_at", heads=due)
        return len(due)

    def _due(self, tx: Tx) -> list[str]:
        """Living heads that nobody has looked at since they started, or for too long."""
        going = operations.pending(tx, ReconcileSite.type, "head")
        last: dict[str, datetime] = {}
        for one in findings.looks(tx):
            last[one.head] = max(one.tried_at, last.get(one.head, one.tried_at))
        started = heads.starts(tx)
        living = [one.name for one in heads.every(tx) if one.alive(self._dead_after) and one.name not in going]
        return [name for name in living if not self._fresh(tx, last.get(name), started[name])]

    def _fresh(self, tx: Tx, looked: datetime | None, started: datetime) -> bool:
        return looked is not None and looked >= max(started, tx.now - self._every)

    def _shared(self, tx: Tx, due: list[str]) -> bool:
        """Whether what all heads share is due as well: not after the start of each of many heads."""
        looked = max((one.tried_at for one in findings.looks(tx) if one.head == SHARED), default=None)
        alone = len(heads.others(tx, due[0], self._dead_after)) == 0
        return looked is None or alone or looked <= tx.now - self._every
