"""Takes messages from a queue, one after the other, and hands them to the receiver. Understands none of them but
the pings of heads, and never publishes: under a memory alarm the broker would stop deliveries as well.
"""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import structlog
from pika.adapters.blocking_connection import BlockingChannel

from bmid.amqp.broker import Broker
from bmid.amqp.connection import Link
from bmid.amqp.port import ACK, Delivery, Receiver
from bmid.amqp.topology import COMMANDS, Queue, declare_queue
from bmid.errors import BmiError, TransientError
from bmid.model.retry import backoff

__all__ = ["PING", "Consumer", "is_direct_reply"]

log = structlog.get_logger(__name__)

PING = "bmi.head.ping.v1"
PREFETCH = 64
ACK_EVERY = 16
# How long deliveries are held while they can't be accepted, before the queue is left to another head. Leaving it
# counts one try of the queue's 20 for all that is held; the broker itself takes them back after 30 minutes.
HOLDS = (60.0, 1500.0)
UNAVAILABLE = 1.0
# A message whose headers pika can't decode (a timestamp in the year 10^11) costs the connection before anything is
# dealt with. Taken one by one, it uses up its own tries and not those of all that were fetched with it.
FRUITLESS = 2
TRIES = 30


def is_direct_reply(reply_to: str | None) -> bool:
    """Whether an answer sent there reaches only who asked: any other name could be anybody's queue, and we have
    rights to all of them."""
    return bool(reply_to) and str(reply_to).startswith("amq.rabbitmq.reply-to.")


def to_delivery(method: Any, properties: Any, body: bytes) -> Delivery:
    """pika's three parts as one value."""
    return Delivery(
        user_id=_text(properties.user_id),
        content_type=_text(properties.content_type),
        body=body,
        headers=dict(properties.headers or {}),
        message_id=_text(properties.message_id),
        reply_to=_text(properties.reply_to),
        correlation_id=_text(properties.correlation_id),
        redelivered=bool(method.redelivered),
        type=_text(properties.type),
    )


