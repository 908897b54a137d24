"""What the sub-commands do once their words are understood. No parameter is declared here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bmi_publish.boot import BOOTED
from bmi_publish.error import PublishError
from bmi_publish.output import records_of, show
from bmi_publish.paging import follow, is_list
from bmi_publish.progress import Bars
from bmi_publish.report import Form, complain, tell_results, tell_tickets
from bmi_publish.settings import Settings
from bmi_publish.ticket import Ticket
from bmid.messages.base import Query
from bmid.messages.envelope import Envelope

if TYPE_CHECKING:
    from bmi_publish.client import Client

__all__ = ["Wish", "ask", "dispatch"]

SEND_TIMEOUT = 30.0


@dataclass(frozen=True)
class Wish:
    """How a command is to be carried out. `timeout` in seconds; `booted` also waits for the node's boot."""

    wait: bool
    timeout: float
    booted: bool = False


def dispatch(settings: Settings, envelopes: Mapping[str, Envelope], wish: Wish, form: Form) -> int:
    """Send commands, each with the name that the user knows it by; wait if that is wished. Returns the exit code.
    Raises PublishError or KeyboardInterrupt."""
    from bmi_publish.client import Client  # noqa: PLC0415 - the broker's library is loaded when it is needed

    names = list(envelopes)
    tickets = [Ticket.of(envelope) for envelope in envelopes.values()]
    try:
        with Client(settings=settings, reach=min(SEND_TIMEOUT, wish.timeout)) as client:
            if not wish.wait:
                for ticket in tickets:
                    client.publish(ticket)
                tell_tickets(names, tickets, form)
                return 0
            until = BOOTED if wish.booted else None
            with Bars({ticket.id: name for name, ticket in zip(names, tickets, strict=True)}) as bars:
                results = client.wait_all(tickets, wish.timeout, until=until, on_event=bars.event)
            return tell_results(names, results, form)
    except KeyboardInterrupt:
        click.echo(f"Interrupted; what was sent goes on: {', '.join(ticket.id for ticket in tickets)}", err=True)
        raise


def ask(settings: Settings, queries: Sequence[Query], form: Form, timeout: float, most: int | None = None) -> int:
    """Ask and show the answers; of lists `most` rows, or all. `timeout` is for each answer. Returns the exit code."""
    from bmi_publish.client import Client  # noqa: PLC0415

    records: list[Mapping[str, Any]] = []
    code, single, cursor = 0, form.single, None
    with Client(settings=settings) as client:
        for query in queries:
            try:
                for answer in _answers(client, query, timeout, most):
                    cursor = answer.get("next")
                    found, one = records_of(answer)
                    records += found
                    single = single and one
            except PublishError as error:
                complain(error.problem)
                code = max(code, error.exit_code)
    if records or not code:
        show(records, form.format, form.columns, single=single)
    if cursor and not code:
        click.echo(f"There are more: a higher --limit, or the same with --after {cursor}", err=True)
    return code


def _answers(client: Client, query: Query, timeout: float, most: int | None) -> Iterator[dict[str, Any]]:
    if is_list(type(query)):
        yield from follow(lambda one: client.query(one, timeout), query, most)
    else:
        yield client.query(query, timeout)
