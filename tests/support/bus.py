"""A publisher, and receivers, sources and answerers that do as they are told."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from bmid.amqp.broker import Broker
from bmid.amqp.port import ACK, DEAD_LETTER, Delivery, Outgoing, Receipt
from bmid.errors import TransientError
from bmid.messages.envelope import Unreadable, decode
from lab.rabbitmq import RabbitMQ

QUEUES = ("bmi.commands", "bmi.queries", "bmi.dead", "bmi.hil-events")


def broker_of(rabbitmq: RabbitMQ, user: str = "bmid") -> Broker:
    return Broker.from_url(rabbitmq.url(user))


@contextmanager
def channel_of(rabbitmq: RabbitMQ, user: str = "alice") -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url(user)))
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        yield channel
    finally:
        with suppress(AMQPError):
            connection.close()


def forget_everything(rabbitmq: RabbitMQ) -> None:
    with channel_of(rabbitmq) as channel:
        for queue in QUEUES:
            channel.queue_delete(queue)


def send(channel: BlockingChannel, body: bytes, *, user: str | None = "alice", **properties: Any) -> None:
    values = {"content_type": "application/cloudevents+json", "delivery_mode": 2, "message_id": str(uuid.uuid4())}
    channel.basic_publish(
        "bmi.commands",
        "bmi.test.do.v1",
        body,
        pika.BasicProperties(user_id=user, **(values | properties)),
        mandatory=True,
    )


def event_body(number: int) -> bytes:
    text = '{"specversion":"1.0","id":"%d","source":"test","type":"bmi.test.do.v1","data":{"n":%d}}'
    return (text % (number, number)).encode()


def get(channel: BlockingChannel, queue: str, seconds: float = 30) -> tuple[Any, bytes]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        method, properties, body = channel.basic_get(queue, auto_ack=True)
        if method is not None:
            return properties, body
        time.sleep(0.05)
    raise AssertionError(f"nothing in {queue} within {seconds} s")


def depth(channel: BlockingChannel, queue: str) -> int:
    return int(channel.queue_declare(queue, passive=True).method.message_count)


def turn_until(condition: Callable[[], bool], *parts: Any, seconds: float = 60, timeout: float = 0.05) -> None:
    """Call run_once of each part in turn, as its thread would, until the condition holds."""
    end = time.monotonic() + seconds
    due = {id(part): 0.0 for part in parts}
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s"
        for part in parts:
            if time.monotonic() >= due[id(part)]:
                due[id(part)] = time.monotonic() + part.run_once(timeout)
        time.sleep(0.001)


def turn_for(seconds: float, *parts: Any) -> None:
    end = time.monotonic() + seconds
    turn_until(lambda: time.monotonic() > end, *parts, seconds=seconds + 5)


@dataclass
class FakeReceiver:
    """Accepts what is a readable CloudEvent of somebody known, once for each id."""

    accepted: list[int] = field(default_factory=list)
    offered: list[Delivery] = field(default_factory=list)
    away_until: float = 0.0
    stumbles_over: set[int] = field(default_factory=set)
    ready: bool = True
    every: Callable[[int], None] = lambda count: None

    def available(self) -> bool:
        return self.ready

    def receive(self, delivery: Delivery) -> Receipt:
        if time.monotonic() < self.away_until:
            raise TransientError("database-away", "the database is away", delay=0.1)
        self.offered.append(delivery)
        self.every(len(self.offered))
        if delivery.user_id is None:
            return DEAD_LETTER
        try:
            event = decode(delivery.content_type, delivery.headers, delivery.body)
        except Unreadable:
            return DEAD_LETTER
        number = int(event.data["n"])
        if number in self.stumbles_over:
            raise RuntimeError("a mistake of ours")
        if number not in self.accepted:
            self.accepted.append(number)
        return ACK


@dataclass(frozen=True)
class FakeEvent:
    key: int
    routing_key: str = "bmi.test.done.v1.p1"
    exchange: str = "bmi.events"
    type: str = "bmi.test.done.v1"
    correlation_id: str | None = "c1"
    body: bytes = b"{}"
    headers: Mapping[str, Any] = field(default_factory=lambda: {"cloudEvents_time": "2026-01-02T03:04:05+00:00"})

    @property
    def message_id(self) -> str:
        return f"event-{self.key}"


@dataclass
class FakeSource:
    """An outbox in memory. `taken` are the sizes of the batches that it gave."""

    waiting: dict[int, FakeEvent] = field(default_factory=dict)
    routed: list[int] = field(default_factory=list)
    unrouted: list[int] = field(default_factory=list)
    taken: list[int] = field(default_factory=list)
    away: bool = False
    away_for_marks: int = 0
    every: Callable[[], None] = lambda: None

    def add(self, *events: FakeEvent) -> None:
        self.waiting |= {event.key: event for event in events}

    def batch(self, limit: int) -> Sequence[Outgoing]:
        if self.away:
            raise TransientError("database-away", "the database is away", delay=0.1)
        self.every()
        keys = sorted(self.waiting)[:limit]
        self.taken += [len(keys)] if keys else []
        return [self.waiting[key] for key in keys]

    def published(self, keys: Sequence[int], unrouted_keys: Sequence[int]) -> None:
        if self.away_for_marks:
            self.away_for_marks -= 1
            raise TransientError("database-away", "the database is away", delay=0.1)
        self.routed += keys
        self.unrouted += unrouted_keys
        for key in (*keys, *unrouted_keys):
            self.waiting.pop(key)
