"""The AsyncAPI 3.0 document of bmid: what it receives and what it sends, from the registry and the schemas.

Its schemas are those of schema.py, in the dialect that AsyncAPI reads: beside a reference nothing else may stand.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

from bmid.amqp.responder import FAILED
from bmid.amqp.topology import COMMANDS, EVENTS, QUERIES, Exchange
from bmid.engine.answerer import ANSWERED
from bmid.handlers.registry import Registry
from bmid.messages.base import Message
from bmid.messages.envelope import CONTENT_TYPE
from bmid.messages.operation import CommandRejected, OperationAccepted
from bmid.reference.example import OPERATION, PROBLEM, example
from bmid.reference.schema import ENVELOPE, KIND, public_messages, schemas

__all__ = ["document"]

Json = dict[str, Any]
ABOUT = """\
Machines boot copy-on-write clones of golden images. Commands and queries are published with their type as routing
key, and with the property `user_id` set to the broker's user; events come with their type and the project's name, or
`-`, as routing key. All messages are CloudEvents 1.0 in structured mode.

The operations are seen from bmid: it receives commands and queries, and sends events and answers. The id of a command
is its idempotency key, together with the user and the source: sent again, it has no second effect and is answered with
the same events. A command has exactly one end: its own event, `bmi.operation.failed.v1` or `bmi.command.rejected.v1`;
that of a dry run is `bmi.operation.planned.v1`, and that of a group of nodes is `bmi.group.finished.v1`.
"""
TIME = "2026-11-21T09:00:00+00:00"
MESSAGE = "019abc0f-3a5c-7d21-b0c4-e5f60718293a"
USER = "my-service"
CHANNELS = {"command": "commands", "query": "queries", "event": "events", "reply": "replies"}


def document(registry: Registry) -> Json:
    """The document, as JSON values."""
    found = schemas(registry)
    kinds = {name: str(schema[KIND]) for name, schema in found.items() if name != ENVELOPE}
    classes = public_messages(registry)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "BMI",
            "version": version("bmi"),
            "description": ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": CONTENT_TYPE.partition(";")[0],
        "servers": {"broker": _server()},
        "channels": _channels(kinds),
        "operations": {kind: _operation(registry, kind, of) for kind, of in kinds.items() if of != "reply"},
        "components": {
            "messages": {kind: _message(kind, of, found[kind], classes.get(kind)) for kind, of in kinds.items()},
            "schemas": _schemas(found),
            "securitySchemes": {"user": {"type": "userPassword", "description": "a user of the broker"}},
        },
    }


def _server() -> Json:
    return {
        "host": "{host}:{port}",
        "pathname": "/{vhost}",
        "protocol": "amqp",
        "protocolVersion": "0-9-1",
        "description": "RabbitMQ. With TLS it is amqps, by default on port 5671.",
        "variables": {
            "host": {"default": "localhost", "description": "the broker"},
            "port": {"default": "5672", "description": "its port"},
            "vhost": {"default": "bmi", "description": "the site's virtual host"},
        },
        "security": [{"$ref": "#/components/securitySchemes/user"}],
    }


def _channels(kinds: Mapping[str, str]) -> Json:
    one = {"type": {"description": "the type of the message"}}
    both = {**one, "project": {"description": "the project's name, or - where there is none"}}
    return {
        "commands": _channel("{type}", one, COMMANDS.exchange, "Commands.", kinds, "command"),
        "queries": _channel("{type}", one, QUERIES.exchange, "Queries, by direct reply-to.", kinds, "query"),
        "events": _channel(
            "{type}.{project}",
            both,
            EVENTS,
            "Events. A subscriber declares a queue of its own and binds it here.",
            kinds,
            "event",
        ),
        "replies": {
            "address": None,
            "description": "Where a query's `reply_to` says: RabbitMQ's direct reply-to, amq.rabbitmq.reply-to.",
            "messages": _listed(kinds, "reply"),
        },
    }


def _channel(address: str, parameters: Json, exchange: Exchange, text: str, kinds: Mapping[str, str], of: str) -> Json:
    form = {"name": exchange.name, "type": exchange.kind, "durable": True, "autoDelete": False}
    return {
        "address": address,
        "description": f"{text} The exchange is `{exchange.name}`, the address is the routing key.",
        "servers": [{"$ref": "#/servers/broker"}],
        "parameters": parameters,
        "messages": _listed(kinds, of),
        "bindings": {"amqp": {"is": "routingKey", "exchange": form, "bindingVersion": "0.3.0"}},
    }


def _listed(kinds: Mapping[str, str], of: str) -> Json:
    return {kind: {"$ref": f"#/components/messages/{kind}"} for kind, one in kinds.items() if one == of}


def _operation(registry: Registry, kind: str, of: str) -> Json:
    binding: Json = {"ack": True} if of != "event" else {"deliveryMode": 2, "mandatory": True}
    operation: Json = {
        "action": "send" if of == "event" else "receive",
        "channel": {"$ref": f"#/channels/{CHANNELS[of]}"},
        "messages": [{"$ref": f"#/channels/{CHANNELS[of]}/messages/{kind}"}],
        "bindings": {"amqp": {**binding, "bindingVersion": "0.3.0"}},
    }
    if of == "command":
        events = (OperationAccepted.type, *registry.ends(kind), CommandRejected.type)
        operation["description"] = f"It is answered by events: {', '.join(f'`{event}`' for event in events)}."
    elif of == "query":
        operation["reply"] = {
            "address": {"location": "$message.header#/reply_to", "description": "the property `reply_to`"},
            "channel": {"$ref": "#/channels/replies"},
            "messages": [{"$ref": f"#/channels/replies/messages/{one}"} for one in (ANSWERED, FAILED)],
        }
    return operation


def _message(kind: str, of: str, schema: Json, message: type[Message] | None) -> Json:
    text = inspect.cleandoc(schema["description"])
    payload = {"properties": {"type": {"const": kind}, "data": {"$ref": f"#/components/schemas/{kind}"}}}
    return {
        "name": kind,
        "title": kind,
        "summary": text.partition("\n")[0],
        "description": text,
        "contentType": CONTENT_TYPE.partition(";")[0],
        "correlationId": {"location": "$message.payload#/correlationid"},
        "tags": [{"name": of}],
        "bindings": {"amqp": {"contentEncoding": "utf-8", "messageType": kind, "bindingVersion": "0.3.0"}},
        "payload": {"allOf": [{"$ref": f"#/components/schemas/{ENVELOPE}"}, payload]},
        "examples": [{"name": "example", "payload": _example(kind, of, message)}],
    }


def _example(kind: str, of: str, message: type[Message] | None) -> Json:
    """A whole message, as it stands on the bus."""
    data: Json
    if message is not None:
        # An event is written with all that it has, a command with what its sender wants to say.
        data = message.model_validate(example(message)).payload() if of == "event" else example(message)
    else:
        data = {"result": {}} if kind == ANSWERED else {"problem": PROBLEM.model_dump(mode="json", exclude_none=True)}
    ours = of in ("event", "reply")
    envelope: Json = {
        "specversion": "1.0",
        "id": OPERATION if ours else MESSAGE,
        "source": "bmid/head-a" if ours else f"/{USER}",
        "type": kind,
        "time": TIME,
        "datacontenttype": "application/json",
    }
    if message is not None and of != "query":
        envelope["subject"] = message.model_validate(data).subject()
    if ours:
        envelope["correlationid"] = MESSAGE
    if of == "event":
        envelope |= {"causationid": MESSAGE, "sequence": "0000000001", "position": 1}
    return {**envelope, "data": data}


def _schemas(found: Mapping[str, Json]) -> Json:
    """All schemas side by side; the parts that a message names are `TYPE.Part`."""
    placed: Json = {}
    for name, schema in found.items():
        kept = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "$defs", KIND)}
        placed[name] = _translated(kept, name)
        for part, inner in schema.get("$defs", {}).items():
            placed[f"{name}.{part}"] = _translated(inner, name)
    return placed


def _translated(value: Any, name: str) -> Any:
    if isinstance(value, dict) and isinstance(value.get("$ref"), str):
        part = value["$ref"].rpartition("/")[2]
        beside = {key: one for key, one in value.items() if key != "$ref"}
        reference = {"$ref": f"#/components/schemas/{name}.{part}"}
        return {"allOf": [reference], **beside} if beside else reference
    if isinstance(value, dict):
        return dict(_each(value, name))
    return [_translated(one, name) for one in value] if isinstance(value, list) else value


def _each(value: Mapping[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    for key, one in value.items():
        yield key, one if key in ("default", "enum", "const", "examples") else _translated(one, name)
