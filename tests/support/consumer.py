"""A consumer of bmi.commands on the shared broker, with a receiver in the test's hand, and numbered messages for it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bmid.amqp.consumer import Consumer
from lab.rabbitmq import RabbitMQ
from tests.support.bus import FakeReceiver, broker_of, channel_of, depth, event_body, forget_everything, send

__all__ = ["consumer", "left_by", "receiver", "send_numbers"]


@pytest.fixture
def receiver() -> FakeReceiver:
    """What it hands messages to."""
    return FakeReceiver()


@pytest.fixture
def consumer(rabbitmq: RabbitMQ, receiver: FakeReceiver) -> Iterator[Consumer]:
    """One that is connected, on a broker without any message."""
    forget_everything(rabbitmq)
    made = Consumer(broker_of(rabbitmq), "head-a", receiver, chance=lambda: 0.1)
    made.run_once(0.05)
    yield made
    made.close()


def send_numbers(rabbitmq: RabbitMQ, first: int, last: int) -> None:
    """One message for each number."""
    with channel_of(rabbitmq) as channel:
        for number in range(first, last + 1):
            send(channel, event_body(number))


def left_by(consumer: Consumer, rabbitmq: RabbitMQ) -> int:
    """How many messages are in the queue once the consumer has gone: also those that it never acknowledged."""
    consumer.close()
    with channel_of(rabbitmq) as channel:
        time.sleep(0.2)  # until then what was never acknowledged is back; what was may take the broker longer to forget
        end = time.monotonic() + 10
        while (left := depth(channel, "bmi.commands")) and time.monotonic() < end:
            time.sleep(0.05)
        return left
