"""Sends a file by HTTP. What it is sent for is not known here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from bmi_publish.error import PublishError, UploadFailed

__all__ = ["send_file"]

CHUNK = 1 << 20
ATTEMPTS = 3
# The answer comes when all bytes are on the server's disk, so reading may take long.
TIMEOUT = httpx.Timeout(connect=10.0, write=60.0, read=600.0, pool=10.0)


def send_file(address: str, token: str, file: Path, progress: Callable[[int, int], None]) -> None:
    """PUT a file with a bearer token; from the start again if the line breaks, at most twice. `progress` gets bytes
    done and in all. Raises UploadFailed."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _put(address, token, file, progress)
        except httpx.TransportError as error:
            if attempt == ATTEMPTS:
                detail = f"{address}: {type(error).__name__} {error}".strip()
                raise UploadFailed.of(
                    "upload-failed", detail, "Check the way to this address, and send it again."
                ) from None
        except OSError as error:
            raise UploadFailed.of("upload-failed", f"{file}: {error.strerror or error}") from None
        else:
            return


def _put(address: str, token: str, file: Path, progress: Callable[[int, int], None]) -> None:
    total = file.stat().st_size
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Length": str(total),
        "Content-Type": "application/octet-stream",
    }
    answer = httpx.put(address, content=_chunks(file, total, progress), headers=headers, timeout=TIMEOUT)
    if not answer.is_success:
        raise _refused(address, answer)


def _chunks(file: Path, total: int, progress: Callable[[int, int], None]) -> Iterator[bytes]:
    done = 0
    with file.open("rb") as stream:
        # No more than was announced, should the file grow meanwhile.
        while done < total and (chunk := stream.read(min(CHUNK, total - done))):
            done += len(chunk)
            yield chunk
            progress(done, total)


def _refused(address: str, answer: httpx.Response) -> PublishError:
    try:
        body = answer.json()
        reason = str(body.get("detail") or body.get("title") or "") if isinstance(body, dict) else ""
    except ValueError:
        reason = answer.text[:200]
    return UploadFailed.of(
        "upload-failed", f"{address} answered {answer.status_code}: {reason or answer.reason_phrase}"
    )
