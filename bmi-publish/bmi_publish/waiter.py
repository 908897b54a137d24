"""Brings many commands to their ends over one connection: send, hear events, ask now and then, send again.

What an event means for a command is decided in watch.py, how the connection is kept in connection.py.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
            # A connection that has died since it was used last is noticed here, and opened anew below.
            with suppress(Lost):
                self._connection.subscribe(keys_of([watch.ticket for watch in self._watches]))
                self._connection.ensure(min(deadline, time.monotonic() + reach))
            return self._follow(deadline)
        finally:
            self._unsubscribe()

    def _follow(self, deadline: float) -> str | None:
        # A ticket that can't be sent is not answered by events: ask at once.
        first = POLL if all(watch.ticket.envelope for watch in self._watches) else 0.0
        look = time.monotonic() + first
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
            ask = self._question(watch)
            self._connection.publish(QUERIES, ask, ask=True, mandatory=False)
            self._asked[ask.id] = watch

    def _question(self, watch: Watch) -> Envelope:
        ticket, until = watch.ticket, watch.until
        if watch.done and until and ticket.envelope:
            data = {until.field: ticket.envelope.data.get(until.field)}
            return Envelope(id=new_id(), source=self._source, type=until.query, data=data)
        data = {"message": ticket.id, "source": ticket.source}
        return Envelope(id=new_id(), source=self._source, type=SHOW_OPERATION, data=data)

    def _take(self, delivery: Delivery | None) -> None:
        envelope = delivery.envelope() if delivery else None
        if delivery is None or envelope is None:
            return
        if delivery.answers:
            watch = self._asked.pop(delivery.answers, None)
            result = envelope.data.get("result")
            if watch and isinstance(result, dict):
                _tell(watch, result)
            return
        if [watch for watch in self._left() if watch.see(envelope)]:
            self._on_event(envelope)

    def _unsubscribe(self) -> None:
        try:
            self._connection.subscribe(())
        except (Lost, NotAllowed, Unreachable):
            self._connection.close()


def keys_of(tickets: Sequence[Ticket]) -> tuple[str, ...]:
    """What to bind: all events of the projects. Rejections name no project. A ticket without its message brings no
    key, because what it is about isn't known; the query tells its end."""
    named = {ticket.project or "-" for ticket in tickets if ticket.envelope}
    keys = tuple(f"#.{project}" for project in sorted(named, key=lambda name: name == "-"))
    return keys if "-" in named or not named else (*keys, REJECTED_KEY)


def _tell(watch: Watch, result: Mapping[str, Any]) -> None:
    """An answer is {"operation": {...}} or {"node": {...}}."""
    operation, node = result.get("operation"), result.get("node")
    if isinstance(operation, dict):
        watch.tell(operation)
    elif isinstance(node, dict):
        watch.tell_boot(node)
