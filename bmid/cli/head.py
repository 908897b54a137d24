"""The commands about heads: `bmid heads` lists them, `bmid head` empties one, and says who carries which address."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bmid.care.roster import Left, Roster
from bmid.cli.terminal import output_option, print_result, print_rows, read_settings, telling, timeout_option
from bmid.model.exit import Exit

__all__ = ["drain", "heads", "move", "portals", "undrain"]

HEADS = ("HEAD", "STATE", "VERSION", "SEEN", "DISKS", "OPERATIONS")
PORTALS = ("PORTAL", "HEAD", "SHARD", "NATIVE", "DISKS", "STATE")
LOOK = 1.0  # seconds between looks of --wait
PATIENCE = 600.0  # seconds that --wait takes at most


@click.command()
@output_option
@click.pass_obj
def heads(config: Path, output: str) -> None:
    """All heads: alive or not, their version, last heartbeat, disks on each shard, unfinished operations."""
    print_rows(Roster(read_settings(config)).list(), output, HEADS, _head)


@click.command()
@click.argument("name", metavar="HEAD")
@click.option("--wait", is_flag=True, help="Until nothing is left on it.")
@timeout_option(PATIENCE, "the head to be empty")
@click.option("--gone", is_flag=True, help="Its machine is off: nobody answers at its addresses.")
@output_option
@click.pass_obj
def drain(config: Path, name: str, wait: bool, timeout: float, gone: bool, output: str) -> None:
    """Its addresses and running nodes move to other heads, and new maps go there. Exits with 1 while something is left:
    what it is, is printed."""
    roster = Roster(read_settings(config))
    bound = roster.drain(name, gone=gone)
    left = roster.left(name)
    if wait and left:
        left = _wait(lambda: roster.left(name), timeout)
    if output == "json":
        click.echo(json.dumps({"head": name, "empty": not left, "bound": [*bound], **left.shape()}, indent=2))
    else:
        _tell(name, left, moves=bool(bound or left.arriving))
    sys.exit(Exit.FAILED if left else Exit.DONE)


def _tell(name: str, left: Left, *, moves: bool) -> None:
    for disk in left.disks:
        click.echo(f"node {disk.node or '-':20}  disk {disk.name:32}  project {disk.project:20}  {disk.state}")
    if left:
        todo = "they go to another head with its address" if moves else _alone(left)
        click.echo(f"head {name} gets nothing new; {_left(left)}: {todo}", err=True)
    else:
        click.echo(f"head {name} is empty, and nothing new comes to it: it is safe to switch it off")


@click.command()
@click.argument("address", metavar="IP")
@click.option("--to", "head_name", metavar="HEAD", required=True, help="The head that shall have it.")
@output_option
@click.pass_obj
def move(config: Path, address: str, head_name: str, output: str) -> None:
    """Move an address to a head, with all nodes that find their targets there. `bmid head portals` shows how far."""
    carrier = Roster(read_settings(config)).move(address, head_name)
    told = f"{address} goes from {carrier} to {head_name}, as soon as {carrier} doesn't answer there any more"
    if carrier == head_name:
        told = f"head {head_name} carries {address}"
    print_result({"address": address, "head": carrier, "to": head_name}, output, told)


@click.command()
@output_option
@click.pass_obj
def portals(config: Path, output: str) -> None:
    """All portals, where nodes find their targets: which head carries each, and what it waits for."""
    print_rows(Roster(read_settings(config)).portals(), output, PORTALS, _portal)


def _portal(row: Mapping[str, Any]) -> Sequence[str]:
    return row["portal"], row["head"], row["shard"], row["native"], str(row["disks"]), _way(row)


def _way(row: Mapping[str, Any]) -> str:
    if not row["ready"]:
        return "its disks are being exported"
    if row["bound_for"]:
        waits = "moves" if row["withdrawn_at"] else f"until {row['head']} gives the address back"
        return f"to {row['bound_for']}: {waits}"
    return "ready"


@click.command()
@click.argument("name", metavar="HEAD")
@output_option
@click.pass_obj
def undrain(config: Path, name: str, output: str) -> None:
    """New maps may come to it again, and what hasn't moved yet stays. `bmid head move` brings an address back."""
    Roster(read_settings(config)).undrain(name)
    print_result({"head": name, "draining": False}, output, f"head {name} takes new maps")


def _wait(look: Callable[[], Left], seconds: float) -> Left:
    """Look until nothing is left, or for so long."""
    pause, end = threading.Event(), time.monotonic() + seconds
    with telling() as tell:
        while (left := look()) and time.monotonic() < end:
            tell(_left(left))
            pause.wait(LOOK)
    return left


def _left(left: Left) -> str:
    leaving = f", {' and '.join(left.leaving)} is still to be given back there" if left.leaving else ""
    arriving = f", {' and '.join(left.arriving)} is not ready elsewhere yet" if left.arriving else ""
    counts = f"{_counted(len(left.disks), 'disk')} and {_counted(left.operations, 'operation')} are left"
    return f"{counts}{leaving}{arriving}"


def _alone(left: Left) -> str:
    return (
        "no other head can take its address: unmap its nodes, or park their disks" if left.disks else "they end there"
    )


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _head(row: Mapping[str, Any]) -> Sequence[str]:
    state = row["state"] + (", draining" if row["draining"] else "")
    disks = " ".join(f"{name}:{shard['disks']}" for name, shard in row["shards"].items())
    return row["head"], state, row["version"], f"{row['age']:.0f} s ago", disks, str(row["operations"])
