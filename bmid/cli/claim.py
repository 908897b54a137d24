"""The commands `bmid claims`: who has what right now, and the way out where a holder will not give it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bmid.care.custody import Custody
from bmid.cli.terminal import output_option, print_result, print_rows, read_settings

__all__ = ["claims"]

COLUMNS = ("KEY", "HOLDER", "STATE", "OPERATION", "COMMAND", "AGE", "UNTIL")


@click.group()
def claims() -> None:
    """Look at claims, and break one whose holder will not give it back."""


@claims.command("list")
@output_option
@click.pass_obj
def list_claims(config: Path, output: str) -> None:
    """Who has what: key, holder, operation, the operation's age, when the claim runs out."""
    print_rows(Custody(read_settings(config)).list(), output, COLUMNS, _line)


def _line(row: Mapping[str, Any]) -> Sequence[str]:
    age = f"{row['age']} s" if row["age"] is not None else ""
    lives = "alive" if row["alive"] else "dead"
    return row["key"], row["holder"], lives, row["operation"], row["command"], age, row["expires_at"]


@claims.command("break")
@click.argument("key")
@click.option("--reason", required=True, help="Why; it goes into the event.")
@click.option("--yes", is_flag=True, help="Don't ask, where its holder is alive.")
@output_option
@click.pass_obj
def break_claim(config: Path, key: str, reason: str, yes: bool, output: str) -> None:
    """Take a claim away from its holder, with all others of the same operation: the holder touches nothing any more,
    and whoever is next goes on. A claim of a dead holder runs out by itself."""
    custody = Custody(read_settings(config))
    holder, alive = custody.holder(key)
    if alive and not yes:
        click.echo(f"{holder} is alive: a call of a driver that it is in goes on to its end.", err=True)
        click.confirm("Break its claim all the same?", abort=True, err=True)
    told = custody.take_away(key, reason, alive=alive)
    print_result(told.payload(), output, f"{told.holder} has lost {', '.join(told.keys)}")
