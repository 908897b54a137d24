"""Publishing many messages before waiting for the broker's confirms: eight times quicker than one by one.

Only the bookkeeping of confirms and returns; what is published, and what follows from it, is the relay's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pika import BasicProperties
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic

from bmid.amqp.connection import Link
from bmid.errors import BmiError

__all__ = ["Confirms", "Message", "Tally"]


@dataclass(frozen=True)
class Message:
    """One message to publish. `key` names it in the tally; its properties carry an unmistakable message id."""

    key: int
    exchange: str
    routing_key: str
    properties: BasicProperties
    body: bytes


@dataclass
class Tally:
    """What became of a batch, in order: confirmed by the broker, of which it could route none of `unrouted`;
    `refused` by a queue that has no room. Whatever is in none of them may or may not have arrived: `error` says why."""

    confirmed: list[int] = field(default_factory=list)
    unrouted: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    error: BmiError | None = None


class Confirms:
    """A channel in confirm mode. Made anew with each channel: the broker counts publishes from 1. `answered`: whether
    the broker has said anything of a message yet."""

    def __init__(self, link: Link, channel: BlockingChannel) -> None:
        self.answered = False
        self._link = link
        self._published = 0
        self._waiting: dict[int, Message] = {}
        self._returned: set[str] = set()
        self._tally = Tally()
        self._channel = channel
        # BlockingChannel's own confirm mode waits after each message (0.6 ms on a quorum queue). The channel inside
        # it takes any number and calls back; pika 2 offers this in public.
        ready: list[Any] = []
        channel._impl.add_on_return_callback(self._on_return)
        channel._impl.confirm_delivery(ack_nack_callback=self._on_confirm, callback=ready.append)
        channel._flush_output(lambda: bool(ready))

    def publish(self, messages: Sequence[Message]) -> Tally:
        """Publish all, mandatory, in order, and wait for what the broker says of each. Never raises BmiError: what
        was confirmed before the connection broke must still be known."""
        self._tally = Tally()
        self._waiting.clear()
        self._returned.clear()
        try:
            with self._link.guard():
                for message in messages:
                    self._published += 1
                    self._waiting[self._published] = message
                    self._channel._impl.basic_publish(
                        exchange=message.exchange,
                        routing_key=message.routing_key,
                        body=message.body,
                        properties=message.properties,
                        mandatory=True,
                    )
                self._channel._flush_output(lambda: not self._waiting)
        except BmiError as error:
            self._tally.error = error
        return self._tally

    def _on_return(self, _channel: Any, _method: Any, properties: BasicProperties, _body: bytes) -> None:
        # The broker returns a message before it confirms it.
        self._returned.add(properties.message_id)

    def _on_confirm(self, frame: Any) -> None:
        self.answered = True
        method = frame.method
        tags = [method.delivery_tag]
        if method.multiple:
            tags = [tag for tag in self._waiting if tag <= method.delivery_tag]
        for tag in tags:
            message = self._waiting.pop(tag, None)
            if message is None:
                continue
            if isinstance(method, Basic.Nack):
                self._tally.refused.append(message.key)
            elif message.properties.message_id in self._returned:
                self._tally.unrouted.append(message.key)
            else:
                self._tally.confirmed.append(message.key)
