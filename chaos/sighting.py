"""What a node saw of the ways that heads showed it: which disk, at which head, from when to when. Nothing is judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Seen", "Sightings"]

GAP = 5.0  # seconds without a look, after which it is another sighting


@dataclass
class Seen:
    """A head led the node to this disk at both of these times (time.time), and whenever it looked between them."""

    head: str
    disk: str
    since: float
    until: float


class Sightings:
    """Of one node, in its thread or after its end. `answers` says whether a head has an address at which nodes may ask
    it anything: what lies on the others' disks leads nobody anywhere."""

    def __init__(self, answers: Callable[[str], bool]) -> None:
        self.all: list[Seen] = []
        self._answers = answers
        self._last: dict[tuple[str, str], Seen] = {}

    def note(self, head: str, disk: str, at: float) -> None:
        """A look that began at this time."""
        if not self._answers(head):
            return
        last = self._last.get((head, disk))
        if last is None or at - last.until > GAP:
            last = self._last[head, disk] = Seen(head, disk, at, at)
            self.all.append(last)
        last.until = at

    @staticmethod
    def now() -> float:
        """The time that the database has, too."""
        return time.time()
