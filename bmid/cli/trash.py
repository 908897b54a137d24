"""The command about the trash: `bmid trash expire`, for when space is needed sooner. Tenants restore by messages."""

from __future__ import annotations

from pathlib import Path

import click

from bmid.care.expiry import expire as expire_now
from bmid.cli.terminal import output_option, print_result, read_settings

__all__ = ["trash"]


@click.group()
def trash() -> None:
    """What was removed, and can be restored for a while."""


@trash.command()
@click.option("--project", help="Only what was this project's.")
@click.option("--older-than", type=click.FloatRange(0), default=0.0, help="Only what was removed so many days ago.")
@click.option("--reason", required=True, help="Why; it goes into the log, and into an event for each project.")
@output_option
@click.pass_obj
def expire(config: Path, project: str | None, older_than: float, reason: str, output: str) -> None:
    """End the time in which things can be restored, so that the daemon removes them for good within minutes."""
    gone = expire_now(read_settings(config), project, older_than, reason)
    size = sum(one.size for one in gone)
    text = f"{len(gone)} things of {size / 2**30:.1f} GiB, as nodes saw them, can't be restored any more"
    print_result({"entries": len(gone), "size": size}, output, text)
