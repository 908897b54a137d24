"""The relay on a real broker."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from bmid.amqp import connection
from bmid.amqp.relay import Relay
from lab.rabbitmq import RabbitMQ
from tests.support.bus import FakeEvent, FakeSource, broker_of, channel_of, turn_for, turn_until


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@pytest.fixture
def relay(rabbitmq: RabbitMQ, source: FakeSource) -> Iterator[Relay]:
    with channel_of(rabbitmq) as channel:
        channel.exchange_delete("bmi.events")
    relay = Relay(broker_of(rabbitmq), "head-a", source, chance=lambda: 0.1)
    relay.run_once(0)
    yield relay
    relay.close()


@pytest.fixture
def subscriber(rabbitmq: RabbitMQ, relay: Relay) -> Iterator[BlockingChannel]:
    """A subscriber to all events; `fetch` takes what it has got."""
    with channel_of(rabbitmq) as channel:
        channel.queue_declare("seen", durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind("seen", "bmi.events", "#")
        yield channel
    with channel_of(rabbitmq) as channel:
        channel.queue_delete("seen")


def fetch(channel) -> list:
    found = []
    while True:
        method, properties, _body = channel.basic_get("seen", auto_ack=True)
        if method is None:
            return found
        found.append(properties)


def ids(found: list) -> list[str]:
    return [properties.message_id for properties in found]


def once_each(names: list[str]) -> list[str]:
    return list(dict.fromkeys(names))


def test_events_are_published_in_order_and_marked_once(relay, source, subscriber):
    source.add(*(FakeEvent(key) for key in range(250)))
    turn_until(lambda: not source.waiting, relay)
    assert source.routed == list(range(250))
    assert source.unrouted == []
    assert ids(fetch(subscriber)) == [f"event-{key}" for key in range(250)]


def test_an_event_carries_what_subscribers_rely_on(relay, source, subscriber):
    source.add(FakeEvent(1))
    turn_until(lambda: not source.waiting, relay)
    [event] = fetch(subscriber)
    assert event.content_type == "application/cloudevents+json; charset=utf-8"
    assert (event.user_id, event.app_id, event.delivery_mode) == ("bmid", "bmid", 2)
    assert (event.message_id, event.correlation_id, event.type) == ("event-1", "c1", "bmi.test.done.v1")
    assert event.timestamp == 1767323045
    assert event.headers["cloudEvents_time"] == "2026-01-02T03:04:05+00:00"


def test_an_event_that_nobody_listens_to_is_marked_as_unrouted(relay, source, subscriber):
    subscriber.queue_unbind("seen", "bmi.events", "#")
    subscriber.queue_bind("seen", "bmi.events", "#.p1")
    source.add(FakeEvent(1), FakeEvent(2, routing_key="bmi.test.done.v1.p2"), FakeEvent(3))
    turn_until(lambda: not source.waiting, relay)
    assert (source.routed, source.unrouted) == ([1, 3], [2])
    assert ids(fetch(subscriber)) == ["event-1", "event-3"]


def test_cut_connections_lose_nothing_and_keep_the_order(rabbitmq, relay, source, subscriber):
    cuts = [20, 200]

    def cut() -> None:
        if cuts and len(source.routed) >= cuts[0]:
            cuts.pop(0)
            rabbitmq.close_connections("bmid")

    source.every = cut
    source.add(*(FakeEvent(key) for key in range(300)))
    turn_until(lambda: not source.waiting, relay)
    assert source.routed == list(range(300))
    assert once_each(ids(fetch(subscriber))) == [f"event-{key}" for key in range(300)]


def test_a_restarted_broker_gets_what_waited(rabbitmq, relay, source, subscriber):
    rabbitmq.stop()
    try:
        source.add(*(FakeEvent(key) for key in range(5)))
        turn_for(0.5, relay)
    finally:
        rabbitmq.start()
    turn_until(lambda: not source.waiting, relay, seconds=60)
    with channel_of(rabbitmq) as channel:
        assert once_each(ids(fetch(channel))) == [f"event-{key}" for key in range(5)]


def test_events_that_could_not_be_marked_are_marked_later_and_not_sent_again(relay, source, subscriber):
    source.away_for_marks = 3
    source.add(*(FakeEvent(key) for key in range(10)))
    turn_until(lambda: not source.waiting, relay)
    turn_for(0.1, relay)
    assert source.routed == list(range(10))
    assert len(fetch(subscriber)) == 10


def test_while_the_database_is_away_the_connection_stays(relay, source, subscriber):
    source.away = True
    source.add(FakeEvent(1))
    assert relay.run_once(0) > 0
    turn_for(0.3, relay)
    assert relay.link.is_open
    source.away = False
    turn_until(lambda: source.routed == [1], relay)


def test_a_subscriber_without_room_does_not_hold_up_everybody(relay, source, subscriber):
    full = {"x-max-length": 1, "x-overflow": "reject-publish"}
    subscriber.queue_declare("full", durable=True, arguments=full)
    subscriber.queue_bind("full", "bmi.events", "bmi.test.full.v1.#")
    try:
        source.add(*(FakeEvent(key, routing_key="bmi.test.full.v1.p1") for key in range(4)), FakeEvent(9))
        turn_until(lambda: not source.waiting, relay)
        assert relay.counts["refused"] > 0
        assert 9 in source.routed
        assert set(once_each(ids(fetch(subscriber)))) == {f"event-{key}" for key in (0, 1, 2, 3, 9)}
    finally:
        subscriber.queue_delete("full")


def test_a_channel_that_the_broker_closes_is_opened_again(relay, source, subscriber):
    source.add(FakeEvent(1, exchange="no.such.exchange"))
    turn_for(0.5, relay)
    assert "no.such.exchange" in relay.link.problem.detail
    source.waiting.clear()
    source.add(FakeEvent(2))
    turn_until(lambda: source.routed == [2], relay)


def test_a_frozen_broker_does_not_hold_a_turn_for_longer_than_the_limit(rabbitmq, relay, source, monkeypatch):
    monkeypatch.setattr(connection, "CALL_TIMEOUT", 1.0)
    source.add(FakeEvent(1))
    rabbitmq.pause()
    try:
        started = time.monotonic()
        relay.run_once(0)
        assert time.monotonic() - started < 5
        assert source.routed == []
    finally:
        rabbitmq.resume()
    turn_until(lambda: not source.waiting, relay)


def test_a_new_connection_is_tried_with_one_event_before_the_others_follow(rabbitmq, relay, source, subscriber):
    source.add(*(FakeEvent(key) for key in range(250)))
    turn_until(lambda: not source.waiting, relay)
    assert source.taken == [1, 100, 100, 49]
    relay.reopen()
    source.add(*(FakeEvent(key) for key in range(250, 300)))
    turn_until(lambda: not source.waiting, relay)
    assert source.taken[4:] == [1, 49]


def test_a_broker_out_of_memory_gets_one_batch_twice_at_most_and_all_the_others_once(
    rabbitmq, relay, source, subscriber, monkeypatch
):
    source.add(FakeEvent(0))
    turn_until(lambda: not source.waiting, relay)
    rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1")
    try:
        monkeypatch.setattr(connection, "CALL_TIMEOUT", 1.0)
        source.add(*(FakeEvent(key) for key in range(1, 250)))
        turn_until(lambda: len(source.taken) > 4, relay, seconds=60)
        assert (source.taken, source.routed) == ([1, 100, 1, 1, 1], [0])
    finally:
        monkeypatch.undo()
        rabbitmq.ctl("set_vm_memory_high_watermark", "absolute", "1GB")
    turn_until(lambda: not source.waiting, relay)
    found = ids(fetch(subscriber))
    assert once_each(found) == [f"event-{key}" for key in range(250)]
    # Event 1 is what new connections were tried with; those after it were sent once before, and then not again.
    times = [found.count(f"event-{key}") for key in range(250)]
    assert max(times[2:101]) <= 2
    assert times[:1] + times[101:] == [1] * 150


def test_a_hundred_events_take_a_fraction_of_a_hundred_single_ones(relay, source, subscriber):
    def seconds(count: int) -> float:
        source.add(*(FakeEvent(key) for key in range(count)))
        started = time.monotonic()
        turn_until(lambda: not source.waiting, relay, timeout=0)
        return time.monotonic() - started

    seconds(1)
    single = sorted(seconds(1) for _ in range(20))[10]
    hundred = sorted(seconds(100) for _ in range(5))[2]
    assert hundred < 60 * single
