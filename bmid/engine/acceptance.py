"""Acceptance: from a message on the bus to a durable operation, or to an answer that says why not.

Only what needs the message, the settings and the sender's rights is looked at here; whatever depends on state is
looked at when the operation's turn has come.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol

import structlog
from pydantic import ValidationError
from pydantic_core import to_json

from bmid.engine.identity import Identity
from bmid.engine.submission import Submission
from bmid.errors import BmiError, Rejected
from bmid.handlers.base import Handler
from bmid.handlers.registry import Registry
from bmid.messages.base import Command
from bmid.messages.envelope import Envelope, Unreadable, decode
from bmid.messages.operation import CommandRejected, OperationAccepted
from bmid.model.site import Site
from bmid.store import inbox, operations, outbox
from bmid.store.database import Database, Tx
from bmid.store.inbox import Known
from bmid.store.outbox import Cause

__all__ = ["Acceptance", "Letter"]

log = structlog.get_logger(__name__)
MAX_REASONS = 20


class Letter(Protocol):
    """What acceptance needs to know of a delivery."""

    @property
    def user_id(self) -> str | None: ...
    @property
    def content_type(self) -> str | None: ...
    @property
    def headers(self) -> Mapping[str, Any]: ...
    @property
    def body(self) -> bytes: ...


class Acceptance:
    """Takes messages in. `limit` is the size that an upload may have, in bytes."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        site: Site,
        identity: Identity,
        notify: Callable[[], None],
        limit: int,
    ) -> None:
        self._database = database
        self._registry = registry
        self._site = site
        self._identity = identity
        self._notify = notify
        self._submission = Submission(registry, identity.head, identity.source, site.upload_url, limit)

    def available(self) -> bool:
        """Whether the database would take a message now."""
        try:
            self._database.now()
        except BmiError:
            return False
        return True

    def receive(self, letter: Letter, /) -> Literal["ack", "dead-letter"]:
        """Accept or reject one message, durably: "ack", or "dead-letter" for what can't even be answered."""
        try:
            try:
                envelope = decode(letter.content_type, letter.headers, letter.body)
            except Unreadable as error:
                self._unreadable(letter, error)
            else:
                self._accept_or_reject(letter, envelope)
        except Rejected as error:
            # There is nobody to answer, or even the answer can't be kept.
            log.warning("message.dead_lettered", detail=str(error), size=len(letter.body))
            return "dead-letter"
        return "ack"

    def _unreadable(self, letter: Letter, error: Unreadable) -> None:
        rejection = Rejected("message-unreadable", str(error), todo="Send it as docs/messages.md shows.")
        if not error.answerable:
            raise rejection
        names = ("id", "source", "type", "correlationid")
        envelope = Envelope(**{name: error.attributes.get(name) for name in names})  # type: ignore[arg-type]
        self._reject(letter.user_id, envelope, rejection)

    def _accept_or_reject(self, letter: Letter, envelope: Envelope) -> None:
        try:
            self._accept(self._sender(letter), envelope)
        except Rejected as rejection:
            self._reject(letter.user_id, envelope, rejection)

    def submit(self, tx: Tx, command: Command) -> str:
        """An operation that the daemon itself wants done; the id of the operation."""
        return self._submission.submit(tx, command)

    def _sender(self, letter: Letter) -> str:
        if not letter.user_id:
            raise Rejected(
                "user-id-missing",
                "the message has no AMQP user_id, so nobody can tell who sent it",
                todo="Set the property user_id to the name that you log in to the broker with.",
            )
        return letter.user_id

    def _accept(self, user: str, envelope: Envelope) -> None:
        handler = self._handler(envelope.type)
        command = _validated(handler, envelope.data)
        handler.accept(command, self._site)
        with self._database.write() as tx:
            known = inbox.insert(tx, user, envelope.source, envelope.id, _digest(envelope))
            if known is not None:
                self._again(tx, known, envelope)
            else:
                identifier = self._submission.write_all(tx, user, envelope, command)
                inbox.answered(tx, user, envelope.source, envelope.id, operation=identifier, event=None)
                log.info("operation.accepted", operation=identifier, command=envelope.type, user=user)
        self._notify()

    def _again(self, tx: Tx, known: Known, envelope: Envelope) -> None:
        """A second copy has no effect, but is answered: what was said then is said once more."""
        if known.digest != _digest(envelope):
            raise Rejected(
                "id-reused",
                f"a message with the id {envelope.id} came before, with other content",
                todo="Give every command an id of its own; send the same id only to ask for the same thing again.",
            )
        if known.operation is None:
            outbox.again(tx, events=[known.event] if known.event else [])
            return
        one = operations.find(tx, known.operation)
        finals = [OperationAccepted.type, *(self._registry.ends(one.type) if one else ())]
        outbox.again(tx, operation=known.operation, types=finals)

    def _reject(self, user: str | None, envelope: Envelope, rejection: Rejected) -> None:
        event = CommandRejected(
            message=envelope.id,
            source=envelope.source,
            command=envelope.type,
            reasons=rejection.reasons,
            problem=rejection.problem,
        )
        cause = Cause(
            self._identity.source, None, envelope.correlationid or envelope.id, envelope.id, envelope.traceparent
        )
        with self._database.write() as tx:
            known = inbox.insert(tx, user or "", envelope.source, envelope.id, _digest(envelope))
            if known is not None and known.event is not None and known.digest == _digest(envelope):
                outbox.again(tx, events=[known.event])
            else:
                written = outbox.emit(tx, event, cause)
                if known is None:
                    inbox.answered(tx, user or "", envelope.source, envelope.id, operation=None, event=written)
        log.info("command.rejected", command=envelope.type, user=user, problem=rejection.problem.slug)
        self._notify()

    def _handler(self, name: str) -> Handler[Any]:
        public = {kind: handler for kind, handler in self._registry.commands.items() if not handler.internal}
        if name in public:
            return public[name]
        base = name.rpartition(".")[0]
        versions = [kind for kind in public if kind.rpartition(".")[0] == base]
        near = versions or difflib.get_close_matches(name, public, n=1)
        slug = "version-unknown" if versions else "type-unknown"
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(sorted(public))}."
        raise Rejected(slug, f"there is no command of type {name}", todo=hint)


def _validated(handler: Handler[Any], data: Mapping[str, Any]) -> Command:
    try:
        command: Command = handler.command.model_validate(data)
    except ValidationError as error:
        reasons = tuple(_reason(one) for one in error.errors(include_url=False, include_input=False))[:MAX_REASONS]
        fields = ", ".join(handler.command.model_fields)
        raise Rejected(
            "data-invalid", "; ".join(reasons), todo=f"The fields of this command are {fields}.", reasons=reasons
        ) from error
    return command


def _reason(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"]) or "data"
    return f"{where}: {error['msg']}"


def _digest(envelope: Envelope) -> str:
    content = {"type": envelope.type, "data": envelope.data}
    return hashlib.sha256(to_json(content, inf_nan_mode="constants")).hexdigest()
