"""The consumer on a real broker."""

from __future__ import annotations

import struct
import time

import pika
import pytest

from bmid.amqp import consumer as consumer_module
from bmid.amqp.consumer import Consumer
from tests.support.bus import (
    FakeReceiver,
    broker_of,
    channel_of,
    depth,
    event_body,
    forget_everything,
    get,
    send,
    turn_for,
    turn_until,
)
from tests.support.consumer import consumer, left_by, receiver, send_numbers

__all__ = ["consumer", "receiver"]


def test_messages_are_accepted_in_the_order_in_which_they_were_sent(rabbitmq, consumer, receiver):
    send_numbers(rabbitmq, 1, 200)
    turn_until(lambda: len(receiver.accepted) == 200, consumer)
    assert receiver.accepted == list(range(1, 201))
    assert [delivery.user_id for delivery in receiver.offered] == ["alice"] * 200
    assert left_by(consumer, rabbitmq) == 0


UNREADABLE = {
    "bad JSON": b'{"specversion": "1.0", ',
    "NaN": b'{"specversion":"1.0","id":"1","source":"s","type":"t","data":{"n":NaN}}',
    "deep nesting": b'{"specversion":"1.0","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "5 MB": b'{"specversion":"1.0","data":"' + b"x" * 5_000_000 + b'"}',
    "invalid UTF-8": b'{"specversion":"1.0","data":"\xff\xfe\xc0"}',
    "empty": b"",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_nobody_can_read_ends_in_bmi_dead_raw_and_whole(rabbitmq, consumer, receiver, name):
    with channel_of(rabbitmq) as channel:
        send(channel, UNREADABLE[name], message_id="m1", headers={"x-mine": "kept"})
        send(channel, event_body(2))
        turn_until(lambda: receiver.accepted == [2], consumer)
        properties, body = get(channel, "bmi.dead")
    assert body == UNREADABLE[name]
    assert (properties.message_id, properties.user_id, properties.headers["x-mine"]) == ("m1", "alice", "kept")


class Poison(pika.BasicProperties):
    """A header that is a timestamp far beyond what Python knows: pika drops the connection over it."""

    def encode(self) -> list[bytes]:
        table = b"\x01tT" + struct.pack(">Q", 2**62)
        return [struct.pack(">HI", 1 << 13, len(table)) + table]


def test_a_message_that_breaks_the_connection_is_set_aside_and_takes_no_other_with_it(rabbitmq, consumer, receiver):
    with channel_of(rabbitmq) as channel:
        for number in range(1, 101):
            send(channel, event_body(number))
            if number == 5:
                channel.basic_publish("bmi.commands", "poison", b"poison", Poison())
        turn_until(lambda: len(receiver.accepted) == 100, consumer, seconds=60)
        assert sorted(receiver.accepted) == list(range(1, 101))
        assert depth(channel, "bmi.dead") == 1
        for number in range(101, 201):
            send(channel, event_body(number))
        turn_until(lambda: len(receiver.accepted) == 200, consumer)
    assert not consumer._one_by_one
    assert left_by(consumer, rabbitmq) == 0


def test_a_message_without_a_sender_ends_in_bmi_dead(rabbitmq, consumer, receiver):
    with channel_of(rabbitmq) as channel:
        send(channel, event_body(1), user=None)
        turn_until(lambda: consumer.counts["dead_lettered"] == 1, consumer)
        assert get(channel, "bmi.dead")[1] == event_body(1)
    assert receiver.accepted == []


def test_properties_that_are_no_text_are_read_all_the_same(rabbitmq, consumer, receiver):
    with channel_of(rabbitmq) as channel:
        send(channel, event_body(1), headers={"a": b"\xff\x00", "b": {"c": [1, None, True]}, "d": 2**40})
        turn_until(lambda: receiver.accepted == [1], consumer)
    assert receiver.offered[0].headers["b"] == {"c": [1, None, True]}


def test_while_the_database_is_away_messages_wait_and_are_then_accepted_once_and_in_order(rabbitmq, consumer, receiver):
    receiver.away_until = time.monotonic() + 3600
    send_numbers(rabbitmq, 1, 100)
    turn_until(lambda: consumer.paused, consumer)
    turn_for(2, consumer)
    receiver.away_until = 0.0
    turn_until(lambda: len(receiver.accepted) == 100, consumer)
    assert receiver.accepted == list(range(1, 101))
    assert len(receiver.offered) == 100
    assert not any(delivery.redelivered for delivery in receiver.offered)
    assert not consumer.paused
    assert left_by(consumer, rabbitmq) == 0


def test_what_was_held_on_an_old_connection_is_not_acknowledged_on_the_new_one(rabbitmq, consumer, receiver):
    receiver.away_until = time.monotonic() + 3600
    send_numbers(rabbitmq, 1, 10)
    turn_until(lambda: consumer.paused, consumer)
    consumer.reopen()
    receiver.away_until = 0.0
    turn_until(lambda: len(receiver.accepted) == 10, consumer)
    turn_for(0.3, consumer)
    assert consumer.link.problem is None
    assert len(receiver.offered) == 10
    assert left_by(consumer, rabbitmq) == 0


def test_nothing_is_taken_while_nothing_can_be_accepted(rabbitmq, receiver):
    forget_everything(rabbitmq)
    receiver.ready = False
    consumer = Consumer(broker_of(rabbitmq), "head-a", receiver)
    try:
        assert consumer.run_once(0.05) > 0
        assert consumer.paused
        assert not consumer.link.is_open
        receiver.ready = True
        turn_until(lambda: not consumer.paused, consumer)
    finally:
        consumer.close()


def test_a_head_that_can_accept_nothing_for_long_leaves_the_queue_to_another(rabbitmq, consumer, receiver, monkeypatch):
    monkeypatch.setattr(consumer_module, "HOLDS", (0.5,))
    receiver.away_until = time.monotonic() + 3600
    send_numbers(rabbitmq, 1, 3)
    turn_until(lambda: consumer.paused, consumer)
    receiver.ready = False
    other_receiver = FakeReceiver()
    other = Consumer(broker_of(rabbitmq), "head-b", other_receiver)
    try:
        turn_until(lambda: other_receiver.accepted == [1, 2, 3], consumer, other)
    finally:
        other.close()


def test_a_message_that_we_stumble_over_does_not_stop_the_others(rabbitmq, consumer, receiver):
    receiver.stumbles_over = {2}
    send_numbers(rabbitmq, 1, 4)
    turn_until(lambda: set(receiver.accepted) == {1, 3, 4}, consumer)
    receiver.stumbles_over = set()
    turn_until(lambda: set(receiver.accepted) == {1, 2, 3, 4}, consumer)


def test_of_two_heads_one_consumes_and_the_other_takes_over(rabbitmq, consumer, receiver):
    other_receiver = FakeReceiver()
    other = Consumer(broker_of(rabbitmq), "head-b", other_receiver)
    try:
        other.run_once(0.05)
        send_numbers(rabbitmq, 1, 5)
        turn_until(lambda: len(receiver.accepted) == 5, consumer, other)
        assert other_receiver.accepted == []
        consumer.close()
        send_numbers(rabbitmq, 6, 7)
        turn_until(lambda: other_receiver.accepted == [6, 7], other)
    finally:
        other.close()
