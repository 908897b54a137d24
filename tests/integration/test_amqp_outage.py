"""What a consumer does while its broker is cut off, restarted, full, frozen, away or not as it should be."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from bmid.amqp.connection import check
from bmid.amqp.consumer import Consumer
from bmid.amqp.topology import COMMANDS, HIL_EVENTS, QUERIES, declare_queue
from bmid.errors import Misconfigured, TransientError
from tests.support.bus import (
    FakeReceiver,
    broker_of,
    channel_of,
    depth,
    forget_everything,
    turn_for,
    turn_until,
)
from tests.support.consumer import consumer, left_by, receiver, send_numbers

__all__ = ["consumer", "receiver"]


def test_a_connection_cut_in_the_middle_loses_nothing(rabbitmq, consumer, receiver):
    cuts = [40, 90]

    def cut(count: int) -> None:
        if cuts and count >= cuts[0]:
            cuts.pop(0)
            rabbitmq.close_connections("bmid")

    receiver.every = cut
    send_numbers(rabbitmq, 1, 150)
    turn_until(lambda: len(receiver.accepted) == 150, consumer)
    turn_for(0.5, consumer)
    assert sorted(receiver.accepted) == list(range(1, 151))
    assert left_by(consumer, rabbitmq) == 0
    with channel_of(rabbitmq) as channel:
        assert depth(channel, "bmi.dead") == 0


def test_a_restarted_broker_is_found_again_by_itself(rabbitmq, consumer, receiver):
    send_numbers(rabbitmq, 1, 3)
    turn_until(lambda: len(receiver.accepted) == 3, consumer)
    rabbitmq.stop()
    turn_for(1.0, consumer)
    assert consumer.link.problem.slug == "broker-away"
    rabbitmq.start()
    send_numbers(rabbitmq, 4, 6)
    turn_until(lambda: len(receiver.accepted) == 6, consumer, seconds=60)
    assert consumer.link.problem is None


def test_a_broker_out_of_memory_still_delivers_because_the_consumer_never_publishes(rabbitmq, consumer, receiver):
    receiver.away_until = time.monotonic() + 1
    send_numbers(rabbitmq, 1, 100)
    rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1")
    try:
        turn_until(lambda: len(receiver.accepted) == 100, consumer)
    finally:
        rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
    assert left_by(consumer, rabbitmq) == 0


def test_a_channel_that_the_broker_closes_is_opened_again(rabbitmq, consumer, receiver):
    turn_for(0.1, consumer)
    consumer.link.channel.basic_ack(4711)
    send_numbers(rabbitmq, 1, 3)
    turn_until(lambda: len(receiver.accepted) == 3, consumer)
    assert left_by(consumer, rabbitmq) == 0


def test_a_deleted_queue_is_declared_again_and_consumed(rabbitmq, consumer, receiver):
    turn_for(0.1, consumer)
    with channel_of(rabbitmq) as channel:
        channel.queue_delete("bmi.commands")
    turn_until(lambda: consumer.link.problem is not None, consumer)
    turn_until(lambda: consumer.link.problem is None, consumer)
    send_numbers(rabbitmq, 1, 3)
    turn_until(lambda: receiver.accepted == [1, 2, 3], consumer)


def test_leaving_a_frozen_broker_takes_no_longer_than_three_seconds(rabbitmq, consumer):
    turn_for(0.1, consumer)
    rabbitmq.pause()
    try:
        started = time.monotonic()
        consumer.close()
        assert time.monotonic() - started < 3
    finally:
        rabbitmq.resume()


def test_a_queue_with_other_arguments_is_named_with_what_to_do(rabbitmq):
    forget_everything(rabbitmq)
    with channel_of(rabbitmq) as channel:
        channel.queue_declare("bmi.queries", durable=True)
    with pytest.raises(Misconfigured) as caught:
        check(broker_of(rabbitmq), lambda channel: declare_queue(channel, QUERIES))
    assert "bmi.queries" in caught.value.problem.detail
    assert "delete_queue" in caught.value.problem.todo
    consumer = Consumer(broker_of(rabbitmq), "head-a", FakeReceiver(), queue=QUERIES)
    assert consumer.run_once(0.05) > 0
    assert consumer.link.problem.slug == "misconfigured"
    forget_everything(rabbitmq)


def test_missing_rights_are_named_with_what_to_do(rabbitmq):
    rabbitmq.ctl("set_permissions", "-p", "bmi", "bob", "^$", "^$", "^$")
    try:
        with pytest.raises(Misconfigured) as caught:
            check(broker_of(rabbitmq, "bob"), lambda channel: declare_queue(channel, COMMANDS))
    finally:
        rabbitmq.ctl("set_permissions", "-p", "bmi", "bob", ".*", ".*", ".*")
    assert "bmi.dead" in caught.value.problem.detail
    assert "set_permissions -p bmi bob" in caught.value.problem.todo


def test_a_wrong_password_is_a_matter_of_settings_and_is_never_shown(rabbitmq, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("not-the-one\n")
    broker = replace(broker_of(rabbitmq), password_file=secret)
    with pytest.raises(Misconfigured) as caught:
        check(broker, lambda channel: None)
    assert "not-the-one" not in str(caught.value.problem)
    assert rabbitmq.password("bmid") not in repr(broker)


def test_a_broker_that_is_away_is_tried_again_with_growing_waits(rabbitmq):
    broker = replace(broker_of(rabbitmq), port=1)
    with pytest.raises(TransientError):
        check(broker, lambda channel: None)
    consumer = Consumer(broker, "head-a", FakeReceiver(), chance=lambda: 1.0)
    waits = []
    for _ in range(3):
        waits.append(consumer.run_once(0))
        consumer.link._next = 0.0
    assert waits == [0.5, 1.0, 2.0]


def test_all_queues_are_accepted_with_their_arguments_twice(rabbitmq):
    forget_everything(rabbitmq)
    for _ in range(2):
        for queue in (COMMANDS, QUERIES, HIL_EVENTS):
            check(broker_of(rabbitmq), lambda channel, queue=queue: declare_queue(channel, queue))
    names = rabbitmq.ctl("list_queues", "-p", "bmi", "name").split()
    assert {"bmi.commands", "bmi.queries", "bmi.hil-events", "bmi.dead"} <= set(names)
