"""What keepalived is on a site: each head asks whether it is to have an address, and puts it up or takes it down.

Here an address is up where connections to it lead; nothing on the machine's own network is changed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from bmid.care.roster import Roster
from bmid.errors import BmiError

__all__ = ["Carrier"]

PAUSE = 1.0  # seconds between two questions, as in docs/operations.md


class Carrier:
    """`rosters` answer for each head, `native` says which address each brought in; `moved` is told of a change."""

    def __init__(
        self, rosters: Mapping[str, Roster], native: Mapping[str, str], moved: Callable[[str, str], None]
    ) -> None:
        self.moves = 0
        self._up: dict[str, str] = {address: head for head, address in native.items()}
        self._addresses = tuple(native.values())
        self._moved = moved
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(head, roster), name=f"carrier {head}", daemon=True)
            for head, roster in rosters.items()
        ]

    def start(self) -> None:
        """Begin; until the first answer each address is where it came in."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End."""
        self._ended.set()
        for thread in self._threads:
            if thread.ident:
                thread.join(30)

    def at(self, address: str) -> str | None:
        """The head where the address is up; None: it is nowhere now."""
        return self._up.get(address)

    def _ask(self, head: str, roster: Roster) -> None:
        while not self._ended.wait(PAUSE):
            for address in self._addresses:
                try:
                    wanted = roster.carries(address)
                except BmiError:
                    continue  # who can't know keeps what it has
                here = self._up.get(address) == head
                if wanted and not here:
                    self._up[address] = head
                    self.moves += 1
                    self._moved(address, head)
                elif not wanted and self._up.get(address) == head:  # the next one may have it by now
                    self._up.pop(address)
                    self._moved(address, "nobody")
