"""Brings many commands to their ends over one connection: send, hear events, ask now and then, send again.

What an event means for a command is decided in watch.py, how the connection is kept in connection.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bmi_publish.connection import COMMANDS, QUERIES, Connection
from bmi_publish.delivery import Delivery
from bmi_publish.error import Lost, NotAllowed, Unreachable
from bmi_publish.ticket import Ticket, new_id
from bmi_publish.watch import Watch
from bmid.messages.envelope import Envelope

__all__ = ["Waiter"]

SHOW_OPERATION = "bmi.operation.show.v1"
FAILED_ANSWER = "bmi.query.failed.v1"
REJECTED_KEY = "bmi.command.rejected.v1.-"
POLL = 3.0  # seconds between looks at an operation


class Waiter:
    """One round of waiting. `reach` is how long, in seconds, the first connection may take."""

    def __init__(
        self, connection: Connection, source: str, watches: Sequence[Watch], on_event: Callable[[Envelope], None]
    ) -> None:
        self._connection = connection
        self._source = source
        self._watches = watches
        self._on_event = on_event
        self._asked: dict[str, Watch] = {}

    def run(self, deadline: float, reach: float) -> str | None:
        """Until all have ended or `deadline` (time.monotonic). Returns why the broker could not be reached at last, if
        so; raises Unreachable if it never took anything, or NotAllowed."""
        try:
            self._connection.subscribe(keys_of([watch.ticket for watch in self._watches]))
            self._connection.ensure(min(deadline, time.monotonic() + reach))
            return self._follow(deadline)
        finally:
            self._unsubscribe()

    def _follow(self, deadline: float) -> str | None:
        look = time.monotonic() + POLL
        while (left := self._left()) and time.monotonic() < deadline:
            try:
                if self._connection.ensure(deadline):
                    look = time.monotonic()
                    for watch in left:
                        watch.missed()
                self._send(left)
                if time.monotonic() >= look:
                    self._look(left)
                    look = time.monotonic() + POLL
                self._take(self._connection.receive(min(look, deadline) - time.monotonic()))
            except Lost:
                continue
            except Unreachable as error:
                if not any(watch.confirmed for watch in self._watches):
                    raise
                return error.problem.detail
        return None

    def _left(self) -> list[Watch]:
        return [watch for watch in self._watches if watch.result is None]

    def _send(self, left: Sequence[Watch]) -> None:
        for watch in left:
            if not watch.sent and watch.ticket.envelope is not None:
                self._connection.publish(COMMANDS, watch.ticket.envelope)
                watch.sent = watch.confirmed = True

    def _look(self, left: Sequence[Watch]) -> None:
        """Ask for the operations; the answers come like events."""
        self._asked.clear()
        for watch in left:
            data = {"message": watch.ticket.id, "source": watch.ticket.source}
            data |= {"project": watch.ticket.project} if watch.ticket.project else {}
            ask = Envelope(id=new_id(), source=self._source, type=SHOW_OPERATION, data=data)
            self._connection.publish(QUERIES, ask, ask=True, mandatory=False)
            self._asked[ask.id] = watch

    def _take(self, delivery: Delivery | None) -> None:
        envelope = delivery.envelope() if delivery else None
        if delivery is None or envelope is None:
            return
        if delivery.answers:
            watch = self._asked.get(delivery.answers)
            if watch and envelope.type != FAILED_ANSWER:
                watch.tell(_operation(envelope.data.get("result")))
            return
        if [watch for watch in self._left() if watch.see(envelope)]:
            self._on_event(envelope)

    def _unsubscribe(self) -> None:
        try:
            self._connection.subscribe(())
        except (Lost, NotAllowed, Unreachable):
            self._connection.close()


def keys_of(tickets: Sequence[Ticket]) -> tuple[str, ...]:
    """What to bind: all events of the projects. Rejections for want of rights name no project."""
    if any(ticket.envelope is None for ticket in tickets):
        return ("#",)
    projects = sorted({ticket.project or "-" for ticket in tickets}, key=lambda name: name == "-")
    keys = tuple(f"#.{project}" for project in projects)
    return keys if "-" in projects else (*keys, REJECTED_KEY)


def _operation(result: object) -> Mapping[str, Any]:
    """The operation in the answer, whether it is the answer or a member of it."""
    if not isinstance(result, dict):
        return {}
    inner = result.get("operation")
    return inner if isinstance(inner, dict) else result
