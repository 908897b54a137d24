"""Answers before the whole request has come: say it at once, then read on for a while.

A connection that is closed on unread bytes is reset, and the answer is lost with it, unless the sender happens to
look in time (RFC 9112, section 9.6). Many only look when all is sent.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Lingering"]

SECONDS = 5.0
LIMIT = 64 << 20  # bytes: who sends more than that against an answer may be cut off


class Lingering:
    """Wraps an application. Its answers go out whole; the rest of the request is read and dropped before the last
    mark that has the server close the connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _waits_to_be_asked(scope):
            await self._app(scope, receive, send)
            return
        more = True

        async def watched() -> Message:
            nonlocal more
            message = await receive()
            more = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def last(message: Message) -> None:
            if message["type"] != "http.response.body" or message.get("more_body", False) or not more:
                await send(message)
                return
            await send({**message, "more_body": True})
            with suppress(TimeoutError):
                async with asyncio.timeout(SECONDS):
                    await _drop(watched)
            await send({"type": "http.response.body"})

        await self._app(scope, watched, last)


async def _drop(receive: Receive) -> None:
    size = 0
    while size <= LIMIT:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return
        size += len(message.get("body", b""))


def _waits_to_be_asked(scope: Scope) -> bool:
    """Whether the sender keeps its bytes until it hears 100 Continue: after another answer it sends none."""
    return any(name == b"expect" and b"100-continue" in value.lower() for name, value in scope["headers"])
