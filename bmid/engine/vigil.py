"""The vigil: for how long nothing was heard of other heads, by this head's own clock.

The database says when a head was heard of last. Its clock may have jumped since, or all heads stood still together, as
when their machines were paused: then all of them seem dead, until each has had its next heartbeat.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from bmid.store.heads import HeadRow

__all__ = ["Vigil"]


class Vigil:
    """`enough` seconds of silence count, if this head looked on meanwhile, without a gap as long. `clock` goes by
    itself: seconds of any beginning."""

    def __init__(self, enough: float, clock: Callable[[], float]) -> None:
        self._enough = enough
        self._clock = clock
        self._looked = clock()
        self._since: dict[str, tuple[datetime, float]] = {}

    def look(self, heads: Sequence[HeadRow]) -> Collection[str]:
        """The heads that were silent for long enough."""
        now = self._clock()
        before = self._since if now - self._looked < self._enough else {}
        self._looked = now
        self._since = {
            one.name: before[one.name]
            if one.name in before and before[one.name][0] == one.seen_at
            else (one.seen_at, now)
            for one in heads
        }
        return {name for name, (_, since) in self._since.items() if now - since >= self._enough}
