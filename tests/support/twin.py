"""The world on virtual time: a clock in the test's hand, a pool without threads, targets that open their disks.

Twins of drivers that only tests need, and how the state of any twin is kept. The drivers' own twins are in bmid.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from bmid.drivers.base import Export
from bmid.drivers.storage.memory import MemoryStorage
from bmid.drivers.target.memory import MemoryTarget
from bmid.errors import TransientError
from bmid.store.clock import Clock

__all__ = ["InlineExecutor", "LinkedTarget", "StorageClient", "VirtualClock", "remembered"]

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
WIRING = (
    "_lock",
    "before",
    "_before",
    "storage",
    "_write",
    "_read",
    "_run",
    "_limits",
    "_work",
)  # of a twin: what isn't its state


class VirtualClock(Clock):
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.moment = START

    def now(self, connection: Connection) -> datetime:
        """The same for all."""
        return self.moment

    def advance(self, seconds: float) -> None:
        """Later."""
        self.moment += timedelta(seconds=seconds)


class InlineExecutor(Executor):
    """Side by side, one after the other, so that a test knows what comes when."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Done when it returns."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # whoever is killed in one step begins no other
            future.set_exception(error)
        return future


class LinkedTarget(MemoryTarget):
    """Targets that open the disks in the storage, as a tgtd does: one client of the storage for each target."""

    def __init__(self, storage: MemoryStorage, address: str = "10.0.0.1") -> None:
        super().__init__(("0", "1"))
        self.storage = storage
        self.clients: dict[int, tuple[str, str]] = {}
        self._address = address
        self._numbers = itertools.count(1)

    def create(self, shard: str, export: Export) -> None:
        """Made anew: another client."""
        self._let_go(export.number)
        super().create(shard, export)
        disk, client = export.backing.path.removeprefix("memory:"), f"{self._address}:0/{next(self._numbers)}"
        if self.storage.capabilities.owners:
            self.storage.open(disk, client)
        self.clients[export.number] = (disk, client)

    def remove(self, shard: str, number: int, user: str) -> None:
        """And closed."""
        super().remove(shard, number, user)
        self._let_go(number)

    def _let_go(self, number: int) -> None:
        if number in self.clients:
            self.storage.release(*self.clients.pop(number))

    def restart(self, shard: str) -> None:
        """Its clients die with it, but the storage has not noticed yet."""
        for number in self._standing[shard]:
            self.clients.pop(number, None)
        super().restart(shard)


class StorageClient:
    """The storage as one process reaches it. Cut off, its next call is refused, and after it it is another client."""

    def __init__(self, storage: MemoryStorage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._numbers = itertools.count(1)
        self._address = ""
        self._renew()

    def client(self) -> str | None:
        """By what address."""
        return self._address if self._storage.capabilities.owners else None

    def _renew(self) -> None:
        self._address = f"{self._name}:0/{next(self._numbers)}"

    def __getattr__(self, name: str) -> Any:
        member = getattr(self._storage, name)
        if not callable(member):
            return member

        def call(*arguments: Any, **options: Any) -> Any:
            if self._storage.refuses(self._address):
                self._renew()
                raise TransientError("storage-fenced", f"{self._name} was cut off")
            return member(*arguments, **options)

        return call


def remembered(twin: Any) -> dict[str, Any]:
    """What a twin remembers, to be put back later."""
    kept = {key: copy.deepcopy(value) for key, value in vars(twin).items() if key not in WIRING}
    return kept | ({"_work": {}} if "_work" in vars(twin) else {})
