"""The command `bmid fsck`: what is not as the rows say, what it is, why, since when, and what is done about it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from bmid.care.fsck import PATIENCE, Fsck, Report
from bmid.cli.terminal import output_option, read_settings, telling, timeout_option
from bmid.model.exit import Exit
from bmid.model.finding import Kind

__all__ = ["fsck"]


@click.command()
@click.option("--repair", is_flag=True, help="Have the daemons mend what can be mended, and wait for it.")
@timeout_option(PATIENCE, "what --repair asks for")
@click.option("--only", type=click.Choice([kind.value for kind in Kind]), multiple=True, metavar="KIND",
              help="Only findings of this kind; may be given more than once.")  # fmt: skip
@output_option
@click.pass_obj
def fsck(config: Path, repair: bool, timeout: float, only: tuple[str, ...], output: str) -> None:
    """Compare storage, targets, boot files and seeds with the rows, beside a running daemon.

    Nothing is changed without --repair. Exits with 0 if all is as it should be, 1 if not, 69 if nobody can tell.
    """
    kinds = tuple(Kind(kind) for kind in only)
    checker = Fsck(read_settings(config))
    try:
        with telling() as tell:
            failures = checker.repair(kinds, tell, timeout) if repair else []
        report = checker.look(kinds)
    finally:
        checker.close()
    for failure in failures:
        click.echo(f"not mended: {failure}", err=True)
    if output == "json":
        click.echo(json.dumps(report.shape(), indent=2))
    else:
        _show(report)
    sys.exit(Exit.FAILED if report.rows else Exit.DONE if report.whole else Exit.UNAVAILABLE)


def _show(report: Report) -> None:
    for row in report.rows:
        place = f"{row['head']}, {row['where']}" if row["head"] else row["where"]
        click.echo(f"{row['kind']:18}  {place:24}  since {row['since']}")
        click.echo(f"    {row['what']}")
        if row["why"]:
            click.echo(f"    Perhaps {row['why']}.")
        click.echo(f"    Then: {row['todo']}{_when(row)}")
    for part, reason in report.silent.items():
        click.echo(f"{part} gave no answer: {reason}", err=True)
    for one in report.elsewhere:
        age = f"looked at {one['age']} s ago" if one["age"] is not None else "never looked at"
        click.echo(f"head {one['head']}, {one['part']}: {age}{': ' + one['problem'] if one['problem'] else ''}")
    if count := len(report.rows):
        click.echo(f"{count} finding{'' if count == 1 else 's'}")
    else:
        click.echo("all is as the rows say" if report.whole else "what could be looked at is as the rows say")


def _when(row: dict[str, Any]) -> str:
    return f" (not before {row['not_before']})" if row["not_before"] and not row["repairable"] else ""
