"""The reference of all messages as Markdown, from the registry and the schemas."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from bmid.amqp.topology import COMMANDS, DEAD, EVENTS, QUERIES
from bmid.handlers.base import Handler
from bmid.handlers.registry import Registry
from bmid.messages.base import Event, Message
from bmid.reference.example import example
from bmid.reference.field import fields

__all__ = ["BEGIN", "reference"]

BEGIN = "<!-- From here on it is what `bmid messages` prints. -->"


def reference(registry: Registry) -> str:
    """Exchanges, queues, commands, events and queries."""
    public = {kind: handler for kind, handler in registry.commands.items() if not handler.internal}
    internal = {kind: handler for kind, handler in registry.commands.items() if handler.internal}
    lines = [
        BEGIN,
        "",
        *_topology(),
        "## Commands",
        "",
        *_contents(public),
        *(line for kind in sorted(public) for line in _command(public[kind])),
        "## Events",
        "",
        *_contents(registry.events),
        *(line for kind in sorted(registry.events) for line in _event(registry.events[kind], internal)),
        "## Queries",
        "",
        *_contents(registry.queries),
        *(line for kind in sorted(registry.queries) for line in _message(registry.queries[kind].query)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _topology() -> Iterator[str]:
    yield from ("## Exchanges and queues", "", "All are durable. A queue takes all that its exchange gets.", "")
    yield from ("| exchange | kind | queue | arguments |", "|---|---|---|---|")
    for queue in (COMMANDS, QUERIES, DEAD):
        arguments = ", ".join(f"`{key}` {json.dumps(value)}" for key, value in queue.arguments.items())
        yield f"| `{queue.exchange.name}` | {queue.exchange.kind} | `{queue.name}` | {arguments} |"
    yield f"| `{EVENTS.name}` | {EVENTS.kind} | the subscribers' own | |"
    yield ""


def _contents(kinds: Mapping[str, object]) -> Iterator[str]:
    for kind in sorted(kinds):
        yield f"- [`{kind}`](#{_anchor(kind)})"
    yield ""


def _anchor(kind: str) -> str:
    return kind.replace(".", "")


def _command(handler: Handler[Any]) -> Iterator[str]:
    outcome = handler.outcome.type
    keys = ", ".join(
        f"`{key.name}` {'exclusively' if key.exclusive else 'shared'}"
        for key in handler.keys(handler.command.model_validate(example(handler.command)))
    )
    yield from _message(
        handler.command, f"Outcome: [`{outcome}`](#{_anchor(outcome)}). Claims of the example: {keys}.", ""
    )


def _event(event: type[Event], internal: Mapping[str, Handler[Any]]) -> Iterator[str]:
    causes = [kind for kind, handler in internal.items() if handler.outcome is event]
    if causes:
        text = f"The end of `{causes[0]}`, a command that only the daemon gives itself, and nobody can send."
        yield from _message(event, text, "")
    else:
        yield from _message(event)


def _message(message: type[Message], *more: str) -> Iterator[str]:
    yield from (f"### `{message.type}`", "", inspect.cleandoc(message.__doc__ or ""), "", *more)
    rows = fields(message)
    if rows:
        yield from ("| field | type | default | meaning |", "|---|---|---|---|")
        for row in rows:
            default = f"`{row.default}`" if row.default not in ("", "not set", "empty") else row.default
            yield f"| `{row.path}` | {row.type} | {default or 'required'} | {row.meaning} |"
        yield ""
    yield from ("```json", json.dumps(example(message), indent=2), "```", "")
