"""The command `bmid head carries`, for keepalived. It runs every other second on each head: see care/carriage.py."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bmid.care.carriage import Addresses
from bmid.model.exit import Exit
from bmid.settings_file import load

__all__ = ["carries"]

SOON = 4.0  # seconds: keepalived takes a script that is late for one that says no, on all heads at once


@click.command()
@click.argument("address", metavar="IP")
@click.pass_obj
def carries(config: Path, address: str) -> None:
    """For keepalived: exits with 0 if this head is to have the address now, with 1 if not. Any other exit says that it
    can't be known: keep what you have."""
    wanted = Addresses(load(config), limit=SOON).carries(address)
    click.echo("yes" if wanted else "no")
    sys.exit(Exit.DONE if wanted else Exit.FAILED)
