"""Ends children that nobody asks about any more: a head that stood still wakes with those of operations that go on
elsewhere by now, or have ended there.
"""

from __future__ import annotations

import structlog

from bmid.drivers.base import Imaging
from bmid.store import operations
from bmid.store.database import Database

__all__ = ["Childcare"]

log = structlog.get_logger(__name__)


class Childcare:
    """Looks after the children of one head. A job's name begins with its operation's."""

    def __init__(self, database: Database, imaging: Imaging, head: str) -> None:
        self._database = database
        self._imaging = imaging
        self._head = head

    def run_once(self) -> int:
        """How many jobs were ended. One whose operation is at home nowhere may still be asked for."""
        jobs = {job: job.partition("-")[0] for job in self._imaging.jobs()}
        with self._database.read() as tx:
            found = {name: operations.find(tx, name) for name in set(jobs.values())}
        mine = {name for name, one in found.items() if one and not one.ended_at and one.home in (None, self._head)}
        left = [job for job, name in jobs.items() if name not in mine]
        for job in left:
            self._imaging.cancel(job)
            log.warning("child.ended", job=job)
        return len(left)
