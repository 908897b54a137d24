"""Whether commands really come through: every head sends a small message through the queue of commands and waits
for its answer. A consumer can be connected and get nothing.

With several heads only one of them gets commands, so the ping is answered by whichever head took it, over the
broker's direct reply-to. The consumer may not publish; it lays pings aside, and the pinger of its head answers them.
"""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import structlog
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import NackError, UnroutableError

from bmid.amqp.broker import Broker
from bmid.amqp.connection import Link
from bmid.amqp.consumer import PING, Consumer
from bmid.amqp.topology import COMMANDS, declare_queue
from bmid.errors import BmiError
from bmid.messages.envelope import CONTENT_TYPE, Envelope, encode

__all__ = ["Pinger"]

log = structlog.get_logger(__name__)


class Reopens(Protocol):
    """Something with a connection that can be opened anew."""

    def reopen(self) -> None: ...


class Pinger:
    """Sends and answers pings, one each `interval` seconds; after `limit` seconds in vain, connections are opened anew.
    `silences` counts in a row how often that was so; an answer sets it back to 0. From 2 on, only a new process can
    help."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        consumer: Consumer,
        others: Sequence[Reopens] = (),
        *,
        interval: float = 30.0,
        limit: float = 60.0,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.silences = 0
        self.link = Link(broker, f"bmid {name} ping", self._prepare, chance=chance)
        self._name = name
        self._user = broker.user
        self._consumer = consumer
        self._others = tuple(others)
        self._interval = interval
        self._limit = limit
        self._due = 0.0
        self._asked: float | None = None

    def silence(self) -> float:
        """Seconds that a ping has waited for its answer while the consumer had nothing else to do; 0 if none has."""
        if self._asked is None or self._consumer.paused:
            return 0.0
        return min(time.monotonic() - self._asked, self._consumer.idle_for())

    def reopen(self) -> None:
        """Open a new connection at the next turn. May be called from any thread."""
        self.link.reopen()

    def close(self) -> None:
        """Leave."""
        self.link.close()

    def run_once(self, timeout: float) -> float:
        """Answer pings, send one when it is time, and wait for answers for at most `timeout` seconds. Returns the
        seconds to wait before the next turn."""
        if self.silence() > self._limit:
            self._start_anew()
        wait = self.link.ensure()
        if wait:
            return wait
        try:
            with self.link.guard():
                self._answer()
                if time.monotonic() >= self._due:
                    self._ping()
            self.link.pump(timeout)
        except BmiError as error:
            # The answer would have come over this connection.
            self._asked = None
            return self.link.failed(error)
        return 0.0

    def _prepare(self, channel: BlockingChannel) -> None:
        self._asked = None
        self._due = 0.0
        declare_queue(channel, COMMANDS)
        channel.basic_consume("amq.rabbitmq.reply-to", self._on_answer, auto_ack=True)
        channel.confirm_delivery()

    def _on_answer(self, *_: Any) -> None:
        self._asked = None
        self.silences = 0
        self.counts["answers"] += 1

    def _ping(self) -> None:
        self._due = time.monotonic() + self._interval
        event = Envelope(id=str(uuid.uuid4()), source=f"bmid/{self._name}", type=PING, data={"head": self._name})
        headers, body = encode(event)
        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            headers=headers,
            message_id=event.id,
            correlation_id=event.id,
            reply_to="amq.rabbitmq.reply-to",
            type=PING,
            user_id=self._user,
            app_id="bmid",
        )
        try:
            self.link.channel.basic_publish(COMMANDS.exchange.name, PING, body, properties, mandatory=True)
        except (NackError, UnroutableError) as error:
            # A full queue says nothing about whether its consumer gets anything.
            log.warning("ping.refused", reason=str(error))
            return
        self.counts["pings"] += 1
        if self._asked is None:
            self._asked = time.monotonic()

    def _answer(self) -> None:
        while ping := self._consumer.take_ping():
            properties = BasicProperties(correlation_id=ping.correlation_id, user_id=self._user, app_id="bmid")
            self.link.channel.basic_publish("", str(ping.reply_to), b"", properties)

    def _start_anew(self) -> None:
        self.silences += 1
        self.counts["silences"] += 1
        self._asked = None
        log.error("ping.unanswered", limit=self._limit, silences=self.silences)
        parts: tuple[Reopens, ...] = (self._consumer, self, *self._others)
        for part in parts:
            part.reopen()
