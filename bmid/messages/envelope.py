"""CloudEvents 1.0 on AMQP 0-9-1: encoding and decoding. No broker library, no schema of a single message.

Written in structured mode (JSON), with the attributes mirrored as `cloudEvents_*` headers, so that a consumer can
route without parsing. Read in structured mode, and in binary mode with the prefixes that are in use.
https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite
from typing import Any

from pydantic_core import from_json, to_json

__all__ = ["CONTENT_TYPE", "Envelope", "Unreadable", "decode", "encode"]

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
MAX_BODY = 1 << 20
PREFIXES = ("cloudEvents_", "cloudEvents:", "ce-")
ATTRIBUTES = (
    "id",
    "source",
    "type",
    "subject",
    "time",
    "correlationid",
    "causationid",
    "traceparent",
    "sequence",
    "position",
)
LONGEST = 255


class Unreadable(Exception):
    """The message can't be read. `attributes` is what its headers still say of it; with id, source and type among
    them an answer is possible."""

    def __init__(self, reason: str, attributes: Mapping[str, str]) -> None:
        super().__init__(reason)
        self.attributes = dict(attributes)

    @property
    def answerable(self) -> bool:
        """Whether somebody can be told."""
        return all(self.attributes.get(name) for name in ("id", "source", "type"))


@dataclass(frozen=True)
class Envelope:
    """One CloudEvent. `sequence` counts per subject, `position` over all events; both only on events."""

    id: str
    source: str
    type: str
    time: datetime | None = None
    subject: str | None = None
    correlationid: str | None = None
    causationid: str | None = None
    traceparent: str | None = None
    sequence: str | None = None
    position: int | None = None
    data: dict[str, Any] = field(default_factory=dict)

    def attributes(self) -> dict[str, Any]:
        """The set attributes, as JSON values."""
        values = {name: getattr(self, name) for name in ATTRIBUTES}
        values["time"] = self.time.isoformat() if self.time else None
        return {name: value for name, value in values.items() if value is not None}


def encode(envelope: Envelope) -> tuple[dict[str, Any], bytes]:
    """Headers and body of a message in structured mode."""
    attributes = envelope.attributes()
    headers = {f"cloudEvents_{name}": str(value) for name, value in attributes.items()}
    headers["cloudEvents_specversion"] = "1.0"
    body = {"specversion": "1.0", **attributes, "datacontenttype": "application/json", "data": envelope.data}
    # What is no JSON must never go out, whatever came in: NaN and infinities become null.
    return headers, to_json(body, inf_nan_mode="null")


def decode(content_type: str | None, headers: Mapping[str, Any] | None, body: bytes) -> Envelope:
    """The CloudEvent in a message of either mode. Raises Unreadable."""
    mirrored = _mirrored(headers or {})
    if len(body) > MAX_BODY:
        raise Unreadable(f"the message has {len(body)} bytes; at most {MAX_BODY} are read", mirrored)
    try:
        # Depth is bounded by the parser (200 levels), NaN and infinities are no JSON, and neither is invalid UTF-8.
        content = from_json(body, allow_inf_nan=False) if body else {}
    except ValueError as error:
        raise Unreadable(f"the body is no JSON: {error}", mirrored) from error
    if not _fit(content):
        raise Unreadable("the body holds a NUL character or a number out of range", _known(content, mirrored))
    structured = (content_type or "").partition(";")[0].strip().lower() == "application/cloudevents+json"
    if structured or (not mirrored and isinstance(content, dict) and "specversion" in content):
        if not isinstance(content, dict):
            raise Unreadable("the body is no JSON object", mirrored)
        return _envelope(content, content.get("data"), mirrored)
    return _envelope(mirrored, content, mirrored)


def _mirrored(headers: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in headers.items():
        for prefix in PREFIXES:
            if str(key).lower().startswith(prefix.lower()):
                text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
                found[str(key)[len(prefix) :].lower()] = text[:LONGEST].replace("\0", "\ufffd")
    return found


def _known(content: Any, mirrored: Mapping[str, str]) -> dict[str, str]:
    """What is said of the message in its text or beside it, so that it can be answered."""
    attributes = content if isinstance(content, Mapping) else {}
    texts = {key: value for key, value in attributes.items() if isinstance(value, str)}
    return {**mirrored, **{key: text[:LONGEST] for key, text in texts.items() if "\0" not in text}}


def _fit(value: Any) -> bool:
    """Whether every database and every JSON parser can hold it: PostgreSQL knows no NUL, and 1e999 is read as
    infinity."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, dict):
        return all(_fit(key) and _fit(item) for key, item in value.items())
    return all(_fit(item) for item in value) if isinstance(value, list) else True


def _envelope(attributes: Mapping[str, Any], data: Any, mirrored: Mapping[str, str]) -> Envelope:
    known = _known(attributes, mirrored)
    if str(attributes.get("specversion", "1.0")) != "1.0":
        raise Unreadable("specversion is not 1.0", known)
    for name in ("id", "source", "type"):
        value = attributes.get(name)
        if not isinstance(value, str) or not value or len(value) > LONGEST:
            raise Unreadable(f"the attribute {name} is missing, or no text of 1 to {LONGEST} characters", known)
    if not isinstance(data, dict):
        raise Unreadable("data is no JSON object", known)
    optional = {name: _text(attributes.get(name)) for name in ATTRIBUTES[3:9] if name != "time"}
    return Envelope(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        time=_time(attributes.get("time"), known),
        position=_number(attributes.get("position")),
        data=data,
        **optional,
    )


def _text(value: Any) -> str | None:
    return value[:LONGEST] if isinstance(value, str) and value else None


def _number(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _time(value: Any, known: Mapping[str, str]) -> datetime | None:
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise Unreadable("the attribute time is no RFC 3339 timestamp", known) from error
    if time.tzinfo is None:
        # It could not be compared with any other time.
        raise Unreadable("the attribute time has no offset from UTC", known)
    return time
