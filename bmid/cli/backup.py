"""The commands for the day after: `bmid backup`, `bmid restore`, `bmid rebuild`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bmid.care.archive import Progress, Summary
from bmid.care.backup import Backup
from bmid.care.rebuild import Rebuild, shape
from bmid.cli.terminal import output_option, print_result, print_rows, read_settings
from bmid.model.exit import Exit

__all__ = ["backup", "rebuild", "restore"]

COLUMNS = ("PROJECT", "IMAGES", "MAPPED", "DISKS WITHOUT A NODE", "IN THE TRASH")
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
    print_result(_shape(done), output, f"{file}: {done.rows} rows, {done.size} bytes, read back and whole")


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
    text = f"{file}: {done.rows} rows of {done.taken_at}, from {done.database} of {done.head}, {what}"
    print_result(_shape(done), output, text)
    if not dry_run and output != "json":
        click.echo("What was made or removed since then is not in it: start bmid, then look at `bmid fsck`.")


@click.command()
@click.option(
    "--from-storage", is_flag=True, required=True, help="Where the rows come from; there is no other place yet."
)
@click.option("--site", metavar="ID", help="Which site, where several share the storage.")
@click.option("--dry-run", is_flag=True, help="Only say what would come back.")
@output_option
@click.pass_obj
def rebuild(config: Path, from_storage: bool, site: str | None, dry_run: bool, output: str) -> None:
    """The database is gone: make its rows again of what the storage says of itself, in an empty, migrated database.

    No bmid must be at work. Nothing but the database is touched. Exits with 1 where something could not be read."""
    settings = read_settings(config)
    with _bar("rebuild") as progress:
        made = Rebuild(settings, progress).run(rehearse=dry_run, site=site)
    found = shape(made)
    if output == "json":
        click.echo(json.dumps(found | {"dry_run": dry_run}, indent=2))
    else:
        _tell(found, dry_run)
    sys.exit(Exit.FAILED if any(doubt.lost for doubt in made.doubts) else Exit.DONE)


def _tell(found: dict[str, Any], dry_run: bool) -> None:
    print_rows(found["projects"], "table", COLUMNS, lambda row: [str(row[name.lower()]) for name in COLUMNS])
    done = "would come back" if dry_run else "are back"
    heads = ", ".join(found["heads"]) or "no head"
    click.echo(f"\n{found['nodes']} mapped nodes {done}; their disks are at home on {heads}")
    for doubt in found["doubts"]:
        click.echo(f"{'NO ROW' if doubt['lost'] else 'look'}  {doubt['kind']} {doubt['name']}: {doubt['what']}")
    if found["of_other_sites"]:
        click.echo(f"{found['of_other_sites']} things of other sites, or of nobody knows which, are left as they are")
    click.echo("\nOnly a backup holds:")
    for one in found["not_in_the_storage"]:
        click.echo(f"  {one}")


def _shape(done: Summary) -> dict[str, Any]:
    return vars(done) | {"rows": done.rows}


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
