"""Bounded reading of bytes that nobody has checked yet. What they mean is the business of whoever looks through it."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Unreadable", "Window"]

_BLOCK = 1 << 16
_MOST_BLOCKS = 128  # 8 MiB in all
_LAST = 1 << 62


class Unreadable(Exception):
    """There are no such bytes, or more was looked at than an honest disk needs."""


class Window:
    """Bytes of a disk in blocks of 64 KiB, each read once."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        self._read = read
        self._blocks: dict[int, bytes] = {}

    def get(self, offset: int, length: int) -> bytes:
        """Exactly these bytes, or Unreadable."""
        if offset < 0 or length < 0 or offset + length > _LAST:
            raise Unreadable
        first, last = offset // _BLOCK, (offset + length - 1) // _BLOCK
        if last - first >= _MOST_BLOCKS:
            raise Unreadable
        found = b"".join(self._block(number) for number in range(first, last + 1))[offset - first * _BLOCK :][:length]
        if len(found) != length:
            raise Unreadable
        return found

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            if len(self._blocks) >= _MOST_BLOCKS:
                raise Unreadable
            self._blocks[number] = self._read(number * _BLOCK, _BLOCK)[:_BLOCK]
        return self._blocks[number]
