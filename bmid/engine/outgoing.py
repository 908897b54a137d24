"""What the relay publishes: events of the outbox, in order, by one head at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bmid.engine.identity import Identity
from bmid.messages.envelope import Envelope, encode
from bmid.store import claims, outbox
from bmid.store.database import Database
from bmid.store.outbox import Unpublished

__all__ = ["Outgoing", "OutboxReader"]

EXCHANGE = "bmi.events"
LEASE = 10.0  # seconds for which events of the whole site wait when the head that relays them was killed
PAUSE = timedelta(seconds=1)  # until a head that doesn't relay asks again whether it is to


@dataclass(frozen=True)
class Outgoing:
    """One event, ready for the broker."""

    key: int
    message_id: str
    exchange: str
    routing_key: str
    type: str
    headers: dict[str, Any]
    body: bytes
    correlation_id: str | None


class OutboxReader:
    """Hands events to the relay, and notes which of them the broker has."""

    def __init__(self, database: Database, identity: Identity) -> None:
        self._database = database
        self._identity = identity
        self._given: dict[int, Unpublished] = {}
        self._routed: list[Unpublished] = []
        self._unrouted: list[Unpublished] = []
        self._leads_not_before: datetime | None = None

    def batch(self, limit: int) -> Sequence[Outgoing]:
        """The oldest unpublished events; none while another head relays. What was confirmed since is marked first,
        in the same transaction."""
        if not (self._routed or self._unrouted):
            with self._database.read() as tx:
                if not outbox.waiting(tx) or (self._leads_not_before and tx.now < self._leads_not_before):
                    return ()
        me = self._identity
        with self._database.write() as tx:
            outbox.mark(tx, self._routed, unrouted=False)
            outbox.mark(tx, self._unrouted, unrouted=True)
            leads = claims.take_role(tx, "relay", me.holder, LEASE)
            self._leads_not_before = None if leads else tx.now + PAUSE
            if leads:
                outbox.assign(tx, limit)
            found = outbox.unpublished(tx, limit) if leads else ()
        self._routed, self._unrouted = [], []
        self._given = {one.id: one for one in found}
        return [_outgoing(one) for one in found]

    def published(self, keys: Sequence[int], unrouted_keys: Sequence[int]) -> None:
        """The broker has confirmed them. It is written down with the next batch, which is asked for at once."""
        self._routed += [self._given[key] for key in keys if key in self._given]
        self._unrouted += [self._given[key] for key in unrouted_keys if key in self._given]


def _outgoing(one: Unpublished) -> Outgoing:
    attributes = {key: value for key, value in one.envelope.items() if key != "time"}
    envelope = Envelope(**attributes, time=datetime.fromisoformat(one.envelope["time"]), position=one.position)
    headers, body = encode(envelope)
    return Outgoing(
        key=one.id,
        message_id=one.event,
        exchange=EXCHANGE,
        routing_key=one.routing_key,
        type=one.type,
        headers=headers,
        body=body,
        correlation_id=envelope.correlationid,
    )
