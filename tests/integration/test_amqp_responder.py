"""The responder on a real broker."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pika
import pytest

from bmid.amqp.port import Delivery
from bmid.amqp.responder import Responder
from bmid.errors import Refused, TransientError
from lab.rabbitmq import RabbitMQ
from tests.support.bus import broker_of, channel_of, forget_everything, turn_for, turn_until


class FakeAnswerer:
    """Answers with the body of the query, or fails as told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[Delivery] = []

    def answer(self, delivery: Delivery) -> tuple[Mapping[str, Any], bytes]:
        self.asked.append(delivery)
        if self.error:
            raise self.error
        return {"cloudEvents_type": "bmi.test.answered.v1"}, b"answer to " + delivery.body


class Asker:
    """Asks over direct reply-to."""

    def __init__(self, channel: Any) -> None:
        self.channel = channel
        self.answers: list[tuple[Any, bytes]] = []
        channel.basic_consume(
            "amq.rabbitmq.reply-to", lambda _c, _m, properties, body: self.answers.append((properties, body)), True
        )

    def ask(self, body: bytes, *, user: str | None = "alice", reply_to: str = "amq.rabbitmq.reply-to") -> None:
        properties = pika.BasicProperties(user_id=user, reply_to=reply_to, correlation_id="c7")
        self.channel.basic_publish("bmi.queries", "bmi.test.ask.v1", body, properties, mandatory=True)

    def run_once(self, timeout: float) -> float:
        self.channel.connection.process_data_events(timeout)
        return 0.0

    def problem(self) -> dict[str, Any]:
        return json.loads(self.answers[0][1])["data"]["problem"]


@pytest.fixture
def answerer() -> FakeAnswerer:
    return FakeAnswerer()


@pytest.fixture
def responder(rabbitmq: RabbitMQ, answerer: FakeAnswerer) -> Iterator[Responder]:
    forget_everything(rabbitmq)
    responder = Responder(broker_of(rabbitmq), "head-a", answerer, chance=lambda: 0.1)
    responder.run_once(0.05)
    yield responder
    responder.close()


@pytest.fixture
def asker(rabbitmq: RabbitMQ, responder: Responder) -> Iterator[Asker]:
    with channel_of(rabbitmq) as channel:
        yield Asker(channel)


def test_a_query_is_answered_to_whoever_asked_with_its_correlation_id(responder, asker):
    asker.ask(b"one")
    turn_until(lambda: asker.answers, responder, asker)
    properties, body = asker.answers[0]
    assert body == b"answer to one"
    assert (properties.correlation_id, properties.user_id) == ("c7", "bmid")
    assert properties.type == "bmi.test.answered.v1"


def test_an_answer_is_never_aimed_at_a_queue(responder, asker, answerer):
    asker.channel.queue_declare("victim")
    try:
        asker.ask(b"one", reply_to="victim")
        asker.ask(b"two", reply_to="bmi.commands")
        turn_until(lambda: responder.counts["refused"] == 2, responder)
        turn_for(0.2, responder)
        assert asker.channel.queue_declare("victim", passive=True).method.message_count == 0
        assert answerer.asked == []
    finally:
        asker.channel.queue_delete("victim")


def test_a_query_without_a_sender_is_told_so_and_not_looked_at(responder, asker, answerer):
    asker.ask(b"one", user=None)
    turn_until(lambda: asker.answers, responder, asker)
    assert asker.problem()["type"] == "urn:bmi:problem:user-id-missing"
    assert answerer.asked == []


@pytest.mark.parametrize(
    ("error", "slug"),
    [
        (Refused("no-such-node", "there is no node n9"), "no-such-node"),
        (TransientError("database-away", "the database is away"), "database-away"),
        (ValueError("a mistake of ours with a secret"), "internal-error"),
    ],
)
def test_a_query_that_fails_is_answered_with_its_problem(responder, asker, answerer, error, slug):
    answerer.error = error
    asker.ask(b"one")
    turn_until(lambda: asker.answers, responder, asker)
    assert asker.problem()["type"] == f"urn:bmi:problem:{slug}"
    assert b"a secret" not in asker.answers[0][1]


def test_somebody_who_has_left_does_not_disturb_the_others(rabbitmq, responder, asker):
    with channel_of(rabbitmq) as channel:
        Asker(channel).ask(b"gone")
    asker.ask(b"here")
    turn_until(lambda: asker.answers, responder, asker)
    assert asker.answers[0][1] == b"answer to here"


def test_queries_are_answered_again_after_a_cut_connection(rabbitmq, responder, asker):
    rabbitmq.close_connections("bmid")
    asker.ask(b"one")
    turn_until(lambda: asker.answers, responder, asker)


def test_two_heads_answer_side_by_side(rabbitmq, responder, asker):
    other_answerer = FakeAnswerer()
    other = Responder(broker_of(rabbitmq), "head-b", other_answerer)
    try:
        other.run_once(0.05)
        for number in range(20):
            asker.ask(b"%d" % number)
        turn_until(lambda: len(asker.answers) == 20, responder, other, asker)
        assert 0 < len(other_answerer.asked) < 20
    finally:
        other.close()
