"""The memory twin of a seed driver: volumes in a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bmid.drivers.base import Backing, Seeds

__all__ = ["MemorySeeds"]


class MemorySeeds(Seeds):
    """`volumes` is what stands. `before` is called with each call's name and arguments, and may raise."""

    def __init__(self, before: Callable[[str, tuple[Any, ...]], None] | None = None) -> None:
        self.before = before
        self.volumes: dict[str, dict[str, str]] = {}

    def check(self) -> str:
        self._called("check")
        return "memory"

    def write(self, disk: str, files: Mapping[str, str]) -> None:
        self._called("write", disk, files)
        self.volumes[disk] = dict(files)

    def remove(self, disk: str) -> None:
        self._called("remove", disk)
        self.volumes.pop(disk, None)

    def backing(self, disk: str) -> Backing:
        return Backing("memory", f"seed/{disk}")

    def inventory(self) -> tuple[str, ...]:
        self._called("inventory")
        return tuple(sorted(self.volumes))

    def _called(self, name: str, *arguments: object) -> None:
        if self.before is not None:
            self.before(name, arguments)
