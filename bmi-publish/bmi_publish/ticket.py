"""A message on its way: its identity, and how one is made. Nothing is published here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bmid.messages.base import Message
from bmid.messages.envelope import Envelope
from bmid.model.ident import uuid7

__all__ = ["Ticket", "envelope_of", "envelope_of_raw", "new_id"]


@dataclass(frozen=True)
class Ticket:
    """What a publisher keeps of a command. `id` and `source` name it for ever; with the `envelope` it can be sent
    again, which has no second effect and is answered; without it only the operation query tells its end."""

    id: str
    correlation: str
    source: str
    envelope: Envelope | None = None

    @classmethod
    def of(cls, envelope: Envelope) -> Ticket:
        """The ticket of an envelope."""
        return cls(envelope.id, envelope.correlationid or envelope.id, envelope.source, envelope)

    @property
    def project(self) -> str | None:
        """The project that the command names, if it is known."""
        named = self.envelope.data.get("project") if self.envelope else None
        return named if isinstance(named, str) else None


def new_id() -> str:
    """An id that nobody else has and that sorts by time."""
    return str(uuid7(datetime.now(UTC), os.urandom(10)))


def envelope_of(message: Message, source: str, *, id: str | None = None, correlation: str | None = None) -> Envelope:
    """A typed message as a CloudEvent."""
    return Envelope(
        id=id or new_id(),
        source=source,
        type=message.type,
        time=datetime.now(UTC),
        subject=message.subject(),
        correlationid=correlation,
        data=message.payload(),
    )


def envelope_of_raw(
    content: dict[str, Any], source: str, *, id: str | None = None, correlation: str | None = None
) -> Envelope:
    """A CloudEvent as JSON, or only its `type` and `data`, filled up. ValueError says what is wrong with it."""
    if not isinstance(content.get("type"), str) or not isinstance(content.get("data", {}), dict):
        raise ValueError("a message is a JSON object with a `type` (text) and `data` (an object)")
    text = {key: value for key, value in content.items() if isinstance(value, str)}
    return Envelope(
        id=id or text.get("id") or new_id(),
        source=text.get("source") or source,
        type=text["type"],
        time=datetime.fromisoformat(text["time"]) if "time" in text else datetime.now(UTC),
        subject=text.get("subject"),
        correlationid=correlation or text.get("correlationid"),
        causationid=text.get("causationid"),
        traceparent=text.get("traceparent"),
        data=content.get("data", {}),
    )
