"""A message as it came from the broker. Its meaning is decided by whoever waited for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bmid.messages.envelope import Envelope, Unreadable, decode

__all__ = ["Delivery"]


@dataclass(frozen=True)
class Delivery:
    """A message that came. `answers` is the id of the query that it answers; None for an event."""

    answers: str | None
    content_type: str | None
    headers: dict[str, Any]
    body: bytes

    def envelope(self) -> Envelope | None:
        """The CloudEvent in it, or None for anything else: whoever has the right may publish what he likes."""
        try:
            return decode(self.content_type, self.headers, self.body)
        except Unreadable:
            return None
