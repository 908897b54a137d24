"""The memory twin of a boot driver: pointers in a dictionary."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from bmid.drivers.base import Boot, BootEntry, Pointer
from bmid.drivers.boot.script import boot_script, checked_address, foreign_lines

__all__ = ["MemoryBoot"]


class MemoryBoot(Boot):
    """Thread-safe. `before` is called with each call's name and arguments, and may raise.

    `entries` are the pointers by address; `answering` says which addresses answer ARP (absent: not known).
    """

    def __init__(self, dhcp: str = "own", before: Callable[[str, tuple[Any, ...]], None] | None = None) -> None:
        self.before = before
        self.entries: dict[str, BootEntry] = {}
        self.answering: dict[str, bool] = {}
        self._own = dhcp == "own"
        self._lock = threading.Lock()

    def check(self) -> str:
        self._called("check")
        return "memory"

    def point(self, entry: BootEntry) -> None:
        self._called("point", entry)
        boot_script(entry, 1)  # refuses the same values
        with self._lock:
            self.entries[entry.address] = entry

    def clear(self, address: str, disk: str) -> None:
        self._called("clear", address, disk)
        checked_address(address)
        with self._lock:
            entry = self.entries.get(address)
            if entry is not None and entry.disk == disk:
                del self.entries[address]

    def pointer(self, address: str) -> Pointer | None:
        self._called("pointer", address)
        checked_address(address)
        with self._lock:
            entry = self.entries.get(address)
        return _pointer(entry) if entry else None

    def pointers(self) -> tuple[Pointer, ...]:
        self._called("pointers")
        with self._lock:
            return tuple(_pointer(entry) for _, entry in sorted(self.entries.items()))

    def foreign_lines(self, entry: BootEntry) -> tuple[str, ...]:
        self._called("foreign_lines", entry)
        return () if self._own else foreign_lines(entry)

    def answers(self, address: str) -> bool | None:
        self._called("answers", address)
        return self.answering.get(checked_address(address))

    def _called(self, name: str, *arguments: object) -> None:
        if self.before is not None:
            self.before(name, arguments)


def _pointer(entry: BootEntry) -> Pointer:
    return Pointer(entry.address, entry.disk, entry.generation, entry.iqn)
