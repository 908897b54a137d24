"""Pings through the queue of commands of a real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from bmid.amqp.consumer import PING, Consumer
from bmid.amqp.ping import Pinger
from bmid.amqp.relay import Relay
from lab.rabbitmq import RabbitMQ
from tests.support.bus import (
    FakeReceiver,
    FakeSource,
    broker_of,
    channel_of,
    depth,
    event_body,
    forget_everything,
    send,
    turn_for,
    turn_until,
)


class Head:
    """A consumer, a pinger and a relay, as one daemon has them."""

    def __init__(self, rabbitmq: RabbitMQ, name: str, limit: float = 60.0) -> None:
        broker = broker_of(rabbitmq)
        self.receiver = FakeReceiver()
        self.consumer = Consumer(broker, name, self.receiver, chance=lambda: 0.1)
        self.relay = Relay(broker, name, FakeSource(), chance=lambda: 0.1)
        self.pinger = Pinger(broker, name, self.consumer, [self.relay], interval=0.2, limit=limit, chance=lambda: 0.1)
        self.parts = (self.consumer, self.pinger)

    def close(self) -> None:
        for part in (self.consumer, self.pinger, self.relay):
            part.close()


@pytest.fixture
def head(rabbitmq: RabbitMQ) -> Iterator[Head]:
    forget_everything(rabbitmq)
    head = Head(rabbitmq, "head-a", limit=1.0)
    yield head
    head.close()


def test_a_ping_comes_through_the_queue_and_is_answered(head):
    turn_until(lambda: head.pinger.counts["answers"] >= 3, *head.parts)
    assert head.pinger.silence() < 5
    assert head.consumer.counts["pings"] >= 3
    assert head.receiver.offered == []


def test_the_head_that_gets_no_commands_hears_from_the_one_that_does(rabbitmq, head):
    turn_for(0.2, *head.parts)
    other = Head(rabbitmq, "head-b")
    try:
        turn_until(lambda: other.pinger.counts["answers"] >= 3, *head.parts, *other.parts)
        assert other.consumer.counts["pings"] == 0
    finally:
        other.close()


def test_a_consumer_that_gets_nothing_is_connected_anew_with_all_others(rabbitmq, head):
    turn_until(lambda: head.pinger.counts["answers"] >= 1, *head.parts)
    assert head.relay.run_once(0) >= 0
    head.consumer.link.channel.basic_cancel(head.consumer.link.channel.consumer_tags[0])
    turn_until(lambda: head.pinger.silences == 1, *head.parts)
    before = head.pinger.counts["answers"]
    relays_before = head.relay.link.channel
    head.relay.run_once(0)
    assert head.relay.link.channel is not relays_before
    turn_until(lambda: head.pinger.counts["answers"] > before, *head.parts)
    assert head.pinger.silences == 0


def test_while_the_database_is_away_silence_is_no_fault_of_the_connection(rabbitmq, head):
    turn_until(lambda: head.pinger.counts["answers"] >= 1, *head.parts)
    head.receiver.away_until = time.monotonic() + 2.5
    with channel_of(rabbitmq) as channel:
        send(channel, event_body(1))
    turn_until(lambda: head.receiver.accepted == [1], *head.parts)
    turn_for(1.5, *head.parts)
    assert head.pinger.counts["silences"] == 0


def test_a_strangers_ping_is_no_ping(rabbitmq, head):
    with channel_of(rabbitmq) as channel:
        channel.queue_declare("victim")
        turn_for(0.2, *head.parts)
        send(channel, b"{}", type=PING, reply_to="victim")
        turn_until(lambda: head.receiver.offered, *head.parts)
        turn_for(0.3, *head.parts)
        assert depth(channel, "victim") == 0
        channel.queue_delete("victim")
    assert [delivery.type for delivery in head.receiver.offered] == [PING]


def test_pings_begin_again_after_a_cut_connection(rabbitmq, head):
    turn_until(lambda: head.pinger.counts["answers"] >= 1, *head.parts)
    rabbitmq.close_connections("bmid")
    before = head.pinger.counts["answers"]
    turn_until(lambda: head.pinger.counts["answers"] > before + 2, *head.parts)
