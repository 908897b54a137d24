"""Any bytes, headers and properties on the bus: each message ends accepted, rejected with reasons, or as a dead letter.

Nothing is stumbled over, nothing takes long, nothing grows; and what was accepted comes to an end.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pika
import pytest
from sqlalchemy import select

from bmid.amqp.broker import Broker
from bmid.amqp.consumer import Consumer
from bmid.amqp.port import Delivery
from bmid.messages.envelope import Envelope, encode
from bmid.store.schema import operation, outbox
from lab.rabbitmq import RabbitMQ
from tests.support.bench import Bench
from tests.support.bus import broker_of, channel_of, depth, forget_everything, turn_until
from tests.support.database import quick
from tests.support.fuzz import MIB, Flat, counted_log, mutated, seeded, strange

REAL: dict[str, dict[str, Any]] = {
    "bmi.node.map.v1": {"project": "p1", "node": "n1", "image": "debian"},
    "bmi.node.unmap.v1": {"project": "p1", "nodes": ["n1", "n2"], "expires_at": "2027-01-01T00:00:00Z"},
    "bmi.project.create.v1": {"project": "p2"},
    "bmi.node.register.v1": {"node": "n3", "macs": ["52:54:00:aa:bb:cc"]},
    "bmi.image.import.v1": {"project": "p1", "image": "x", "source": {"file": "debian.raw"}},
    "bmi.disk.create.v1": {"project": "p1", "disk": "d1", "image": "debian", "dry_run": True},
    "bmi.node.power.v1": {"project": "p1", "node": "n1", "action": "on"},
}
PREFIXES = ("cloudEvents_", "cloudEvents:", "ce-", "CE-", "")
TYPES = (None, "", "application/cloudevents+json", "application/json", "text/plain; charset=\xff", "a" * 250)
USERS = (None, "", "alice", "alice", "bmid", "\0", "u" * 255, "b\u00f6b")


@pytest.fixture
def bench(tmp_path: Path, blank: Path) -> Iterator[Bench]:
    """A site with one image and two nodes."""
    site = Bench(tmp_path, blank=blank).open()
    quick(site.database)
    site.furnish("n1", "n2")
    yield site
    site.close()


def body_of(chance: random.Random, number: int) -> tuple[dict[str, Any], bytes]:
    """Headers and body: a real command with accidents in its bytes or values, or nothing like one."""
    kind = chance.choice(sorted(REAL))
    data: dict[str, Any] = dict(REAL[kind])
    if chance.random() < 0.4:
        data[chance.choice([*data, "other", "seed", "power"])] = strange(chance)
    # Few ids: some messages come twice, with the same content or another one.
    envelope = Envelope(id=f"m{chance.randrange(number + 1)}", source="/test", type=kind, data=data)
    headers, body = encode(envelope)
    how = chance.random()
    if how < 0.5:
        body = mutated(chance, body, json.dumps(REAL).encode())
    elif how < 0.6:
        body = chance.randbytes(chance.choice((0, 1, 7, 100, 3000)))
    elif how < 0.7:
        content = json.loads(body)
        content[chance.choice(sorted(content))] = strange(chance)
        body = json.dumps(content).encode()
    elif how < 0.71:
        body = b"[" * chance.choice((100, 250, 100_000)) + body + b"]" * 100
    elif how < 0.712:
        body = b'{"id":"' + b"x" * ((1 << 20) + chance.randrange(9)) + b'"}'
    return headers, body


def properties_of(chance: random.Random, headers: dict[str, Any]) -> pika.BasicProperties:
    """Those of a real message, or none, or strange ones."""
    if chance.random() < 0.4:
        headers = {}
    for _ in range(chance.choice((0, 0, 0, 1, 3))):
        name = chance.choice(PREFIXES) + chance.choice(("id", "source", "type", "time", "specversion", "subject", "x"))
        headers[name] = strange(chance)
    usual = chance.random() < 0.6
    return pika.BasicProperties(
        user_id="alice" if usual else chance.choice(USERS),
        content_type="application/cloudevents+json" if usual else chance.choice(TYPES),
        message_id=chance.choice((None, "m1", "\0", "x" * 255)),
        correlation_id=chance.choice((None, "c", "\ud7ff")),
        reply_to=chance.choice((None, "amq.rabbitmq.reply-to.x", "bmi.commands")),
        type=chance.choice((None, "bmi.head.ping.v1", "x")),
        headers=headers or None,
    )


def answers(bench: Bench) -> tuple[int, int, int]:
    """Operations of messages, events of rejection, and events that were asked for once more."""
    with bench.database.read() as tx:
        rows = tx.execute(select(outbox.c.type, outbox.c.asked, outbox.c.envelope)).all()
    rejected = [row for row in rows if row.type == "bmi.command.rejected.v1"]
    for row in rejected:
        said = row.envelope["data"]
        assert all((said["reasons"], said["problem"]["detail"], len(json.dumps(said)) < 64_000)), said
    accepted = [row for row in rows if row.type == "bmi.operation.accepted.v1"]
    return len(accepted), len(rejected), sum(row.asked for row in rows)


@pytest.mark.parametrize("count", [5000, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])])
def test_whatever_comes_is_accepted_rejected_with_reasons_or_a_dead_letter(bench: Bench, count: int) -> None:
    """One word of the log, and one answer where there is anybody to answer, for each; no traceback, no growth."""
    chance, flat = seeded(count), Flat()
    consumer = Consumer(Broker.from_url("amqp://bmid@127.0.0.1:1/bmi"), "head-a", bench.acceptance)
    longest, verdicts = 0.0, {"ack": 0, "dead-letter": 0}
    with counted_log() as words:
        for number in range(count):
            if number == 1000:
                flat.begin()
            headers, body = body_of(chance, number)
            properties = properties_of(chance, headers)
            consumer._on_message(None, SimpleNamespace(delivery_tag=1, redelivered=False), properties, body)  # type: ignore[arg-type]
            began = time.monotonic()
            delivery = consumer._held.popleft()[1]
            verdict = consumer._judge(delivery)
            longest = max(longest, time.monotonic() - began)
            assert verdict in verdicts, (verdict, delivery)
            verdicts[verdict] += 1
    assert longest < 3, f"one message took {longest:.1f} s"
    # Rows of SQLite's cache and lists of this test come with the messages, little by little.
    assert flat.grown() < 48 * MIB + count * 100, flat.grown()
    assert words["message.stumbled"] == 0
    assert words["message.dead_lettered"] == verdicts["dead-letter"] == consumer.counts["dead_lettered"] > 0
    assert consumer.counts["accepted"] + consumer.counts["dead_lettered"] + consumer.counts["pings"] == count
    accepted, rejected, again = answers(bench)
    assert words["operation.accepted"] > count / 100
    assert words["command.rejected"] > count / 10
    # Every acknowledged message has left an event of its own, or had an old one sent once more.
    assert accepted + rejected + again >= verdicts["ack"]
    worker = bench.worker()
    with counted_log() as words:
        while worker.run_once():  # thousands are due, which is no sign that this never ends
            pass
        bench.settle(worker)
    assert words["operation.stuck"] == 0
    with bench.database.read() as tx:
        assert tx.execute(select(operation.c.type, operation.c.why).where(operation.c.ended_at.is_(None))).all() == []


def test_the_same_through_a_real_broker(rabbitmq: RabbitMQ, bench: Bench) -> None:
    """All are taken; what is a dead letter lies in bmi.dead, and the queue is empty."""
    forget_everything(rabbitmq)
    chance, sent = seeded(7), 0
    consumer = Consumer(broker_of(rabbitmq), "head-a", bench.acceptance)
    try:
        consumer.run_once(0.05)
        with counted_log() as words, channel_of(rabbitmq) as channel:
            for number in range(300):
                headers, body = body_of(chance, number)
                properties = properties_of(chance, headers)
                # The broker itself closes the channel of who names another user.
                properties.user_id = chance.choice((None, "alice"))
                properties.delivery_mode = chance.choice((1, 2))
                properties.reply_to = None
                try:
                    channel.basic_publish("bmi.commands", "bmi.test", body, properties)
                    sent += 1
                except (TypeError, ValueError, UnicodeError, pika.exceptions.UnsupportedAMQPFieldException):
                    continue  # pika itself can't write it down
            total = sent
            turn_until(lambda: sum(consumer.counts.values()) >= total, consumer, seconds=60)
            assert consumer.counts["dead_lettered"] > 0
            assert words["message.stumbled"] == consumer.counts["returned"] == 0
            turn_until(lambda: depth(channel, "bmi.dead") == consumer.counts["dead_lettered"], consumer)
            assert depth(channel, "bmi.commands") == 0
    finally:
        consumer.close()
    assert sent > 250


def test_a_receiver_that_stumbles_would_be_seen(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The count of what was stumbled over is what the tests above look at."""
    monkeypatch.setattr(bench.acceptance, "receive", lambda _letter: json.loads("{"))
    consumer = Consumer(Broker.from_url("amqp://bmid@127.0.0.1:1/bmi"), "head-a", bench.acceptance)
    with counted_log() as words:
        assert consumer._judge(Delivery("alice", None, b"")) == "return"
    assert words["message.stumbled"] == consumer.counts["returned"] == 1
