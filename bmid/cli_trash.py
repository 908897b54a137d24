"""The command about the trash: `bmid trash expire`, for when space is needed sooner. Tenants restore by messages."""

from __future__ import annotations

from pathlib import Path

import click
import structlog

from bmid.parts import make_database
from bmid.store import trash as rows
from bmid.terminal import read_settings

__all__ = ["trash"]

log = structlog.get_logger(__name__)


@click.group()
def trash() -> None:
    """What was removed, and can be restored for a while."""


@trash.command()
@click.option("--project", help="Only what was this project's.")
@click.option("--older-than", type=click.FloatRange(0), default=0.0, help="Only what was removed so many days ago.")
@click.option("--reason", required=True, help="Why; it goes into the log.")
@click.pass_obj
def expire(config: Path, project: str | None, older_than: float, reason: str) -> None:
    """End the time in which things can be restored, so that the daemon removes them for good within minutes."""
    database = make_database(read_settings(config))
    with database.write() as tx:
        count, size = rows.expire(tx, older_than, project)
    log.warning("trash.expired", entries=count, size=size, project=project, older_than=older_than, reason=reason)
    click.echo(f"{count} things of {size / 2**30:.1f} GiB, as nodes saw them, can't be restored any more")
