"""GET, HEAD and DELETE /v1/downloads/{operation}: an exported file, for whoever has the token of its command.

Nothing is listed, and nothing but that one file is ever opened.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from bmid.errors import Problem
from bmid.http.bearer import authorised
from bmid.http.download_file import ExportedFile, Unsatisfiable, wanted
from bmid.http.problem import HttpProblem

__all__ = ["DownloadEndpoint", "DownloadSlot", "Downloads"]

log = structlog.get_logger(__name__)

BLOCK = 1 << 20
STALL_LIMIT = 60.0  # seconds that a reader may take for one block: no thread waits for it, but a connection is kept


class DownloadSlot(Protocol):
    """What an operation has exported: the token's SHA-256, folder and name of the file, by what it is known again
    (device, inode, size, time of change), and its own SHA-256, both in hexadecimal."""

    @property
    def token_sha256(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> Sequence[int]: ...
    @property
    def sha256(self) -> str: ...


class Downloads(Protocol):
    """Which exported files may be fetched here. Blocks for milliseconds; TransientError where the database is away."""

    def find(self, operation: str, /) -> DownloadSlot | None: ...


class DownloadEndpoint:
    """Handles the requests for files."""

    def __init__(self, downloads: Downloads) -> None:
        self._downloads = downloads

    async def handle(self, request: Request) -> Response:
        """Answers, or raises HttpProblem."""
        return await (self._delete(request) if request.method == "DELETE" else self._get(request))

    async def _get(self, request: Request) -> Response:
        """The file, or the one range of it that is asked for; of HEAD only what would be said of it."""
        slot = await authorised(request, self._downloads.find, _unknown())
        file = await self._open(slot)
        try:
            asked = request.headers.get("range")
            # A range of another file than the one that was begun would be garbage: then it is sent from the start.
            if request.headers.get("if-range", _tag(slot)) != _tag(slot):
                asked = None
            part = wanted(asked, file.size)
        except Unsatisfiable:
            size = file.size
            file.close()
            detail, todo = f"the file has {size} bytes", "ask for bytes that it has"
            raise HttpProblem.of(416, "range-outside", detail, todo, Content_Range=f"bytes */{size}") from None
        log.info("download.started", operation=request.path_params["operation"], method=request.method)
        return _FileResponse(file, part, _headers(slot))

    async def _delete(self, request: Request) -> Response:
        """The file is gone from the export folder: whoever fetched it needs it there no longer."""
        slot = await authorised(request, self._downloads.find, _unknown())
        file = await self._open(slot)
        file.close()
        try:
            await asyncio.to_thread((slot.folder / slot.name).unlink, missing_ok=True)
        except OSError as error:
            todo = "ask the operator to look at the export folder"
            raise HttpProblem.of(503, "export-kept", f"it can't be removed: {error.strerror}", todo) from error
        log.info("download.removed", operation=request.path_params["operation"], size=file.size)
        return JSONResponse({"operation": request.path_params["operation"]})

    async def _open(self, slot: DownloadSlot) -> ExportedFile:
        file = await asyncio.to_thread(ExportedFile.open, slot.folder, slot.name, slot.identity)
        if file is None:
            todo = "export the image again, under a new id"
            raise HttpProblem.of(410, "export-gone", "the exported file is not in the export folder any more", todo)
        return file


def _unknown() -> Problem:
    todo = "check the address in the outcome event, and the token"
    return Problem.of("no-such-download", "no file is to be had here with this token", todo=todo)


def _tag(slot: DownloadSlot) -> str:
    return f'"{slot.sha256}"'


def _headers(slot: DownloadSlot) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(slot.sha256)).decode()
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-store",
        "Content-Disposition": f'attachment; filename="{slot.name}"',
        "ETag": _tag(slot),
        "Repr-Digest": f"sha-256=:{digest}:",
        "X-Content-Type-Options": "nosniff",
    }


async def _gone(receive: Receive) -> None:
    """Ends when the connection does."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _FileResponse(Response):
    """Sends a file, or a part of it, in blocks; lets go of it in any case."""

    def __init__(self, file: ExportedFile, part: tuple[int, int] | None, headers: Mapping[str, str]) -> None:
        self._file = file
        self._first, self._last = part or (0, file.size - 1)
        more = {"Content-Length": str(self._last + 1 - self._first)}
        if part:
            more["Content-Range"] = f"bytes {self._first}-{self._last}/{file.size}"
        self.body = b""
        self.status_code = 206 if part else 200
        self.media_type = "application/octet-stream"
        self.background = None
        self.init_headers({**headers, **more})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # What is sent to somebody who has gone is dropped without a word.
        gone = asyncio.create_task(_gone(receive))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            if scope["method"] == "HEAD":
                await send({"type": "http.response.body", "body": b""})
            else:
                await self._send(send, gone)
        except TimeoutError:
            log.warning("download.stalled")
        finally:
            gone.cancel()
            self._file.close()

    async def _send(self, send: Send, gone: asyncio.Task[None]) -> None:
        place = self._first
        while place <= self._last:
            if gone.done():
                log.info("download.left")
                return
            block = await asyncio.to_thread(self._file.read, place, min(BLOCK, self._last + 1 - place))
            if not block:
                return  # cut short under our hands: the client sees that bytes are missing
            place += len(block)
            async with asyncio.timeout(STALL_LIMIT):
                await send({"type": "http.response.body", "body": block, "more_body": place <= self._last})
        if self._last < self._first:
            await send({"type": "http.response.body", "body": b""})
