"""Command, Event and Query: what every message of a kind has in common. No schema of a single message."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Command", "Event", "Message", "Query"]


class Message(BaseModel):
    """Data of a CloudEvent. `type` is its CloudEvents type, whose last part is the major version."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    type: ClassVar[str]

    def subject(self) -> str:
        """What the message is about, `node/n1`; part of the key under which events are counted."""
        raise NotImplementedError(self.type)

    def payload(self) -> dict[str, Any]:
        """The data as JSON values, without what is unset."""
        return self.model_dump(mode="json", exclude_none=True)


class Command(Message):
    """Asks for something to be done. Unknown fields are refused, so that a typing error never does half."""


class Event(Message):
    """Says what happened. Read leniently: later versions may add fields."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Query(Message):
    """Asks what is; answered to `reply_to`, changes nothing."""

    def subject(self) -> str:
        """Queries are about nothing in particular."""
        return "-"
