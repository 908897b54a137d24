"""bmi-publish watch nodes: a table that is drawn anew when something changes, or a line for each change."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from bmi_publish.error import NotAllowed, PublishError
from bmi_publish.output import value_line
from bmi_publish.parameter import duration, finish, settings_of
from bmi_publish.report import complain, note
from bmi_publish.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from bmi_publish.roster import Roster
    from bmi_publish.stream import Stream

__all__ = ["table_of", "watch"]

Row = Mapping[str, Any]
Draw = Callable[["Roster", list[dict[str, Any]]], None]
PATIENCE = 2.0  # seconds before nobody who answers is asked again
COLOURS = {"free": "dim", "making": "yellow", "removing": "yellow", "mapped": "green", "failed": "red"}


@click.group()
def watch() -> None:
    """Look at something as it changes."""


@watch.command()
@click.option("--project", metavar="PROJECT", help="Only nodes of this project. [default: of all]")
@click.option("--timeout", type=duration, metavar="TIME", help="End after this time. [default: when interrupted]")
@click.option("-o", "--output", type=click.Choice(["table", "json", "value"]), default="table", show_default=True)
@click.pass_context
def nodes(ctx: click.Context, /, project: str | None, timeout: float | None, output: str) -> None:
    """Show the nodes, and every change.

    A table on a terminal. With `-o json` or `-o value`, or where there is no terminal, a line for each node and then
    for each change: `state` of a node that is no more is `removed`.
    """
    deadline = float("inf") if timeout is None else time.monotonic() + timeout
    form = "value" if output == "table" and not sys.stdout.isatty() else output
    settings = settings_of(ctx)
    finish(ctx, lambda: _watch(settings, project, deadline, form))


def _watch(settings: Settings, project: str | None, deadline: float, form: str) -> int:
    from bmi_publish.client import Client  # noqa: PLC0415 - the broker's library is loaded when it is needed
    from bmi_publish.roster import Roster  # noqa: PLC0415
    from bmi_publish.stream import Stream  # noqa: PLC0415

    # What the broker refuses of further keys is left out: some users may hear one project alone.
    keys = (f"#.{project}", "#.-") if project else ("#",)
    # A connection of its own for the questions, so that no event is lost while an answer is awaited.
    with Stream(settings, keys, note) as stream, Client(settings=settings) as client, _drawing(form) as draw:
        _go_on(stream, Roster(client, project), draw, deadline)
    return 0


def _go_on(stream: Stream, roster: Roster, draw: Draw, deadline: float) -> None:
    opened, patience = 0, 0.0
    while (now := time.monotonic()) < deadline:
        wait = max(roster.wait(), patience - now) if opened else 1.0
        event = stream.receive(min(deadline - now, 1.0, wait), deadline - now)
        if event:
            roster.hear(event)
        if stream.opened != opened:
            opened = stream.opened
            roster.missed()
        if opened and not roster.wait() and time.monotonic() >= patience:
            try:
                draw(roster, roster.refresh())
            except NotAllowed:
                raise
            except PublishError as error:
                complain(error.problem, "bmi-publish")
                patience = time.monotonic() + PATIENCE


@contextmanager
def _drawing(form: str) -> Iterator[Draw]:
    """How changes are shown."""
    if form != "table":
        yield lambda _roster, changes: _print(changes, form)
        return
    from rich.live import Live  # noqa: PLC0415 - only a terminal needs it

    # What is said on the same terminal goes above the table; a file or a pipe gets it as ever.
    with Live(auto_refresh=False, redirect_stderr=sys.stderr.isatty()) as live:
        yield lambda roster, _changes: live.update(table_of(roster.rows, live.console.height), refresh=True)


def _print(changes: list[dict[str, Any]], form: str) -> None:
    from bmi_publish.roster import COLUMNS  # noqa: PLC0415

    for row in changes:
        click.echo(json.dumps(row, ensure_ascii=False) if form == "json" else value_line(row, COLUMNS))


def table_of(rows: Mapping[str, Row], lines: int) -> Table:
    """The nodes in at most so many lines, a line each: where there are more of them, those that changed last."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from bmi_publish.roster import COLUMNS  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in COLUMNS:
        table.add_column(name.upper(), overflow="ellipsis")
    shown = sorted(list(rows)[-max(1, lines - 2) :])  # the head and the caption are lines, too
    for row in map(rows.__getitem__, shown):
        # Text, not markup: the words may come from another program.
        table.add_row(*(Text(value_line(row, (name,)), COLOURS.get(str(row[name]), "")) for name in COLUMNS))
    rest = "" if len(shown) == len(rows) else f", here the {len(shown)} that changed last"
    table.caption = f"{len(rows)} nodes{rest}"
    return table
