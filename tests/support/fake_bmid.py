"""The other side of the bus for tests of the publisher: answers commands and queries as it is told.

One thread with one connection. Like the real one it knows each id once, and answers a repeat with the same events.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import pika

from bmid.amqp import topology
from bmid.errors import Problem
from bmid.messages.envelope import CONTENT_TYPE, Envelope, decode, encode
from lab.rabbitmq import RabbitMQ

Event = tuple[str, dict[str, Any]]
OUTCOMES = {
    "bmi.node.map.v1": "bmi.node.mapped.v1",
    "bmi.node.unmap.v1": "bmi.node.unmapped.v1",
    "bmi.node.register.v1": "bmi.node.registered.v1",
    "bmi.project.create.v1": "bmi.project.created.v1",
    "bmi.image.import.v1": "bmi.image.imported.v1",
    "bmi.image.export.v1": "bmi.image.exported.v1",
}


def does_it(command: Envelope, operation: str) -> list[Event]:
    """Accepted, then the outcome."""
    base = {"operation": operation, "command": command.type, "project": command.data.get("project")}
    return [("bmi.operation.accepted.v1", base), (OUTCOMES[command.type], {**base, **command.data, "disk": "d1"})]


def fails(**problem: Any) -> Callable[[Envelope, str], list[Event]]:
    """Accepted, then failed."""
    refused = bool(problem.pop("refused", False))
    value = Problem.of("disk-full", "the pool is full", todo="Add a disk.").model_dump(mode="json") | problem

    def answer(command: Envelope, operation: str) -> list[Event]:
        base = {"operation": operation, "command": command.type, "project": command.data.get("project")}
        data = {**base, "refused": refused, "problem": value}
        return [does_it(command, operation)[0], ("bmi.operation.failed.v1", data)]

    return answer


def rejects(slug: str) -> Callable[[Envelope, str], list[Event]]:
    """Rejected at once."""

    def answer(command: Envelope, operation: str) -> list[Event]:
        problem = Problem.of(slug, "this can't be", todo="Ask for something else.").model_dump(mode="json")
        data = {"message": command.id, "source": command.source, "command": command.type, "reasons": ["this can't be"]}
        return [("bmi.command.rejected.v1", {**data, "problem": problem})]

    return answer


@dataclass
class FakeBmid:
    """`answer` makes the events of a new command; they go out `pace` seconds apart. `silent`: no event is published
    while it is set. `lost`: ids of events that go out when nobody listens, for once."""

    rabbitmq: RabbitMQ
    answer: Callable[[Envelope, str], list[Event]] = does_it
    pace: float = 0.0
    silent: bool = False
    lost: set[str] = field(default_factory=set)
    deaf: bool = False
    asked: list[Envelope] = field(default_factory=list)
    commands: list[Envelope] = field(default_factory=list)
    users: list[str | None] = field(default_factory=list)
    effects: dict[tuple[str, str], list[Envelope]] = field(default_factory=dict)
    phases: dict[str, str] = field(default_factory=dict)
    results: dict[str, dict[str, Any] | Callable[[Envelope], dict[str, Any]]] = field(default_factory=dict)
    problems: dict[str, Problem] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._stop, self._ready = threading.Event(), threading.Event()
        self._numbers = itertools.count(1)
        self._due: list[tuple[float, Envelope]] = []
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        assert self._ready.wait(60), "the fake bmid has not come up"
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join(60)

    def emit(self, kind: str, command: Envelope, data: dict[str, Any], *, publish: bool = True) -> None:
        """An event that the command caused, at any time."""
        event = self._event(kind, command, data)
        self.effects.setdefault((command.source, command.id), []).append(event)
        if publish:
            self._due.append((time.monotonic(), event))

    def _run(self) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(self.rabbitmq.url("bmid")))
        self._channel = connection.channel()
        for queue in (topology.COMMANDS, topology.QUERIES):
            topology.declare_queue(self._channel, queue)
            self._channel.queue_purge(queue.name)
        topology.declare_exchange(self._channel, topology.EVENTS)
        self._channel.basic_consume("bmi.commands", self._on_command, auto_ack=True)
        self._channel.basic_consume("bmi.queries", self._on_query, auto_ack=True)
        self._ready.set()
        while not self._stop.is_set():
            connection.process_data_events(0.02)
            for due in [one for one in self._due if one[0] <= time.monotonic()]:
                self._due.remove(due)
                self._publish(due[1])
        connection.close()

    def _on_command(self, _channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        command = decode(properties.content_type, properties.headers, body)
        self.commands.append(command)
        self.users.append(properties.user_id)
        if self.deaf:
            return
        key = (command.source, command.id)
        if key not in self.effects:
            operation = f"op{next(self._numbers)}"
            events = self.answer(command, operation)
            self.effects[key] = [self._event(kind, command, data) for kind, data in events]
            self.phases[command.id] = "running"
        for index, event in enumerate(self.effects[key]):
            self._due.append((time.monotonic() + index * self.pace, event))

    def _event(self, kind: str, command: Envelope, data: dict[str, Any]) -> Envelope:
        return Envelope(
            id=f"{command.id}/{kind}",
            source="/bmid/test",
            type=kind,
            time=datetime.now(UTC),
            subject=command.subject,
            correlationid=command.correlationid or command.id,
            causationid=command.id,
            data=data,
        )

    def _publish(self, event: Envelope) -> None:
        if event.type == "bmi.operation.failed.v1":
            self.phases[str(event.causationid)] = "failed"
        elif event.type in OUTCOMES.values():
            self.phases[str(event.causationid)] = "succeeded"
        if event.id in self.lost:
            self.lost.remove(event.id)
        elif not self.silent:
            headers, body = encode(event)
            key = f"{event.type}.{event.data.get('project') or '-'}"
            properties = pika.BasicProperties(content_type=CONTENT_TYPE, headers=headers)
            self._channel.basic_publish("bmi.events", key, body, properties)

    def _on_query(self, _channel: Any, _method: Any, properties: Any, body: bytes) -> None:
        query = decode(properties.content_type, properties.headers, body)
        self.asked.append(query)
        if self.deaf:
            return
        result = self.results.get(query.type)
        kind, data = "bmi.query.answered.v1", {"result": result(query) if callable(result) else result}
        if query.type == "bmi.operation.show.v1":
            phase = self.phases.get(query.data.get("message", ""))
            shown = {"operation": "op1", "phase": phase, "problem": None}
            data = {"result": {"operation": shown}}
        if query.type in self.problems:
            kind, data = "bmi.query.failed.v1", {"problem": self.problems[query.type].model_dump(mode="json")}
        headers, answer = encode(Envelope(id=f"a/{query.id}", source="/bmid/test", type=kind, data=data))
        told = pika.BasicProperties(
            content_type=CONTENT_TYPE, headers=headers, correlation_id=properties.correlation_id
        )
        self._channel.basic_publish("", properties.reply_to, answer, told)
