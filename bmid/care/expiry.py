"""`bmid trash expire`: the end of the time in which things can be restored, sooner than it would come by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta

import structlog

from bmid.handlers.trash_expired import TrashExpired
from bmid.parts import make_database
from bmid.settings import Settings
from bmid.store import outbox, trash
from bmid.store.outbox import Cause
from bmid.store.trash import Thrown

__all__ = ["expire"]

log = structlog.get_logger(__name__)


def expire(settings: Settings, project: str | None, older_than: float, reason: str) -> Sequence[Thrown]:
    """What can't be restored any more: all, or a project's, that was removed `older_than` days ago. Each project hears
    of its own."""
    with closing(make_database(settings)) as database:
        database.verify()
        with database.write() as tx:
            before = tx.now - timedelta(days=older_than)
            gone = trash.expire(tx, before, project)
            for event in _events(gone, before, reason):
                outbox.emit(tx, event, Cause(f"/bmid/{settings.head.name}"))
    size = sum(one.size for one in gone)
    log.warning("trash.expired", entries=len(gone), size=size, project=project, older_than=older_than, reason=reason)
    return gone


def _events(gone: Sequence[Thrown], before: datetime, reason: str) -> Sequence[TrashExpired]:
    """One for each project: each hears of its own alone."""
    found: dict[str, list[Thrown]] = defaultdict(list)
    for one in gone:
        found[one.project].append(one)
    return [
        TrashExpired(
            project=project or None,
            images=sum(one.kind == "image" for one in things),
            disks=sum(one.kind == "disk" for one in things),
            size=sum(one.size for one in things),
            removed_before=before,
            reason=reason,
        )
        for project, things in sorted(found.items())
    ]
