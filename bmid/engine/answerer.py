"""Answers queries from the database, and changes nothing."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from bmid.engine.acceptance import Letter
from bmid.engine.identity import Identity
from bmid.errors import Rejected
from bmid.handlers.registry import Registry
from bmid.messages.envelope import Envelope, Unreadable, decode, encode
from bmid.model.ident import uuid7
from bmid.store.database import Database
from bmid.store.view import StoreView

__all__ = ["Answerer"]

ANSWERED = "bmi.query.answered.v1"


class Answerer:
    """One answer for each query."""

    def __init__(self, database: Database, registry: Registry, identity: Identity) -> None:
        self._database = database
        self._registry = registry
        self._identity = identity

    def answer(self, letter: Letter, /) -> tuple[Mapping[str, Any], bytes]:
        """Headers and body of the answer. Raises BmiError, whose problem is the answer then."""
        try:
            envelope = decode(letter.content_type, letter.headers, letter.body)
        except Unreadable as error:
            raise Rejected("message-unreadable", str(error), todo="Send it as docs/messages.md shows.") from error
        handler = self._registry.queries.get(envelope.type)
        if handler is None:
            near = difflib.get_close_matches(envelope.type, self._registry.queries, n=1)
            todo = f"Did you mean {near[0]}?" if near else f"There are {', '.join(sorted(self._registry.queries))}."
            raise Rejected("type-unknown", f"there is no query of type {envelope.type}", todo=todo)
        try:
            query = handler.query.model_validate(envelope.data)
        except ValidationError as error:
            reasons = [f"{'.'.join(map(str, one['loc'])) or 'data'}: {one['msg']}" for one in error.errors()]
            raise Rejected("data-invalid", "; ".join(reasons), todo="Its fields are in docs/messages.md.") from error
        with self._database.read() as tx:
            result = handler.answer(query, StoreView(tx, self._identity.dead_after))
            now = tx.now
        reply = Envelope(
            id=str(uuid7(now, os.urandom(10))),
            source=self._identity.source,
            type=ANSWERED,
            time=now,
            correlationid=envelope.id,
            data={"result": result},
        )
        return encode(reply)
