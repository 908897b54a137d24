"""How an accepted command becomes an operation: the row, its place in the line, its accepted event.

Who may send what is decided elsewhere; so is whether a message came before.
"""

from __future__ import annotations

import os

from bmid.handlers.registry import Registry
from bmid.messages.base import Command
from bmid.messages.envelope import Envelope
from bmid.messages.operation import OperationAccepted
from bmid.model.ident import uuid7
from bmid.model.operation import Operation, Phase
from bmid.store import operations, outbox, uploads
from bmid.store.database import Tx
from bmid.store.outbox import Cause

__all__ = ["Submission"]


class Submission:
    """Writes operations down. `source` is ours, for events; uploads come to `head` below `upload_url` and may have
    `limit` bytes."""

    def __init__(self, registry: Registry, head: str, source: str, upload_url: str = "", limit: int = 0) -> None:
        self._registry = registry
        self._head = head
        self._source = source
        self._upload_url = upload_url
        self._limit = limit

    def submit(self, tx: Tx, command: Command, parent: Operation | None = None) -> str:
        """An operation that the daemon itself wants done, alone or as a member of another one; its id."""
        identifier = uuid7(tx.now, os.urandom(10)).hex
        caused = (parent.id, parent.correlation) if parent else (identifier, identifier)
        envelope = Envelope(id=caused[0], source=self._source, type=command.type, correlationid=caused[1])
        self.write(tx, "bmid", envelope, command, identifier, parent.id if parent else None)
        return identifier

    def write_all(self, tx: Tx, user: str, envelope: Envelope, command: Command) -> str:
        """What a message asks for: one operation, and for a group one for each member as well, whose events are caused
        by the group's operation; the id of the first."""
        identifier = uuid7(tx.now, os.urandom(10)).hex
        self.write(tx, user, envelope, command, identifier)
        correlation = envelope.correlationid or envelope.id
        caused = Envelope(
            id=identifier,
            source=envelope.source,
            type=envelope.type,
            correlationid=correlation,
            traceparent=envelope.traceparent,
        )
        for member in command.members():
            self.write(tx, user, caused, member, uuid7(tx.now, os.urandom(10)).hex, parent=identifier)
        return identifier

    def write(
        self, tx: Tx, user: str, envelope: Envelope, command: Command, identifier: str, parent: str | None = None
    ) -> None:
        """One operation, under the id that it is given."""
        handler = self._registry.handler(command)
        token = None if command.dry_run else handler.upload(command)
        new = Operation(
            id=identifier,
            seq=0,
            type=command.type,
            command=command.payload(),
            user=user,
            source=envelope.source,
            message=envelope.id,
            correlation=envelope.correlationid or envelope.id,
            phase=Phase.PENDING,
            accepted_at=tx.now,
            due_at=tx.now,
            project=getattr(command, "project", None),
            traceparent=envelope.traceparent,
            home=self._head if token else None,
            parent=parent,
            expires_at=command.expires_at,
        )
        operations.accept(tx, new, handler.keys(command), urgent=handler.urgent)
        address = f"{self._upload_url}/v1/uploads/{identifier}" if token else None
        if token:
            uploads.open_slot(tx, identifier, token, self._limit)
        event = OperationAccepted(
            operation=identifier, command=command.type, project=new.project, about=command.subject(), upload=address
        )
        cause = Cause(self._source, identifier, new.correlation, new.message, new.traceparent)
        outbox.emit(tx, event, cause)
