"""What all commands of `bmid` do alike: load when they are asked for, read the settings, tell an error, exit as
sysexits.h says. What only some commands need is imported where it is used.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bmid.errors import BmiError, Misconfigured, Refused, Rejected
from bmid.model.exit import Exit

if TYPE_CHECKING:
    from bmid.settings import Settings

__all__ = [
    "Commands",
    "output_option",
    "print_result",
    "print_rows",
    "read_settings",
    "telling",
    "timeout_option",
]


def read_settings(path: Path) -> Settings:
    """The settings, and the log as they want it. Raises Misconfigured."""
    settings: Settings = import_module("bmid.settings_file").load(path)
    import_module("bmid.logs").configure(settings.log.level, settings.log.format)
    return settings


class Commands(click.Group):
    """Commands, of each the place where it is ("module:name"), and whose errors are told, with what to do; then it
    exits. Loading all of them takes a second of CPU, so only the one that is asked for is loaded."""

    def __init__(self, *arguments: Any, places: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._places = places

    def list_commands(self, context: click.Context) -> list[str]:
        """All of them, in order."""
        return sorted({*super().list_commands(context), *self._places})

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """One of them; None if there is none of that name."""
        if name not in self._places:
            return super().get_command(context, name)
        module, _, member = self._places[name].partition(":")
        command: click.Command = getattr(import_module(module), member)
        return command

    def invoke(self, context: click.Context) -> Any:
        """As click does."""
        try:
            return super().invoke(context)
        except BmiError as error:
            click.echo(f"bmid: {error}", err=True)
            if error.problem.todo:
                click.echo(f"  {error.problem.todo}", err=True)
            sys.exit(_code(error))
        except KeyboardInterrupt:
            sys.exit(Exit.INTERRUPTED)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise  # what click tells by itself
        except Exception:
            # Not 1, as Python would: that is an answer, of `head carries` the one that takes an address away.
            traceback.print_exc()
            sys.exit(Exit.BROKEN)


def _code(error: BmiError) -> Exit:
    if isinstance(error, Refused | Rejected):
        return Exit.REFUSED
    return Exit.MISCONFIGURED if isinstance(error, Misconfigured) else Exit.UNAVAILABLE


def timeout_option(seconds: float, what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--timeout: `what` is waited for so long at most; `seconds` where nobody says."""
    told = f"Wait so long at most for {what}; it goes on by itself afterwards."
    kind = click.FloatRange(min=1)
    return click.option("--timeout", type=kind, default=seconds, show_default=True, metavar="SECONDS", help=told)


def output_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """How it is printed: for people, or for programs. Each command that has something to say takes it."""
    kinds = click.Choice(["table", "json"])
    return click.option("-o", "--output", type=kinds, default="table", show_default=True)(command)


@contextmanager
def telling() -> Iterator[Callable[[str], None]]:
    """How far it is, for whoever waits: each change is told, on a terminal in one line."""
    told: list[str] = []
    terminal = sys.stderr.isatty()

    def tell(line: str) -> None:
        if told[-1:] != [line]:
            click.echo(f"\r{line}\x1b[K" if terminal else line, nl=not terminal, err=True)
            told[:] = [line]

    try:
        yield tell
    finally:
        if told and terminal:
            click.echo(err=True)


def print_result(result: Mapping[str, Any], output: str, text: str) -> None:
    """What was done: all of it as JSON, or in a sentence."""
    click.echo(json.dumps(result, indent=2) if output == "json" else text)


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
