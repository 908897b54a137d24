"""The command of the daemon's side: run, migrate, check, operations. Says what it does, and exits as sysexits say."""

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
from bmid.cli.backup import backup, rebuild, restore
from bmid.cli.claim import claims
from bmid.cli.fsck import fsck
from bmid.cli.head import head, heads
from bmid.cli.operation import operations
from bmid.cli.terminal import Commands, output_option, read_settings
from bmid.cli.trash import trash
from bmid.handlers.registry import discover
from bmid.parts import make_database
from bmid.reference.command import asyncapi, schemas

__all__ = ["main"]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("/etc/bmid/bmid.toml"),
    envvar="BMID_CONFIG",
    show_default=True,
    help="The settings file.",
)
@click.pass_context
def main(context: click.Context, config: Path) -> None:
    """The daemon of BMI: machines boot copy-on-write clones of golden images."""
    context.obj = config


main.add_command(asyncapi)
main.add_command(schemas)
main.add_command(fsck)
main.add_command(backup)
main.add_command(restore)
main.add_command(rebuild)
main.add_command(heads)
main.add_command(head)
main.add_command(trash)
main.add_command(operations)
main.add_command(claims)


@main.command()
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


@main.command()
@click.pass_obj
def migrate(config: Path) -> None:
    """Bring the database's schema up to date."""
    database = make_database(read_settings(config))
    before = database.revision()
    # Alembic takes 10 MiB, which the daemon can do without.
    import_module("bmid.store.migration").migrate(database)
    click.echo(f"schema {before or 'none'} -> {database.revision()}")


@main.command()
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
    sys.exit(0 if all(finding.ok for finding in findings) else 1)


@main.command()
@click.option("--into", type=click.Path(path_type=Path, exists=True), help="Write it into docs/messages.md instead.")
def messages(into: Path | None) -> None:
    """Print the reference of all messages, as Markdown."""
    # The daemon can do without it.
    module = import_module("bmid.reference.message")
    text = module.reference(discover())
    if into is None:
        click.echo(text, nl=False)
    else:
        into.write_text(into.read_text().partition(module.BEGIN)[0] + text)


@main.command()
def settings() -> None:
    """Print a settings file with every setting in it, commented out."""
    click.echo(import_module("bmid.reference.setting").settings_file(), nl=False)
