"""Takes queries and sends the answers back to whoever asked. What is answered is the answerer's.

All heads take queries side by side. An answer goes only through the broker's direct reply-to.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel

from bmid.amqp.broker import Broker
from bmid.amqp.connection import Link
from bmid.amqp.consumer import is_direct_reply, to_delivery
from bmid.amqp.port import Answerer, Delivery
from bmid.amqp.topology import QUERIES, Queue, declare_queue
from bmid.errors import BmiError, Problem
from bmid.messages.envelope import CONTENT_TYPE, Envelope, encode

__all__ = ["FAILED", "Responder"]

log = structlog.get_logger(__name__)

FAILED = "bmi.query.failed.v1"
PREFETCH = 16


class Responder:
    """One consumer of queries. `counts` says how many were answered, failed (answered with a problem), and refused
    (not answered: there is no safe place to send it to)."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        answerer: Answerer,
        *,
        queue: Queue = QUERIES,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.link = Link(broker, f"bmid {name} responder", self._subscribe, chance=chance)
        self._head = name
        self._answerer = answerer
        self._queue = queue
        self._user = broker.user
        self._held: deque[tuple[int, Delivery]] = deque()
        self._cancelled = False

    def reopen(self) -> None:
        """Open a new connection at the next turn. May be called from any thread."""
        self.link.reopen()

    def close(self) -> None:
        """Leave; queries that are not answered yet go to another head."""
        self._held.clear()
        self.link.close()

    def run_once(self, timeout: float) -> float:
        """Answer what comes within about `timeout` seconds; returns the seconds to wait before the next turn."""
        wait = self.link.ensure()
        if wait:
            return wait
        try:
            self.link.pump(timeout)
            if self._cancelled:
                raise self.link.gone(self._queue.name)
            while self._held:
                tag, delivery = self._held.popleft()
                answer = self._answer(delivery)
                with self.link.guard():
                    if answer is not None:
                        self._send(delivery, *answer)
                    self.link.channel.basic_ack(tag)
        except BmiError as error:
            self._held.clear()
            return self.link.failed(error)
        return 0.0

    def _subscribe(self, channel: BlockingChannel) -> None:
        self._held.clear()
        self._cancelled = False
        declare_queue(channel, self._queue)
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.add_on_cancel_callback(self._on_cancel)
        channel.basic_consume(self._queue.name, self._on_message)

    def _on_cancel(self, _frame: Any) -> None:
        self._cancelled = True

    def _on_message(self, _channel: BlockingChannel, method: Any, properties: Any, body: bytes) -> None:
        self._held.append((method.delivery_tag, to_delivery(method, properties, body)))

    def _answer(self, delivery: Delivery) -> tuple[Mapping[str, Any], bytes] | None:
        if not is_direct_reply(delivery.reply_to):
            self.counts["refused"] += 1
            log.warning("query.refused", user=delivery.user_id, reason="reply_to is no direct reply-to")
            return None
        if delivery.user_id is None:
            todo = "set the property user_id to the name of your broker user"
            return self._problem(delivery, Problem.of("user-id-missing", "the query says not who asks", todo=todo))
        try:
            answer = self._answerer.answer(delivery)
        except BmiError as error:
            return self._problem(delivery, error.problem)
        except Exception:
            # Not answering would leave the query in the queue for the next head to stumble over.
            log.exception("query.stumbled", message=delivery.message_id)
            todo = "ask again; if it stays, the daemon's log has the cause"
            return self._problem(delivery, Problem.of("internal-error", "the query could not be answered", todo=todo))
        self.counts["answered"] += 1
        return answer

    def _problem(self, delivery: Delivery, problem: Problem) -> tuple[Mapping[str, Any], bytes]:
        self.counts["failed"] += 1
        data = {"problem": problem.model_dump(mode="json", exclude_none=True)}
        event = Envelope(
            id=str(uuid.uuid4()),
            source=f"bmid/{self._head}",
            type=FAILED,
            correlationid=delivery.correlation_id,
            data=data,
        )
        return encode(event)

    def _send(self, delivery: Delivery, headers: Mapping[str, Any], body: bytes) -> None:
        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            headers=dict(headers),
            correlation_id=delivery.correlation_id,
            type=str(headers.get("cloudEvents_type", "")) or None,
            user_id=self._user,
            app_id="bmid",
        )
        # BlockingChannel would wait until it is written; together with the ack that follows it is one write.
        self.link.channel._impl.basic_publish("", str(delivery.reply_to), body, properties)
