"""PUT /v1/uploads/{operation}: takes the bytes of one image from whoever has the token."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from bmid.errors import Problem
from bmid.http.bearer import authorised, in_thread_or_503
from bmid.http.problem import HttpProblem
from bmid.http.staging import Staging, free_space

__all__ = ["UploadEndpoint", "UploadSlot", "Uploads"]

log = structlog.get_logger(__name__)

IDLE_LIMIT = 30.0  # seconds without a byte
GRACE = 60.0  # seconds before the rate is looked at
MINIMAL_RATE = 32 * 1024  # bytes a second on average: 10 GiB may take four days, but not for ever
BLOCK = 1 << 20
AGAIN = "send it again from the start"


class UploadSlot(Protocol):
    """What an operation waits for: the hexadecimal SHA-256 of the token, the file to write to, at most how many
    bytes, and whether all of them are there already."""

    @property
    def token_sha256(self) -> str: ...
    @property
    def path(self) -> Path: ...
    @property
    def limit(self) -> int: ...
    @property
    def complete(self) -> bool: ...


class Uploads(Protocol):
    """Which uploads are awaited. Calls block for milliseconds; TransientError where the database is away."""

    def find(self, operation: str, /) -> UploadSlot | None: ...

    def complete(self, operation: str, size: int, /) -> None:
        """All `size` bytes are in the slot's file, safe on disk."""
        ...


class UploadEndpoint:
    """Handles the PUTs. One transfer per operation at a time."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        # Bytes that each transfer under way may still write: two big ones must not both count on the same space.
        self._awaited: dict[str, int] = {}

    async def put(self, request: Request) -> Response:
        """Answers 200 when the file is whole, safe and reported; else raises HttpProblem."""
        operation = request.path_params["operation"]
        slot = await authorised(request, self._uploads.find, _unknown())
        if slot.complete:
            raise HttpProblem.of(409, "upload-complete", "all bytes are here already", "wait for the outcome event")
        if operation in self._awaited:
            todo = "wait until it ends; if it was yours and is broken, try again in half a minute"
            raise HttpProblem.of(409, "upload-in-progress", "another transfer is under way", todo, Retry_After="30")
        length = _content_length(request)
        if length is not None and length > slot.limit:
            raise _too_long(slot.limit)
        self._awaited[operation] = slot.limit if length is None else length
        try:
            size = await self._take(operation, slot, length, request)
            await in_thread_or_503(self._uploads.complete, operation, size)
        except OSError as error:
            raise _no_space(error) from error
        finally:
            del self._awaited[operation]
        log.info("upload.finished", operation=operation, size=size)
        return JSONResponse({"operation": operation, "size": size})

    async def _take(self, operation: str, slot: UploadSlot, length: int | None, request: Request) -> int:
        free = await asyncio.to_thread(free_space, slot.path.parent)
        if sum(self._awaited.values()) > free:
            raise _no_space(None)
        staging = await asyncio.to_thread(Staging, slot.path)
        try:
            size = 0
            async for block in _blocks(request, slot.limit):
                await asyncio.to_thread(staging.write, block)
                size += len(block)
                self._awaited[operation] = max(0, self._awaited[operation] - len(block))
            if length is not None and size != length:
                raise _broken(size)
            await asyncio.to_thread(staging.finish)
        finally:
            staging.discard()
        return size


async def _blocks(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body in blocks of about 1 MiB, so that a big file doesn't need a thread for every packet. Raises
    HttpProblem where it is too long, too slow or cut short."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    size = 0
    waiting = bytearray()
    stream = request.stream()
    while True:
        try:
            async with asyncio.timeout(IDLE_LIMIT):
                piece = await anext(stream, None)
        except ClientDisconnect as error:
            raise _broken(size) from error
        except TimeoutError as error:
            raise _too_slow(size) from error
        if piece is None:
            break
        size += len(piece)
        if size > limit:
            raise _too_long(limit)
        elapsed = loop.time() - started
        if elapsed > GRACE and size < elapsed * MINIMAL_RATE:
            raise _too_slow(size)
        waiting += piece
        if len(waiting) >= BLOCK:
            yield bytes(waiting)
            waiting.clear()
    if waiting:
        yield bytes(waiting)


def _content_length(request: Request) -> int | None:
    text = request.headers.get("content-length")
    return int(text) if text is not None and text.isascii() and text.isdigit() else None


def _unknown() -> Problem:
    todo = "check the address in the accepted event, and the token"
    return Problem.of("no-such-upload", "no upload is awaited here with this token", todo=todo)


def _too_long(limit: int) -> HttpProblem:
    return HttpProblem.of(413, "upload-too-long", f"at most {limit} bytes are taken", "send a smaller image")


def _too_slow(size: int) -> HttpProblem:
    return HttpProblem.of(408, "upload-too-slow", f"too little came after {size} bytes", AGAIN)


def _broken(size: int) -> HttpProblem:
    return HttpProblem.of(
        400, "upload-broken", f"the transfer ended after {size} bytes", "send it again from the start"
    )


def _no_space(error: OSError | None) -> HttpProblem:
    if error is None or error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        todo = "have space freed on the head's staging file system, then send it again"
        return HttpProblem.of(507, "no-space", "there is no room for so many bytes", todo, Retry_After="60")
    log.error("upload.failed", reason=error.strerror)
    todo = "ask the operator to look at the staging folder, then send it again"
    return HttpProblem.of(503, "staging-failed", "the bytes could not be written", todo, Retry_After="60")
