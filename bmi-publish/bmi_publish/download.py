"""Fetches a file by HTTP, and goes on where a broken line stopped. What it is fetched for is not known here."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import BinaryIO

import httpx

from bmi_publish.error import DownloadFailed, PublishError
from bmi_publish.upload import refusal_of

__all__ = ["fetch_file", "remove_file"]

ATTEMPTS = 5  # in a row without a byte
PAUSE = 1.0  # seconds
TIMEOUT = httpx.Timeout(connect=10.0, write=10.0, read=60.0, pool=10.0)


class _Fetch:
    """One file on its way: what is there of it, and the digest of that."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._tag = ""
        self.digest = hashlib.sha256()
        self.done = 0

    def headers(self) -> dict[str, str]:
        """What has to be said to get the rest."""
        return {"Range": f"bytes={self.done}-", "If-Range": self._tag} if self.done and self._tag else {}

    def take(self, answer: httpx.Response, progress: Callable[[int, int], None]) -> None:
        """The rest of it; all of it where the server has another file now."""
        if answer.status_code != 206:
            self._target.seek(0)
            self._target.truncate()
            self.digest, self.done = hashlib.sha256(), 0
        self._tag = answer.headers.get("ETag", "")
        total = self.done + int(answer.headers.get("Content-Length", 0))
        for chunk in answer.iter_raw():  # as they come: what waits for a full block is lost with the line
            self._target.write(chunk)
            self.digest.update(chunk)
            self.done += len(chunk)
            progress(self.done, total)


def fetch_file(address: str, token: str, target: BinaryIO, progress: Callable[[int, int], None]) -> str:
    """GET a file with a bearer token into `target`, which is at its start; its SHA-256 in hexadecimal. `progress` gets
    bytes done and in all. Raises DownloadFailed."""
    fetch, tries = _Fetch(target), 0
    while True:
        before = fetch.done
        try:
            headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity", **fetch.headers()}
            with httpx.stream("GET", address, headers=headers, timeout=TIMEOUT) as answer:
                if answer.is_success:
                    fetch.take(answer, progress)
                    target.flush()
                    return fetch.digest.hexdigest()
                answer.read()
                error = _refused(address, answer)
                if answer.status_code != 503:
                    raise error
        except httpx.TransportError as broken:
            error = _broken(address, broken)
        except OSError as broken:
            detail = f"it can't be written: {broken.strerror or broken}"
            raise DownloadFailed.of("download-failed", detail, "Make room, or name another place.") from None
        tries = 0 if fetch.done > before else tries + 1
        if tries == ATTEMPTS:
            raise error
        progress(fetch.done, fetch.done)
        time.sleep(PAUSE)


def remove_file(address: str, token: str) -> None:
    """Have the file taken away where it was fetched from. Raises DownloadFailed."""
    try:
        answer = httpx.delete(address, headers={"Authorization": f"Bearer {token}"}, timeout=TIMEOUT)
    except httpx.TransportError as broken:
        raise _broken(address, broken) from None
    if not answer.is_success and answer.status_code != 410:
        raise _refused(address, answer)


def _broken(address: str, error: httpx.TransportError) -> PublishError:
    detail = f"{address}: {type(error).__name__} {error}".strip()
    return DownloadFailed.of("download-failed", detail, "Check the way there, and fetch it again.")


def _refused(address: str, answer: httpx.Response) -> PublishError:
    return DownloadFailed(refusal_of(address, answer, "download-failed"))
