"""Exchanges and queues with their final arguments. Declared by whoever needs them, as often as they like.

A queue's arguments can never be changed (406 PRECONDITION_FAILED): they are complete from the start, and sites
tighten limits by policy. No queue of a subscriber is declared here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pika.adapters.blocking_connection import BlockingChannel

__all__ = [
    "COMMANDS",
    "DEAD",
    "EVENTS",
    "HIL_EVENTS",
    "QUERIES",
    "Exchange",
    "Queue",
    "declare_exchange",
    "declare_queue",
]


@dataclass(frozen=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: str = "topic"


@dataclass(frozen=True)
class Queue:
    """A durable queue that takes all that its exchange gets."""

    name: str
    exchange: Exchange
    arguments: Mapping[str, str | int | bool]


_QUORUM: Mapping[str, str | int | bool] = MappingProxyType({"x-queue-type": "quorum"})
_ORDERED: Mapping[str, str | int | bool] = MappingProxyType(
    {
        **_QUORUM,
        # One head at a time consumes, so that what was sent first is accepted first; the broker fails over.
        "x-single-active-consumer": True,
        "x-delivery-limit": 20,
        "x-max-length": 100_000,
        # A publisher hears that there is no room; with the default the oldest messages would go.
        "x-overflow": "reject-publish",
        "x-dead-letter-exchange": "bmi.dead",
        "x-dead-letter-strategy": "at-least-once",
    }
)

EVENTS = Exchange("bmi.events")
# Without this queue dead letters would stay where they are for ever: at-least-once waits until they are routed.
DEAD = Queue("bmi.dead", Exchange("bmi.dead", "fanout"), _QUORUM)
COMMANDS = Queue("bmi.commands", Exchange("bmi.commands"), _ORDERED)
HIL_EVENTS = Queue("bmi.hil-events", Exchange("hil.events"), _ORDERED)
# A query that nobody answered within half a minute has nobody waiting for it any more.
QUERIES = Queue(
    "bmi.queries",
    Exchange("bmi.queries"),
    MappingProxyType({**_QUORUM, "x-message-ttl": 30_000, "x-max-length": 10_000}),
)


def declare_exchange(channel: BlockingChannel, exchange: Exchange) -> None:
    """Declare it; nothing happens where it is there already."""
    channel.exchange_declare(exchange.name, exchange.kind, durable=True)


def declare_queue(channel: BlockingChannel, queue: Queue) -> None:
    """Declare a queue, its exchange and its binding; first bmi.dead, where its dead letters go."""
    if "x-dead-letter-exchange" in queue.arguments:
        declare_queue(channel, DEAD)
    declare_exchange(channel, queue.exchange)
    channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
    channel.queue_bind(queue.name, queue.exchange.name, "#")
