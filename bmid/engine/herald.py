"""The herald: tells other heads that rows were written here, and hears it from them, while there are any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bmid.engine.keeper import Keeper

__all__ = ["Herald"]


class Wire(Protocol):
    """The way to other heads."""

    def tell(self) -> None: ...
    def listen(self, timeout: float, /) -> bool: ...
    def close(self) -> None: ...


class Herald:
    """`written` counts how often rows were written here; `ring` is called when it was done elsewhere."""

    def __init__(self, wire: Wire, keeper: Keeper, written: Callable[[], int], ring: Callable[[], None]) -> None:
        self._wire = wire
        self._keeper = keeper
        self._written = written
        self._ring = ring
        self._told = 0

    def tell(self) -> float:
        """Tell of what was written since the last turn; seconds until the next look, unless something is written."""
        written = self._written()
        if written == self._told or not self._keeper.company:
            return 10.0
        self._wire.tell()
        self._told = written
        return 0.0

    def hear(self) -> float:
        """Listen for a second; seconds until the next turn."""
        if not self._keeper.company:
            return 1.0
        if self._wire.listen(1.0):
            self._ring()
        return 0.0

    def close(self) -> None:
        """Hang up."""
        self._wire.close()
