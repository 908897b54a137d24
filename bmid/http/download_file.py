"""An exported file as a download sees it: opened safely, known again, in parts. Who may have it is not known here.

All calls block; they are made in a thread pool.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

__all__ = ["ExportedFile", "Unsatisfiable", "wanted"]

RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})")


class Unsatisfiable(Exception):
    """The range lies outside of the file."""


def wanted(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of the one range that a Range header asks for; None where the whole file is sent, as it is
    for what isn't understood and for several ranges (RFC 9110, section 14.2). Raises Unsatisfiable."""
    found = RANGE.fullmatch(header.strip()) if header else None
    if found is None or not any(found.groups()):
        return None
    first, last = found.groups()
    if not first:
        if not int(last) or not size:
            raise Unsatisfiable
        return max(0, size - int(last)), size - 1
    if last and int(last) < int(first):
        return None
    if int(first) >= size:
        raise Unsatisfiable
    return int(first), min(int(last), size - 1) if last else size - 1


class ExportedFile:
    """One that is open for reading."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.size = os.fstat(handle).st_size

    @classmethod
    def open(cls, folder: Path, name: str, identity: Sequence[int]) -> ExportedFile | None:
        """The file that was exported under that name; None where it is gone, or something else has the name now."""
        if "/" in name or name in ("", ".", ".."):
            return None
        try:
            inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            handle = os.open(name, flags, dir_fd=inside)
        except OSError:
            return None
        finally:
            os.close(inside)
        if not _known(os.fstat(handle), identity):
            os.close(handle)
            return None
        return cls(handle)

    def read(self, offset: int, length: int) -> bytes:
        """Bytes; none behind its end. Raises OSError."""
        return os.pread(self._handle, length, offset)

    def close(self) -> None:
        """Let go of it."""
        os.close(self._handle)


def _known(found: os.stat_result, identity: Sequence[int]) -> bool:
    """Whether it is the very file that was put there, as it was then."""
    this = [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns]
    return stat.S_ISREG(found.st_mode) and this == list(identity)
