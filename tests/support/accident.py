"""What strikes a site in the middle of its work: trip wires around drivers and commits, and death.

When a wire is tripped and what then happens is the test's business. No site lives here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bmid.store.clock import Clock
from bmid.store.database import Database, Tx
from tests.support.database import quick

__all__ = ["Killed", "Trip", "Wired", "WiredDatabase"]


class Killed(BaseException):
    """kill -9, as far as one thread can die of it: nothing on the way out may catch it."""


@dataclass
class Trip:
    """Strikes once, at the n-th moment of a run; counts them all. `strike` raises, or comes back later: then `woken` is
    the number of moments until then."""

    at: int = -1
    strike: Callable[[], None] = lambda: None
    armed: bool = False
    seen: list[str] = field(default_factory=list)
    woken: int = 0

    def __call__(self, what: str) -> None:
        """A moment has come."""
        if not self.armed:
            return
        self.seen.append(what)
        if len(self.seen) - 1 == self.at:
            self.armed = False
            self.strike()


class Wired:
    """A port whose calls trip the wire before and after they have had their effect."""

    def __init__(self, name: str, port: Any, trip: Trip) -> None:
        self._name = name
        self.port = port
        self._trip = trip

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.port, name)
        if not callable(member) or name == "client":
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            self._trip(f"before {self._name}.{name}")
            result = member(*arguments, **options)
            self._trip(f"after {self._name}.{name}")
            return result

        return call


class WiredDatabase(Database):
    """A database whose commits trip the wire as well."""

    def __init__(self, url: str, clock: Clock, trip: Trip) -> None:
        super().__init__(url, clock=clock)
        self._trip = trip
        quick(self)

    @contextmanager
    def write(self) -> Iterator[Tx]:
        """As ever."""
        with super().write() as tx:
            yield tx
            self._trip("before commit")
        self._trip("after commit")