class Consumer:
    """One consumer on one queue, in the order of the queue. `counts` says how many were accepted, dead_lettered,
    postponed, returned, and pings."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        receiver: Receiver,
        *,
        queue: Queue = COMMANDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.link = Link(broker, f"bmid {name} consumer", self._subscribe, chance=chance)
        self._user = broker.user
        self._receiver = receiver
        self._queue = queue
        self._chance = chance
        self._held: deque[tuple[int, Delivery]] = deque()
        self._cancelled = False
        self._resume = 0.0
        self._postponed = 0
        self._stuck_since: float | None = None
        self._holds = 0
        self._pings: deque[Delivery] = deque(maxlen=100)
        self._progressed = time.monotonic()
        self._dealt = 0
        self._fruitless = 0
        self._one_by_one = False

    @property
    def paused(self) -> bool:
        """Whether messages can't be accepted at present: the receiver has postponed one, or isn't available."""
        return self._stuck_since is not None

    def idle_for(self) -> float:
        """Seconds since a message was last dealt with."""
        return time.monotonic() - self._progressed

    def take_ping(self) -> Delivery | None:
        """A ping that has come through and wants an answer. May be called from another thread."""
        return self._pings.popleft() if self._pings else None

    def reopen(self) -> None:
        """Open a new connection at the next turn. May be called from any thread."""
        self.link.reopen()

    def close(self) -> None:
        """Leave. What is held goes back to the queue."""
        self._forget()
        self.link.close()

    def run_once(self, timeout: float) -> float:
        """Accept what comes for about `timeout` seconds; returns the seconds to wait before the next turn."""
        if not self.link.is_open and not self._receiver.available():
            # Taking messages that nobody can accept would only count their tries up.
            self._stuck_since = self._stuck_since or time.monotonic()
            return UNAVAILABLE
        wait = self.link.ensure()
        if wait:
            return wait
        try:
            self._turn(timeout)
        except BmiError as error:
            self._forget()
            return self.link.failed(error)
        return 0.0

    def _subscribe(self, channel: BlockingChannel) -> None:
        self._forget()
        declare_queue(channel, self._queue)
        self._watch_for_poison()
        channel.basic_qos(prefetch_count=1 if self._one_by_one else PREFETCH)
        channel.add_on_cancel_callback(self._on_cancel)
        channel.basic_consume(self._queue.name, self._on_message)

    def _forget(self) -> None:
        self._held.clear()
        self._cancelled = False
        self._resume = 0.0
        self._stuck_since = None

    def _on_cancel(self, _frame: Any) -> None:
        self._cancelled = True

    def _on_message(self, _channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        self._held.append((method.delivery_tag, to_delivery(method, properties, body)))

    def _turn(self, timeout: float) -> None:
        now = time.monotonic()
        pause = max(0.0, self._resume - now)
        self.link.pump(min(timeout, pause) if self._held else timeout)
        if self._cancelled:
            raise self.link.gone(self._queue.name)
        if self._held and time.monotonic() >= self._resume:
            self._work(now + timeout)
        self._give_up()

    def _work(self, end: float) -> None:
        """Deal with what is held, at least one, until `end`. Acknowledges in runs, for which nobody waits longer
        than for 16 acceptances."""
        done, run = 0, 0
        while self._held and self._resume <= time.monotonic():
            tag, delivery = self._held[0]
            verdict = self._judge(delivery)
            if verdict == "hold":
                break
            self._held.popleft()
            self._progressed = time.monotonic()
            self._dealt += 1
            if verdict == ACK:
                done, run = tag, run + 1
            else:
                self._acknowledge(done)
                done, run = 0, 0
                with self.link.guard():
                    self.link.channel.basic_nack(tag, requeue=verdict == "return")
            if run >= ACK_EVERY:
                self._acknowledge(done)
                done, run = 0, 0
            if time.monotonic() >= end:
                break
        self._acknowledge(done)
        if self._one_by_one and self._dealt >= PREFETCH:
            self._one_by_one = False
            self.link.reopen()

    def _watch_for_poison(self) -> None:
        """Where connection after connection ends before a message was dealt with, one of them may be the reason."""
        self._fruitless = 0 if self._dealt else self._fruitless + 1
        self._dealt = 0
        self._one_by_one = self._one_by_one or self._fruitless > FRUITLESS
        self.link.hurry = FRUITLESS < self._fruitless < TRIES

    def _acknowledge(self, tag: int) -> None:
        if tag:
            with self.link.guard():
                self.link.channel.basic_ack(tag, multiple=True)

    def _judge(self, delivery: Delivery) -> str:
        if delivery.type == PING and delivery.user_id == self._user:
            self.counts["pings"] += 1
            if is_direct_reply(delivery.reply_to):
                self._pings.append(delivery)
            return ACK
        try:
            receipt = self._receiver.receive(delivery)
        except TransientError as error:
            self._postpone(error)
            return "hold"
        except Exception:
            # A message that we stumble over must not stop the others: the queue's delivery limit moves it to
            # bmi.dead in the end.
            log.exception("message.stumbled", message=delivery.message_id)
            self.counts["returned"] += 1
            self._resume = time.monotonic() + 1.0
            return "return"
        self._stuck_since, self._postponed, self._holds = None, 0, 0
        self.counts["accepted" if receipt == ACK else "dead_lettered"] += 1
        return receipt

    def _postpone(self, error: TransientError) -> None:
        self._postponed += 1
        self.counts["postponed"] += 1
        delay = error.delay or backoff(self._postponed, self._chance(), base=0.2, cap=5.0)
        self._resume = time.monotonic() + delay
        if self._stuck_since is None:
            self._stuck_since = time.monotonic()
            log.warning("message.postponed", reason=error.problem.detail)

    def _give_up(self) -> None:
        if self._stuck_since is None:
            return
        held = time.monotonic() - self._stuck_since
        if held > HOLDS[min(self._holds, len(HOLDS) - 1)]:
            self._holds += 1
            raise TransientError(
                "not-accepted",
                f"{self.link.name}: nothing could be accepted for {held:.0f} s",
                todo="Look at the database: commands wait in the broker until it can keep them.",
            )


def _text(value: Any) -> str | None:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
