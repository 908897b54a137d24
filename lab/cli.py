"""The lab by hand: up, down, status, a node's console, a node's power. What a lab is stands in lab/site.py."""

from __future__ import annotations

import os
import select
import shlex
import socket
import sys
import termios
import time
import tty
from pathlib import Path
from typing import Literal

import click
from rich.console import Console
from rich.table import Table

from lab.layout import Layout
from lab.node import VirtualNode
from lab.process import LabError
from lab.site import PUBLISHER, Site

__all__ = ["main"]

FOLDER = Path(__file__).parent.parent / ".lab/lab"
LEAVE = b"\x1d"  # Ctrl-], as in telnet


class _Group(click.Group):
    """Errors of the lab are told without a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except LabError as error:
            raise click.ClickException(str(error)) from None


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), default=FOLDER, help="Where it lies.")
@click.pass_context
def main(context: click.Context, folder: Path) -> None:
    """A data centre on this machine: private services, virtual nodes, and bmid."""
    context.obj = folder


@main.command()
@click.option(
    "--nodes", type=click.IntRange(1, 64), default=2, show_default=True, help="Odd ones BIOS, even ones UEFI."
)
@click.option("--storage", type=click.Choice(["rbd", "directory"]), default="rbd", show_default=True)
@click.option("--postgresql", is_flag=True, help="bmid's database is a private PostgreSQL instead of SQLite.")
@click.option("--shards", type=click.IntRange(1, 8), default=1, show_default=True, help="How many tgtd a head.")
@click.option("--heads", type=click.IntRange(1, 8), default=1, show_default=True, help="From 2 on with PostgreSQL.")
@click.option("--memory", type=click.IntRange(256), default=512, show_default=True, help="MiB of each node.")
@click.pass_obj
def up(
    folder: Path,
    nodes: int,
    storage: Literal["rbd", "directory"],
    postgresql: bool,
    shards: int,
    heads: int,
    memory: int,
) -> None:
    """Start everything, and register the nodes. Again: start what doesn't run."""
    database: Literal["postgresql", "sqlite"] = "postgresql" if postgresql or heads > 1 else "sqlite"
    site = Site(folder, Layout(nodes, storage, database, shards, memory=memory, heads=heads))
    begun = time.monotonic()
    site.keep_layout()
    try:
        site.up(lambda part: click.echo(f"[{time.monotonic() - begun:5.1f} s] {part}", err=True))
    except (LabError, KeyboardInterrupt):
        site.down(keep=True)
        click.echo(f"the lab has been stopped; its logs stay in {folder}", err=True)
        raise
    _show(site)


@main.command()
@click.pass_obj
def down(folder: Path) -> None:
    """Stop everything, also what a killed lab left, and remove all of it."""
    Site(folder).down()


@main.command()
@click.pass_obj
def status(folder: Path) -> None:
    """What runs, and where. Exits with 1 if a service doesn't."""
    site = Site(folder)
    _show(site)
    sys.exit(0 if all(part.alive for part in site.status() if not part.name.startswith("node ")) else 1)


@main.command()
@click.argument("node")
@click.pass_obj
def console(folder: Path, node: str) -> None:
    """A node's serial console: live on a terminal (Ctrl-] leaves it), else what it has shown since power-on."""
    found = Site(folder).node(node)
    if not sys.stdin.isatty():
        click.echo(found.console_text())
    elif found.alive:
        click.echo(f"{node}: Ctrl-] leaves the console.", err=True)
        _attach(found)
    else:
        raise LabError(f"node {node} is off")


@main.command()
@click.argument("node")
@click.argument("state", type=click.Choice(["on", "off"]))
@click.pass_obj
def power(folder: Path, node: str, state: str) -> None:
    """Switch a node by hand, behind bmid's back."""
    found = Site(folder).node(node)
    if state == "on":
        found.power_on()
    else:
        found.power_off()


def _show(site: Site) -> None:
    table = Table("part", "", "where", box=None)
    for part in site.status():
        off = "[dim]off[/]" if part.name.startswith("node ") else "[red]down[/]"
        table.add_row(part.name, "[green]up[/]" if part.alive else off, part.where)
    output = Console(soft_wrap=True)
    output.print(table)
    output.print(f"\nFor bmi-publish (in {Path(sys.executable).parent}):", highlight=False)
    output.print(f"export BMI_URL={site.url} BMI_USER={PUBLISHER}", highlight=False)
    output.print(f"export BMI_PASSWORD_FILE={shlex.quote(str(site.password_file))}", highlight=False)


def _attach(node: VirtualNode) -> None:
    """Keys to the console and its text to the terminal, until Ctrl-] or the node's end."""
    before = termios.tcgetattr(0)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(node.console_socket))
        tty.setraw(0)
        try:
            while True:
                ready, _, _ = select.select([0, line.fileno()], [], [])
                if 0 in ready:
                    keys = os.read(0, 1024)
                    if LEAVE in keys or not keys:
                        return
                    line.sendall(keys)
                if line.fileno() in ready:
                    text = line.recv(4096)
                    if not text:
                        return
                    os.write(1, text)
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, before)
            click.echo("")
