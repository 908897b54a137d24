"""The commands about heads: `bmid heads` lists them, `bmid head drain` empties one."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from bmid.roster import Left, Roster
from bmid.terminal import output_option, read_settings

__all__ = ["head", "heads"]

COLUMNS = ("HEAD", "STATE", "VERSION", "SEEN", "DISKS", "OPERATIONS")
LOOK = 1.0  # seconds between looks of --wait


@click.command()
@output_option
@click.pass_obj
def heads(config: Path, output: str) -> None:
    """All heads: alive or not, their version, last heartbeat, disks on each shard, unfinished operations."""
    rows = Roster(read_settings(config)).list()
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    lines = [COLUMNS, *(_line(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(COLUMNS))]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


@click.group()
def head() -> None:
    """Empty a head, for its update or its end, or fill it again."""


@head.command()
@click.argument("name", metavar="HEAD")
@click.option("--wait", is_flag=True, help="Until nothing is left on it.")
@click.pass_obj
def drain(config: Path, name: str, wait: bool) -> None:
    """New maps go to other heads. Exits with 1 while something is left: what it is, is printed."""
    roster = Roster(read_settings(config))
    roster.drain(name, draining=True)
    left = roster.left(name)
    if wait and left:
        left = _wait(lambda: roster.left(name))
    for disk in left.disks:
        click.echo(f"node {disk.node or '-':20}  disk {disk.name:32}  project {disk.project:20}  {disk.state}")
    if not left:
        click.echo(f"head {name} is empty, and nothing new comes to it")
        return
    click.echo(f"head {name} gets nothing new; {_left(left)}: unmap its nodes, or park their disks", err=True)
    sys.exit(1)


@head.command()
@click.argument("name", metavar="HEAD")
@click.pass_obj
def undrain(config: Path, name: str) -> None:
    """New maps may come to it again."""
    Roster(read_settings(config)).drain(name, draining=False)
    click.echo(f"head {name} takes new maps")


def _wait(look: Callable[[], Left]) -> Left:
    """Look until nothing is left; each change is told, on a terminal in one line."""
    told, pause, terminal = "", threading.Event(), sys.stderr.isatty()
    while left := look():
        if (line := _left(left)) != told:
            click.echo(f"\r{line}\x1b[K" if terminal else line, nl=not terminal, err=True)
            told = line
        pause.wait(LOOK)
    if terminal:
        click.echo(err=True)
    return left


def _left(left: Left) -> str:
    return f"{_counted(len(left.disks), 'disk')} and {_counted(left.operations, 'operation')} are left"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _line(row: dict[str, Any]) -> tuple[str, ...]:
    state = row["state"] + (", draining" if row["draining"] else "")
    disks = " ".join(f"{name}:{shard['disks']}" for name, shard in row["shards"].items())
    return (row["head"], state, row["version"] or "-", f"{row['age']:.0f} s ago", disks or "-", str(row["operations"]))
