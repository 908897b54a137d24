"""The commands `bmid operations`: look at operations, get stuck ones going, or out of the way."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bmid.care.leftover import Leftovers
from bmid.care.repair import Repair
from bmid.cli.terminal import output_option, print_result, print_rows, read_settings

__all__ = ["operations"]

COLUMNS = ("OPERATION", "PHASE", "COMMAND", "ABOUT", "WHY")


@click.group()
def operations() -> None:
    """Look at operations, and get stuck ones going."""


@operations.command("list")
@click.option("--all", "every", is_flag=True, help="Ended ones too.")
@output_option
@click.pass_obj
def list_operations(config: Path, every: bool, output: str) -> None:
    """What runs, waits or is stuck, the oldest last."""
    print_rows(Repair(read_settings(config)).list(every), output, COLUMNS, _line)


def _line(row: Mapping[str, Any]) -> Sequence[str]:
    about = row["command_data"].get("node") or row["command_data"].get("image") or row["project"]
    why = row["why"] or (row["problem"] or {}).get("detail", "")
    return row["operation"], row["phase"], row["command"], about, why


@operations.command()
@click.argument("operation")
@click.pass_obj
def show(config: Path, operation: str) -> None:
    """One operation with its plan, its marks and its problem, as JSON."""
    click.echo(json.dumps(Repair(read_settings(config)).show(operation), indent=2, default=str))


@operations.command()
@click.argument("operation")
@click.option("--reason", help="Why; it goes into the event.")
@output_option
@click.pass_obj
def retry(config: Path, operation: str, reason: str | None, output: str) -> None:
    """Look at a waiting or stuck operation again now."""
    told = Repair(read_settings(config)).retry(operation, reason)
    print_result(told.payload(), output, f"{operation} is {told.phase} and will be looked at now")


@operations.command()
@click.argument("operation")
@click.option("--reason", required=True, help="Why; it goes into the event.")
@output_option
@click.pass_obj
def abandon(config: Path, operation: str, reason: str, output: str) -> None:
    """End a stuck operation as failed, and say what it leaves behind: what `bmid fsck` finds from then on. Who had it
    in hand and never gave it back is cut off from the storage first.

    Run it on the head that carried the operation out: there its targets, boot files and seeds are looked at.
    """
    settings = read_settings(config)
    told = Repair(settings, Leftovers.from_settings(settings)).abandon(operation, reason)
    if output == "json":
        click.echo(json.dumps(told.payload(), indent=2))
        return
    click.echo(f"{operation} is abandoned; {'it leaves nothing that was seen' if not told.left else 'it leaves:'}")
    for thing in told.left:
        click.echo(f"{thing.kind:18}  {thing.where}")
        click.echo(f"    {thing.what}")
        for part in thing.parts:
            click.echo(f"    - {part}")
        click.echo(f"    Then: {thing.todo}")
    for client in told.cut_off:
        click.echo(f"cut off from the storage: {client}, which had it in hand and never gave it back")
    for part, why in told.unseen.items():
        click.echo(f"not looked at: {part}: {why}", err=True)
    if told.unseen:
        click.echo(f"there it may have left what these steps make: {', '.join(told.steps)}", err=True)
