"""The commands for the day after: `bmid backup`, `bmid restore`, `bmid rebuild`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from bmid.archive import Progress, Summary
from bmid.backup import Backup
from bmid.terminal import output_option, read_settings

__all__ = ["backup", "restore"]

FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@FILE
@output_option
@click.pass_obj
def backup(config: Path, file: Path, output: str) -> None:
    """Write all rows of the database into a file, while the daemon is at work, and read it back.

    It may hold secrets of new systems, and is readable for its owner alone. A file of that name is replaced."""
    settings = read_settings(config)
    with _bar("backup") as progress:
        done = Backup(settings, progress).take(file)
    _print(done, f"{file}: {done.rows} rows, {done.size} bytes, read back and whole", output)


@click.command()
@FILE
@click.option("--replace", is_flag=True, help="All that is in the database now goes.")
@click.option("--dry-run", is_flag=True, help="Only read the file, and see whether it could be put back.")
@output_option
@click.pass_obj
def restore(config: Path, file: Path, replace: bool, dry_run: bool, output: str) -> None:
    """Put the rows of a backup into an empty database, SQLite or PostgreSQL, whichever they came from. bmid must not be
    at work on it."""
    settings = read_settings(config)
    with _bar("restore") as progress:
        done = Backup(settings, progress).restore(file, replace=replace, rehearse=dry_run)
    what = "could be put back" if dry_run else "put back"
    _print(done, f"{file}: {done.rows} rows of {done.taken_at}, from {done.database} of {done.head}, {what}", output)
    if not dry_run and output != "json":
        click.echo("What was made or removed since then is not in it: start bmid, then look at `bmid fsck`.")


def _print(done: Summary, text: str, output: str) -> None:
    click.echo(json.dumps(vars(done) | {"rows": done.rows}, indent=2) if output == "json" else text)


@contextmanager
def _bar(label: str) -> Iterator[Progress]:
    """A progress bar, for people."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield progress
