"""Emptying a storage's trash, whatever may still be restored."""

from __future__ import annotations

from bmid.drivers.base import Storage

__all__ = ["emptied"]


def emptied(storage: Storage) -> int:
    """All that can go, goes; how much that was. A parent goes after its children."""
    removed = 0
    while gone := sum(storage.purge(entry) for entry in storage.trash()):
        removed += gone
    return removed
