"""Publishes what waits in the outbox: in order, confirmed, and marked only after that. Knows no event's meaning.

An event that was confirmed but not yet marked when we were killed is published twice, under the same id. So is what
was on its way when a connection was lost: one batch, or the one event that each new connection is tried with.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime

import structlog
from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel

from bmid.amqp.broker import Broker
from bmid.amqp.confirm import Confirms, Message, Tally
from bmid.amqp.connection import Link
from bmid.amqp.port import OutboxSource, Outgoing
from bmid.amqp.topology import EVENTS, Exchange, declare_exchange
from bmid.errors import BmiError, TransientError
from bmid.messages.envelope import CONTENT_TYPE
from bmid.model.retry import backoff

__all__ = ["Relay"]

log = structlog.get_logger(__name__)

BATCH = 100
IDLE = 1.0
REFUSALS = 3


class Relay:
    """One publisher of events. `counts` says how many were published, unrouted and refused."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        source: OutboxSource,
        *,
        exchanges: tuple[Exchange, ...] = (EVENTS,),
        batch: int = BATCH,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.link = Link(broker, f"bmid {name} relay", self._prepare, chance=chance)
        self._user = broker.user
        self._source = source
        self._exchanges = exchanges
        self._batch = batch
        self._chance = chance
        self._confirms: Confirms | None = None
        self._unmarked: tuple[list[int], list[int]] = ([], [])
        self._refusals: Counter[int] = Counter()
        self._away = 0

    def reopen(self) -> None:
        """Open a new connection at the next turn. May be called from any thread."""
        self.link.reopen()

    def close(self) -> None:
        """Leave; what is unpublished stays in the outbox."""
        self.link.close()

    def run_once(self, timeout: float) -> float:
        """Publish one batch; where there is none, keep the connection alive for `timeout` seconds. Returns the
        seconds to wait before the next turn, sooner when something was written to the outbox."""
        wait = self.link.ensure()
        if wait:
            return wait
        try:
            self.link.pump(0)
        except BmiError as error:
            return self.link.failed(error)
        try:
            self._mark()
            batch = self._source.batch(self._batch if self._proven else 1)
        except TransientError as error:
            return self._postpone(error)
        self._away = 0
        try:
            if batch:
                return self._publish(batch)
            self.link.pump(timeout)
        except BmiError as error:
            return self.link.failed(error)
        return 0.0 if timeout else IDLE

    def _prepare(self, channel: BlockingChannel) -> None:
        for exchange in self._exchanges:
            declare_exchange(channel, exchange)
        self._confirms = Confirms(self.link, channel)

    @property
    def _proven(self) -> bool:
        """Whether the broker confirms on this connection. Under a memory alarm it reads the beginning of what is sent,
        and publishes that when the alarm is over, long after we gave the connection up and sent it all on the next."""
        return self._confirms is not None and self._confirms.answered

    def _publish(self, batch: Sequence[Outgoing]) -> float:
        if self._confirms is None:
            raise self.link.closed()
        tally = self._confirms.publish([self._message(event) for event in batch])
        unrouted = tally.unrouted + self._hopeless(tally)
        self._unmarked = (tally.confirmed, unrouted)
        self.counts["published"] += len(tally.confirmed)
        self.counts["unrouted"] += len(tally.unrouted)
        self.counts["refused"] += len(tally.refused)
        try:
            self._mark()
        except TransientError as error:
            return self._postpone(error)
        if tally.error is not None:
            return self.link.failed(tally.error)
        return IDLE if tally.refused else 0.0

    def _mark(self) -> None:
        """Tell the source; what it could not take down yet is told again before anything else is published."""
        keys, unrouted = self._unmarked
        if keys or unrouted:
            self._source.published(keys, unrouted)
            self._unmarked = ([], [])

    def _hopeless(self, tally: Tally) -> list[int]:
        """Refused events that won't be tried again. One subscriber's full queue refuses an event for all of them,
        although the other queues have it; it must not hold up the events of the whole site."""
        given_up = []
        for key in tally.refused:
            self._refusals[key] += 1
            if self._refusals[key] >= REFUSALS:
                del self._refusals[key]
                given_up.append(key)
                log.warning("event.refused", row=key, attempts=REFUSALS)
        return given_up

    def _postpone(self, error: TransientError) -> float:
        self._away += 1
        if self._away == 1:
            log.warning("outbox.away", reason=error.problem.detail)
        return error.delay or backoff(self._away, self._chance(), base=0.2, cap=5.0)

    def _message(self, event: Outgoing) -> Message:
        properties = BasicProperties(
            content_type=CONTENT_TYPE,
            headers=dict(event.headers),
            delivery_mode=2,
            correlation_id=event.correlation_id,
            message_id=event.message_id,
            timestamp=_timestamp(event),
            type=event.type,
            user_id=self._user,
            app_id="bmid",
        )
        return Message(event.key, event.exchange, event.routing_key, properties, event.body)


def _timestamp(event: Outgoing) -> int | None:
    """Whole seconds, from the event's own time: this module has no clock that others could compare with."""
    with suppress(ValueError):
        return int(datetime.fromisoformat(str(event.headers.get("cloudEvents_time", ""))).timestamp())
    return None
