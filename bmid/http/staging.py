"""The file that an upload is written to: beside its final place until it is whole, and gone if it never is.

All calls block; they are made in a thread pool. Who may upload what is not known here.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path

__all__ = ["Staging", "free_space"]


class Staging:
    """An upload on its way to `path`. OSError from every call but `discard`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        # A request that is cancelled leaves its last write running in the pool: the file must not be closed under it.
        self._lock = threading.Lock()
        self._part.unlink(missing_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._file = os.open(self._part, flags, 0o600)
        self._open = True

    def write(self, data: bytes) -> None:
        """Append all of it."""
        with self._lock:
            view = memoryview(data)
            while view and self._open:
                view = view[os.write(self._file, view) :]

    def finish(self) -> None:
        """Put it in its place, safe against a loss of power."""
        with self._lock:
            os.fsync(self._file)
            self._close()
            self._part.rename(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def discard(self) -> None:
        """Leave nothing; quiet after `finish`."""
        with self._lock:
            if self._open:
                self._close()
                with suppress(OSError):
                    self._part.unlink()

    def _close(self) -> None:
        self._open = False
        os.close(self._file)


def free_space(folder: Path) -> int:
    """Bytes that we may still write to the file system of `folder`. Raises OSError."""
    stats = os.statvfs(folder)
    return stats.f_bavail * stats.f_frsize
