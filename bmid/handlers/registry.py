"""Finds the handlers: every module beside this one that has a HANDLER or a QUERY."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from bmid import handlers
from bmid.handlers.base import Handler, QueryHandler
from bmid.handlers.group import GROUP, GroupFinished
from bmid.messages.base import Command, Event, NodeCommand
from bmid.messages.operation import (
    ClaimBroken,
    CommandRejected,
    OperationAbandoned,
    OperationAccepted,
    OperationFailed,
    OperationPlanned,
    OperationProgressed,
    OperationRetried,
)

__all__ = ["Registry", "discover"]


@dataclass(frozen=True)
class Registry:
    """All messages, by type."""

    commands: Mapping[str, Handler[Any]]
    queries: Mapping[str, QueryHandler[Any]]
    events: Mapping[str, type[Event]]

    def handler(self, command: Command) -> Handler[Any]:
        """Who carries a command out; one to a group waits for its members."""
        return GROUP if command.members() else self.commands[command.type]

    def ends(self, kind: str) -> tuple[str, ...]:
        """The types of the events that a command of this type may end with, other than its rejection."""
        handler = self.commands[kind]
        group = (GroupFinished.type,) if issubclass(handler.command, NodeCommand) else ()
        return (handler.outcome.type, *group, OperationPlanned.type, OperationFailed.type)


def discover() -> Registry:
    """Import every module of handlers and gather what they declare."""
    commands: dict[str, Handler[Any]] = {}
    queries: dict[str, QueryHandler[Any]] = {}
    common = (
        *(OperationAccepted, OperationProgressed, OperationPlanned, OperationFailed, CommandRejected),
        *(OperationRetried, OperationAbandoned, ClaimBroken),
    )
    events: dict[str, type[Event]] = {event.type: event for event in common}
    for found in sorted(pkgutil.iter_modules(handlers.__path__), key=lambda module: module.name):
        module = import_module(f"{handlers.__name__}.{found.name}")
        handler, query = getattr(module, "HANDLER", None), getattr(module, "QUERY", None)
        if isinstance(handler, Handler):
            commands[handler.command.type] = handler
            events[handler.outcome.type] = handler.outcome
        if isinstance(query, QueryHandler):
            queries[query.query.type] = query
        events |= {event.type: event for event in getattr(module, "EVENTS", ())}
    return Registry(commands, queries, events)
