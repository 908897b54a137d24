"""Sends a file by HTTP. What it is sent for is not known here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from bmi_publish.error import PublishError, UploadFailed
from bmid.errors import Problem

__all__ = ["refusal_of", "send_file"]

CHUNK = 1 << 20
ATTEMPTS = 3
LONGEST_PAUSE = 30.0
# The answer comes when all bytes are on the server's disk, so reading may take long.
TIMEOUT = httpx.Timeout(connect=10.0, write=60.0, read=600.0, pool=10.0)


class _Later(Exception):
    """The server asks for another attempt, `delay` seconds later."""

    def __init__(self, delay: float, refusal: PublishError) -> None:
        super().__init__(str(refusal))
        self.delay = delay
        self.refusal = refusal


def send_file(address: str, token: str, file: Path, progress: Callable[[int, int], None]) -> None:
    """PUT a file with a bearer token; from the start again if the line breaks or the server asks for it, at most
    twice. `progress` gets bytes done and in all, also while nothing moves. Raises UploadFailed."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _put(address, token, file, progress)
        except httpx.TransportError as error:
            detail = f"{address}: {type(error).__name__} {error}".strip()
            later = _Later(1.0, UploadFailed.of("upload-failed", detail, "Check the way there, and send it again."))
        except _Later as error:
            later = error
        except OSError as error:
            raise UploadFailed.of("upload-failed", f"{file}: {error.strerror or error}", "Look at that file.") from None
        else:
            return
        if attempt == ATTEMPTS:
            raise later.refusal from None
        end = time.monotonic() + later.delay
        while time.monotonic() < end:
            progress(0, file.stat().st_size)
            time.sleep(0.5)


def _put(address: str, token: str, file: Path, progress: Callable[[int, int], None]) -> None:
    total = file.stat().st_size
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Length": str(total),
        "Content-Type": "application/octet-stream",
    }
    answer = httpx.put(address, content=_chunks(file, total, progress), headers=headers, timeout=TIMEOUT)
    if answer.is_success:
        return
    refusal = UploadFailed(refusal_of(address, answer, "upload-failed"))
    if refusal.problem.slug == "upload-complete":
        return  # an earlier attempt came through, and its answer was lost
    if answer.status_code == 503 or refusal.problem.slug == "upload-in-progress":
        wished = answer.headers.get("Retry-After", "")
        raise _Later(min(float(wished) if wished.isdigit() else 5.0, LONGEST_PAUSE), refusal)
    raise refusal


def _chunks(file: Path, total: int, progress: Callable[[int, int], None]) -> Iterator[bytes]:
    done = 0
    with file.open("rb") as stream:
        # No more than was announced, should the file grow meanwhile.
        while done < total and (chunk := stream.read(min(CHUNK, total - done))):
            done += len(chunk)
            yield chunk
            progress(done, total)


def refusal_of(address: str, answer: httpx.Response, otherwise: str) -> Problem:
    """What the server says, in the form of RFC 9457 if it keeps to that; else a problem of the slug `otherwise`."""
    try:
        body = answer.json()
    except ValueError:
        body = None
    said = body if isinstance(body, dict) else {}
    slug = str(said.get("type", "")).rpartition(":")[2] or otherwise
    reason = str(said.get("detail") or said.get("title") or answer.reason_phrase)
    detail = f"{address} answered {answer.status_code}: {reason}"
    return Problem.of(slug, detail, todo=str(said.get("todo") or "Try again later, or ask the site's operator."))
