"""bmi-publish events: which events are wanted, and a line for each. Nothing is connected here."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import click

from bmi_publish.output import chosen, value_line
from bmi_publish.parameter import duration, finish, settings_of
from bmi_publish.report import note
from bmi_publish.settings import Settings
from bmi_publish.span import expand
from bmid.messages.envelope import Envelope
from bmid.messages.operation import OperationAccepted

__all__ = ["Choice", "events", "line_of"]

USUAL = ("time", "type", "project", "subject", "detail")
KEPT = 10_000  # operations whose node is remembered
SHORT = 40  # characters of a value in a line for people
SAID = frozenset({"operation", "project", "command", "node", "message", "source", "about"})


class Choice:
    """Which events somebody wants to hear: of these types (with * and # as in routing keys), of one project, about
    these nodes. Empty means all. An operation's events don't name its node, but the accepted event does."""

    def __init__(self, types: Sequence[str] = (), project: str | None = None, nodes: Sequence[str] = ()) -> None:
        self._types = tuple(types)
        self._project = project
        self._nodes = frozenset(nodes)
        self._forms = [re.compile(re.escape(one).replace(r"\*", "[^.]+").replace(r"\#", ".*")) for one in types]
        self._operations: dict[str, None] = {}

    def keys(self) -> tuple[str, ...]:
        """The routing keys to bind."""
        if self._types and not self._nodes:
            return tuple(f"{one}.{self._project or '*'}" for one in self._types)
        return (f"#.{self._project}" if self._project else "#",)

    def takes(self, event: Envelope) -> bool:
        """Whether it is one of them."""
        about = not self._nodes or self._about(event)
        return about and (not self._forms or any(form.fullmatch(event.type) for form in self._forms))

    def _about(self, event: Envelope) -> bool:
        named = {event.subject, event.data.get("about"), f"node/{event.data.get('node')}"}
        mine = not named.isdisjoint(f"node/{node}" for node in self._nodes)
        operation = event.data.get("operation")
        if mine and event.type == OperationAccepted.type and isinstance(operation, str):
            self._operations[operation] = None
            if len(self._operations) > KEPT:
                del self._operations[next(iter(self._operations))]
        return mine or operation in self._operations


def line_of(event: Envelope, form: str, columns: Sequence[str] = ()) -> str:
    """An event in one line: as JSON, as values with tabs between, or for people."""
    record = {"specversion": "1.0", **event.attributes(), "data": event.data}
    if form == "json":
        return json.dumps(chosen(record, columns), ensure_ascii=False)
    shown = {**record, "project": event.data.get("project"), "detail": _detail(event.data)}
    if form == "value" or columns:
        return value_line(shown, columns or USUAL)
    moment = f"{event.time:%Y-%m-%dT%H:%M:%SZ}" if event.time else ""
    cells = value_line({**shown, "time": moment}, USUAL).split("\t")
    widths = (20, 29, 10, 20, 0)
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _detail(data: Mapping[str, Any]) -> str:
    problem = data.get("problem")
    if isinstance(problem, Mapping):
        return str(problem.get("detail", ""))
    texts = {key: str(value) for key, value in data.items() if key not in SAID and isinstance(value, str | int | float)}
    return " ".join(f"{key}={text}" for key, text in texts.items() if len(text) <= SHORT)


@click.command()
@click.option("--follow", is_flag=True, help="Go on until it is interrupted; a lost connection is opened again.")
@click.option("--timeout", type=duration, default="30s", show_default=True, help="How long, without --follow.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this type, bmi.node.#; may be repeated.")
@click.option("--project", metavar="PROJECT", help="Only events of this project. [default: of all]")
@click.option("--node", metavar="NODE", help="Only events about this node, or a range: n[1-40].")
@click.option("-o", "--output", type=click.Choice(["table", "json", "value"]), default="table", show_default=True)
@click.option("-c", "--column", multiple=True, help="Only this column; may be repeated, and go deeper: data.address.")
@click.pass_context
def events(
    ctx: click.Context,
    /,
    follow: bool,
    timeout: float,
    types: tuple[str, ...],
    project: str | None,
    node: str | None,
    output: str,
    column: tuple[str, ...],
) -> None:
    """Print events as they come, one line each."""
    try:
        choice = Choice(types, project, expand(node) if node else ())
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    deadline = float("inf") if follow else time.monotonic() + timeout
    settings = settings_of(ctx)
    finish(ctx, lambda: _print(settings, choice, deadline, output, column))


def _print(settings: Settings, choice: Choice, deadline: float, form: str, columns: Sequence[str]) -> int:
    from bmi_publish.stream import Stream  # noqa: PLC0415 - the broker's library is loaded when it is needed

    with Stream(settings, choice.keys(), note) as stream:
        while (left := deadline - time.monotonic()) > 0:
            event = stream.receive(min(left, 1.0), left)
            if event and choice.takes(event):
                click.echo(line_of(event, form, columns))
    return 0
