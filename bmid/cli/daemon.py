"""The commands about the daemon itself: `bmid run`, `bmid migrate`, `bmid check`."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bmid.bootstrap import Head
from bmid.care.checkup import examine
from bmid.cli.terminal import output_option, print_result, read_settings
from bmid.database import make_database
from bmid.model.exit import Exit

__all__ = ["check", "migrate", "run"]


@click.command()
@click.option("--sandbox", is_flag=True, help="Real messages, and a world in memory: see docs/sandbox.md.")
@click.option("--broker", metavar="URL", help="Of a sandbox: amqp://USER:PASSWORD@HOST/VHOST.")
@click.option("--folder", type=click.Path(path_type=Path), help="Of a sandbox: what it keeps, for its next start.")
@click.option("--boot-delay", type=click.FloatRange(0, 60), help="Of a sandbox: seconds that a node takes to boot [2].")
@click.option("--example", is_flag=True, help="Of a sandbox: begin with a project, an image and nodes.")
@click.pass_context
def run(context: click.Context, /, sandbox: bool, **options: Any) -> None:
    """Run the daemon until it gets SIGTERM."""
    named = context.parent and context.parent.get_parameter_source("config") is not ParameterSource.DEFAULT
    if sandbox:
        import_module("bmid.sandbox.site").run(context.obj if named else None, **options)
    elif any(value not in (None, False) for value in options.values()):
        raise click.UsageError("only a --sandbox takes these options")
    else:
        Head(read_settings(context.obj)).run()


@click.command()
@output_option
@click.pass_obj
def migrate(config: Path, output: str) -> None:
    """Bring the database's schema up to date."""
    database = make_database(read_settings(config))
    before = database.revision()
    # Alembic takes 10 MiB, which the daemon can do without.
    import_module("bmid.store.migration").migrate(database)
    after = database.revision()
    print_result({"before": before, "schema": after}, output, f"schema {before or 'none'} -> {after}")


@click.command()
@output_option
@click.pass_obj
def check(config: Path, output: str) -> None:
    """Look at everything that the daemon needs, and say what is missing and what to do."""
    findings = examine(read_settings(config))
    if output == "json":
        click.echo(json.dumps([vars(finding) for finding in findings], indent=2))
    else:
        width = max(len(finding.part) for finding in findings)
        for finding in findings:
            click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.part:{width}}  {finding.detail}")
            if finding.todo and not finding.ok:
                click.echo(f"      {'':{width}}  {finding.todo}")
    sys.exit(Exit.DONE if all(finding.ok for finding in findings) else Exit.FAILED)
