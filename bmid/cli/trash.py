"""The command about the trash: `bmid trash expire`, for when space is needed sooner. Tenants restore by messages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import click
import structlog

from bmid.cli.terminal import read_settings
from bmid.handlers.trash_expired import TrashExpired
from bmid.parts import make_database
from bmid.store import outbox
from bmid.store import trash as rows
from bmid.store.outbox import Cause
from bmid.store.trash import Thrown

__all__ = ["trash"]

log = structlog.get_logger(__name__)


@click.group()
def trash() -> None:
    """What was removed, and can be restored for a while."""


@trash.command()
@click.option("--project", help="Only what was this project's.")
@click.option("--older-than", type=click.FloatRange(0), default=0.0, help="Only what was removed so many days ago.")
@click.option("--reason", required=True, help="Why; it goes into the log, and into an event for each project.")
@click.pass_obj
def expire(config: Path, project: str | None, older_than: float, reason: str) -> None:
    """End the time in which things can be restored, so that the daemon removes them for good within minutes."""
    settings = read_settings(config)
    with closing(make_database(settings)) as database:
        database.verify()
        with database.write() as tx:
            before = tx.now - timedelta(days=older_than)
            gone = rows.expire(tx, before, project)
            for event in _events(gone, before, reason):
                outbox.emit(tx, event, Cause(f"/bmid/{settings.head.name}"))
    size = sum(one.size for one in gone)
    log.warning("trash.expired", entries=len(gone), size=size, project=project, older_than=older_than, reason=reason)
    click.echo(f"{len(gone)} things of {size / 2**30:.1f} GiB, as nodes saw them, can't be restored any more")


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
