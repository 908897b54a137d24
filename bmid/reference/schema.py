"""One JSON Schema (draft 2020-12) for the data of each message, and one for the envelope around it.

What may change in them is decided in addition.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bmid.amqp.responder import FAILED
from bmid.engine.answerer import ANSWERED
from bmid.errors import Problem
from bmid.handlers.registry import Registry
from bmid.messages.base import Event, Message, Query
from bmid.reference.field import MEANINGS

__all__ = ["ENVELOPE", "KIND", "data_schema", "public_messages", "schemas"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ENVELOPE = "cloudevent"
KIND = "x-bmi-kind"  # command, query, event, reply or envelope: who writes it, and so what may change

TEXT: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255}
ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    "specversion": {"const": "1.0", "type": "string", "description": "the version of CloudEvents"},
    "id": {**TEXT, "description": "of a command: the idempotency key, together with the broker's user and the source"},
    "source": {**TEXT, "description": "the publishing service, a URI reference"},
    "type": {**TEXT, "description": "the message's type, which ends in its major version"},
    "subject": {"type": "string", "description": "what it is about, `node/n1`"},
    "time": {"type": "string", "format": "date-time", "description": "when it was made, with an offset from UTC"},
    "datacontenttype": {"const": "application/json", "type": "string", "description": "the form of the data"},
    "correlationid": {"type": "string", "description": "of an event: the command's, or its id where it had none"},
    "causationid": {"type": "string", "description": "of an event: the id of the command that caused it"},
    "traceparent": {"type": "string", "description": "W3C trace context, handed on"},
    "sequence": {"type": "string", "description": "of an event: counts per subject, without holes, zero-padded"},
    "position": {"type": "integer", "minimum": 0, "description": "of an event: counts over all events, without holes"},
    "data": {"type": "object", "description": "the message's own fields"},
}


def public_messages(registry: Registry) -> dict[str, type[Message]]:
    """All messages that go over the bus, by type; without the commands that the daemon gives itself."""
    commands = {kind: one.command for kind, one in registry.commands.items() if not one.internal}
    queries = {kind: one.query for kind, one in registry.queries.items()}
    return dict(sorted({**commands, **queries, **registry.events}.items()))


def schemas(registry: Registry) -> dict[str, dict[str, Any]]:
    """All schemas by name: the types of the messages and of the answers to queries, and `cloudevent`."""
    found = {kind: data_schema(message) for kind, message in public_messages(registry).items()}
    return {**found, **_replies(), ENVELOPE: _envelope()}


def data_schema(message: type[Message]) -> dict[str, Any]:
    """The schema of the data of a message. Of an event, fields are required that are always there."""
    written = issubclass(message, Event)
    schema = message.model_json_schema(mode="serialization" if written else "validation")
    kind = "event" if written else "query" if issubclass(message, Query) else "command"
    return _finished(message.type, kind, schema, written)


def _replies() -> dict[str, dict[str, Any]]:
    result = {"type": "object", "description": "what the query asks for"}
    answered = {"description": "The answer to a query.", **_object({"result": result})}
    problem = Problem.model_json_schema(mode="serialization")
    failed = {"$defs": {"Problem": problem}, **_object({"problem": {"$ref": "#/$defs/Problem"}})}
    failed["description"] = "A query that could not be answered, and why."
    return {kind: _finished(kind, "reply", one, True) for kind, one in ((ANSWERED, answered), (FAILED, failed))}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"properties": properties, "required": list(properties), "type": "object"}


def _envelope() -> dict[str, Any]:
    """A CloudEvent as it stands on the bus, whatever its data."""
    schema = {
        "description": "A CloudEvent 1.0 in structured mode. Attributes that are not here are allowed, and not read.",
        "properties": {name: dict(schema) for name, schema in ATTRIBUTES.items()},
        "required": ["specversion", "id", "source", "type", "data"],
        "type": "object",
    }
    return _finished(ENVELOPE, "envelope", schema, False)


def _finished(name: str, kind: str, schema: dict[str, Any], written: bool) -> dict[str, Any]:
    for part in (schema, *schema.get("$defs", {}).values()):
        _describe(part)
        if written:
            _require(part)
    head = {"$schema": DIALECT, "$id": f"urn:bmi:schema:{name}", "title": name, KIND: kind}
    return {**head, **_plain(schema)}


def _describe(schema: dict[str, Any]) -> None:
    """Fields that mean the same everywhere are described once, in field.py."""
    for name, one in schema.get("properties", {}).items():
        if name in MEANINGS and "$ref" not in str(one):
            one.setdefault("description", MEANINGS[name])


def _require(schema: dict[str, Any]) -> None:
    """What has a default is there too; only what is null is left out when an event is written."""
    properties = schema.get("properties", {})
    given = {*schema.get("required", ()), *(name for name, one in properties.items() if one.get("default") is not None)}
    if given:
        schema["required"] = [name for name in properties if name in given]


def _plain(value: Any) -> Any:
    """Without the titles that pydantic makes of the fields' names."""
    if isinstance(value, dict):
        return dict(_kept(value))
    return [_plain(one) for one in value] if isinstance(value, list) else value


def _kept(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in schema.items():
        if key == "title" and isinstance(value, str):
            continue
        if key in ("properties", "$defs", "patternProperties"):
            yield key, {name: _plain(one) for name, one in value.items()}
        else:
            yield key, value if key in ("default", "examples", "enum", "const") else _plain(value)
