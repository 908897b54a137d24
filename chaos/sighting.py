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
    """Of one node, in its thread or after its end. `leads` says whether the portal that a head's way names is up at
    that head: what lies on the disks of a head that gave the address away leads to what the one has that took it, which
    has a way of its own, or none."""

    def __init__(self, leads: Callable[[str, str], bool]) -> None:
        self.all: list[Seen] = []
        self._leads = leads
        self._last: dict[tuple[str, str], Seen] = {}

    def note(self, head: str, disk: str, portal: str, at: float) -> None:
        """A look that began at this time."""
        if not self._leads(head, portal):
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
