"""What all commands of `bmid` do alike: read the settings, tell an error, exit as sysexits.h says."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bmid.errors import BmiError, Misconfigured
from bmid.logs import configure
from bmid.settings import Settings
from bmid.settings_file import load

__all__ = ["EX_UNAVAILABLE", "Commands", "output_option", "print_rows", "read_settings", "timeout_option"]

EX_UNAVAILABLE = 69
EX_CONFIG = 78


def read_settings(path: Path) -> Settings:
    """The settings, and the log as they want it. Raises Misconfigured."""
    settings = load(path)
    configure(settings.log.level, settings.log.format)
    return settings


class Commands(click.Group):
    """Commands whose errors are told, with what to do; then it exits."""

    def invoke(self, context: click.Context) -> Any:
        """As click does."""
        try:
            return super().invoke(context)
        except BmiError as error:
            click.echo(f"bmid: {error}", err=True)
            if error.problem.todo:
                click.echo(f"  {error.problem.todo}", err=True)
            sys.exit(EX_CONFIG if isinstance(error, Misconfigured) else EX_UNAVAILABLE)


def timeout_option(seconds: float, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--timeout: `what` is waited for so long at most; `seconds` where nobody says."""
    told = f"Wait so long at most for {what}; it goes on by itself afterwards."
    kind = click.FloatRange(min=1)
    return click.option("--timeout", type=kind, default=seconds, show_default=True, metavar="SECONDS", help=told)


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """How rows are printed: for people, or for programs."""
    kinds = click.Choice(["table", "json"])
    return click.option("-o", "--output", type=kinds, default="table", show_default=True)(command)


def print_rows(
    rows: Sequence[Mapping[str, Any]],
    output: str,
    columns: Sequence[str],
    line: Callable[[Mapping[str, Any]], Sequence[str]],
) -> None:
    """All of it as JSON, or what `line` says of each row as a table; where a cell is empty it has a dash."""
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    lines = [columns, *([cell or "-" for cell in line(row)] for row in rows)]
    widths = [max(len(one[column]) for one in lines) for column in range(len(columns))]
    for one in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(one, widths, strict=True)).rstrip())
