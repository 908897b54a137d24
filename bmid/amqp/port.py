"""What the bus asks of the rest: who accepts a message, who answers a query, where events come from.

Nothing is implemented here, so that the store and the engine need not know this package: they fit by their shape.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol

__all__ = ["ACK", "DEAD_LETTER", "Answerer", "Delivery", "Outgoing", "OutboxSource", "Receipt", "Receiver"]

Receipt = Literal["ack", "dead-letter"]
ACK: Final = "ack"
DEAD_LETTER: Final = "dead-letter"


@dataclass(frozen=True)
class Delivery:
    """A message as it came. `user_id` was verified by the broker where it is there; the body is anybody's."""

    user_id: str | None
    content_type: str | None
    body: bytes
    headers: dict[str, Any] = field(default_factory=dict)
    message_id: str | None = None
    reply_to: str | None = None
    correlation_id: str | None = None
    redelivered: bool = False
    type: str | None = None


class Receiver(Protocol):
    """Accepts messages durably."""

    def available(self) -> bool:
        """Whether messages could be accepted now. Asked before a consumer is opened; never raises."""
        ...

    def receive(self, delivery: Delivery, /) -> Receipt:
        """Accept or reject it within milliseconds, and commit. "ack": it is dealt with; "dead-letter": it goes to
        bmi.dead raw and whole. TransientError: the same delivery is offered again later, before any other."""
        ...


class Answerer(Protocol):
    """Answers queries."""

    def answer(self, delivery: Delivery, /) -> tuple[Mapping[str, Any], bytes]:
        """Headers and body of the answer, a CloudEvent. BmiError: its problem is the answer."""
        ...


class Outgoing(Protocol):
    """An event that waits to be published. `key` is the source's own name for it."""

    @property
    def key(self) -> int: ...
    @property
    def message_id(self) -> str: ...
    @property
    def exchange(self) -> str: ...
    @property
    def routing_key(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, Any]: ...
    @property
    def body(self) -> bytes: ...
    @property
    def correlation_id(self) -> str | None: ...


class OutboxSource(Protocol):
    """Where the relay finds events. TransientError from either call: it is tried again later."""

    def batch(self, limit: int, /) -> Sequence[Outgoing]:
        """The oldest unpublished events in order, at most `limit`; nothing where another head relays."""
        ...

    def published(self, keys: Sequence[int], unrouted_keys: Sequence[int], /) -> None:
        """The broker has taken `keys` into at least one queue, and `unrouted_keys` into none: no key is in both."""
        ...
