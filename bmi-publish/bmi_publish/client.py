"""The library: publish commands, wait for their ends, follow events, ask queries.

Blocking, for one thread; give each thread a client of its own. How a connection is kept is in connection.py, what an
event means for a command in watch.py.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from bmi_publish.boot import Until
from bmi_publish.connection import COMMANDS, QUERIES, Connection
from bmi_publish.error import Lost, QueryFailed, Unreachable
from bmi_publish.paging import follow, rows_of
from bmi_publish.result import Result
from bmi_publish.settings import Settings, load
from bmi_publish.ticket import Ticket, envelope_of
from bmi_publish.waiter import FAILED_ANSWER, Waiter
from bmi_publish.watch import Watch
from bmid.errors import Problem
from bmid.handlers.registry import discover
from bmid.messages.base import Command, Query
from bmid.messages.envelope import Envelope

__all__ = ["Client"]

POLL = 3.0  # seconds until a query is asked again
TODO = "It goes on by itself; the same idempotency key tells its end later."


class Client:
    """A publisher of commands. Arguments go before the environment (BMI_URL, BMI_USER ...), and that before
    ~/.config/bmi/config.toml. `source` names the publishing service; it is part of every command's identity.
    `reach` is how long, in seconds, a first connection may take. Nothing is connected before it is needed.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        user: str | None = None,
        password: str | None = None,
        source: str | None = None,
        config: Path | None = None,
        settings: Settings | None = None,
        reach: float = 30.0,
    ) -> None:
        given = {"url": url, "user": user, "password": password, "source": source}
        self.settings = settings or load(given, os.environ, config)
        self._connection = Connection(self.settings)
        self._reach = reach
        self._follows = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def ticket(self, command: Command, *, id: str | None = None, correlation: str | None = None) -> Ticket:
        """Give a command its identity without sending it: keep the ticket, and nothing is done twice, whatever
        crashes. `id` is the idempotency key, a new UUID by default."""
        return Ticket.of(envelope_of(command, self.settings.source, id=id, correlation=correlation))

    def publish(
        self,
        command: Command | Ticket,
        *,
        id: str | None = None,
        correlation: str | None = None,
        timeout: float | None = None,
    ) -> Ticket:
        """Send a command; returns when the broker has it safely. Raises Unreachable after `timeout` seconds (the same
        ticket may be published again then), or NotAllowed."""
        ticket = command if isinstance(command, Ticket) else self.ticket(command, id=id, correlation=correlation)
        if ticket.envelope is None:
            raise ValueError("this ticket has no message to send")
        deadline = time.monotonic() + (self._reach if timeout is None else timeout)
        while True:
            try:
                self._connection.ensure(deadline)
                self._connection.publish(COMMANDS, ticket.envelope)
            except Lost as error:
                if time.monotonic() >= deadline:
                    raise _no_answer(f"the broker did not take the message: {error}") from error
            else:
                return ticket

    def wait(
        self,
        what: Command | Ticket,
        timeout: float,
        *,
        id: str | None = None,
        correlation: str | None = None,
        until: Until | None = None,
        on_event: Callable[[Envelope], None] | None = None,
    ) -> Result:
        """Send a command and return its end, or State.RUNNING after `timeout` seconds. A ticket is sent (again) too:
        that has no second effect, and is answered. `until=BOOTED` goes on until the mapped node has booted, or
        could not. Raises Unreachable if the broker can't be reached at all, or NotAllowed."""
        ticket = what if isinstance(what, Ticket) else self.ticket(what, id=id, correlation=correlation)
        return self.wait_all([ticket], timeout, until=until, on_event=on_event)[0]

    def wait_all(
        self,
        tickets: Sequence[Ticket],
        timeout: float,
        *,
        until: Until | None = None,
        on_event: Callable[[Envelope], None] | None = None,
    ) -> list[Result]:
        """Like `wait`, for many commands side by side; the results are in the order of the tickets."""
        if self._follows:
            raise ValueError("this client follows events; wait with another one")
        commands = discover().commands
        watches = []
        for ticket in tickets:
            handler = commands.get(ticket.envelope.type) if ticket.envelope else None
            watches.append(Watch(ticket, handler.outcome.type if handler else None, until))
        waiter = Waiter(self._connection, self.settings.source, watches, on_event or (lambda _: None))
        reason = waiter.run(time.monotonic() + timeout, self._reach)
        detail = reason or "it has not ended within the time allowed"
        return [watch.give_up(Problem.of("timeout", detail, todo=TODO)) for watch in watches]

    def follow(self, keys: Sequence[str] = ("#",), timeout: float | None = None) -> Iterator[Envelope]:
        """Events with these routing keys (`<type>.<project>`, with * and #) as they come, for `timeout` seconds or for
        ever. What is published while the connection is down is missed. Between two events the client may publish and
        ask, but not wait."""
        deadline = time.monotonic() + timeout if timeout is not None else float("inf")
        self._connection.subscribe(tuple(keys))
        self._follows = True
        try:
            while time.monotonic() < deadline:
                try:
                    self._connection.ensure(deadline)
                    delivery = self._connection.receive(min(deadline - time.monotonic(), 1.0))
                except Lost:
                    continue
                event = delivery.envelope() if delivery else None
                if delivery and not delivery.answers and event:
                    yield event
        finally:
            self._follows = False
            self._connection.close()
            self._connection.subscribe(())

    def query(self, query: Query, timeout: float = 15.0) -> dict[str, Any]:
        """Ask, and return the result. Raises QueryFailed with a problem, Unreachable if nobody answers."""
        envelope = envelope_of(query, self.settings.source)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            try:
                self._connection.ensure(deadline)
                self._connection.publish(QUERIES, envelope, ask=True)
                again = min(deadline, time.monotonic() + POLL)
                while time.monotonic() < again:
                    delivery = self._connection.receive(again - time.monotonic(), events=False)
                    answer = delivery.envelope() if delivery else None
                    if delivery and answer and delivery.answers == envelope.id:
                        return _answer(answer)
            except Lost:
                continue
        raise _no_answer("no bmid has answered within the time allowed")

    def rows(self, query: Query, timeout: float = 15.0, *, most: int | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a list, one by one; the next page (of `query.limit` rows) is asked for when it is needed. At most
        `most` in all. `timeout` is for each page. Raises as `query` does."""
        for answer in follow(lambda one: self.query(one, timeout), query, most):
            yield from rows_of(answer)

    def upload(self, address: str, token: str, file: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """PUT a file to the address that an accepted event named. `progress` gets bytes done and in all. Heartbeats
        of the connection go on meanwhile. Raises UploadFailed."""
        from bmi_publish.upload import send_file  # noqa: PLC0415 - httpx takes 0.1 s to load

        send_file(address, token, file, self._beating(progress))

    def download(
        self, address: str, token: str, target: BinaryIO, progress: Callable[[int, int], None] | None = None
    ) -> str:
        """GET an exported file from the address that an outcome event named into an open file; its SHA-256. Heartbeats
        of the connection go on meanwhile. Raises DownloadFailed."""
        from bmi_publish.download import fetch_file  # noqa: PLC0415 - httpx takes 0.1 s to load

        return fetch_file(address, token, target, self._beating(progress))

    def _beating(self, progress: Callable[[int, int], None] | None) -> Callable[[int, int], None]:
        def step(done: int, total: int) -> None:
            self._connection.beat()
            if progress:
                progress(done, total)

        return step


def _answer(answer: Envelope) -> dict[str, Any]:
    if answer.type == FAILED_ANSWER:
        raise QueryFailed(Problem.model_validate(answer.data["problem"]))
    result = answer.data.get("result")
    return result if isinstance(result, dict) else {"result": result}


def _no_answer(detail: str) -> Exception:
    return Unreachable.of("unreachable", detail, "Is bmid running?")
