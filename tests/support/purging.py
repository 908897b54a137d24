"""A trash that fills, and what empties it, on memory twins: how long a call of the storage takes is the test's say."""

from __future__ import annotations

from typing import Any

from bmid.drivers.base import TrashEntry
from bmid.scheduler.purge import Purge
from tests.support.bench import Bench

__all__ = ["DAY", "Watch", "discard", "purge", "rows", "stored"]

DAY = 86400.0


class Watch:
    """Seconds that pass when a call of the storage takes them. `takes`: how long a sign of life does."""

    def __init__(self, bench: Bench) -> None:
        self.seconds, self.takes = 0.0, 0.01
        self.calls: list[tuple[str, tuple[object, ...]]] = []
        bench.storage._before = self.before

    def before(self, name: str, arguments: tuple[object, ...]) -> None:
        self.calls.append((name, arguments))
        self.seconds += self.takes if name == "check" else 0.001

    def purged(self) -> list[str]:
        found = [one[0] for name, one in self.calls if name == "purge"]
        return [one.id for one in found if isinstance(one, TrashEntry)]


def purge(bench: Bench, watch: Watch, **more: Any) -> Purge:
    options = {"storage": bench.storage, "urgent": 5.0, **more}
    return Purge(bench.database, bench.identity.holder, timer=lambda: watch.seconds, **options)


def discard(bench: Bench, *names: str) -> list[str]:
    """Disks that are removed one after the other; their ids."""
    found = []
    for name in names:
        bench.do("disk.create", project="p1", disk=name, image="debian")
        found.append(bench.view().disk_named("p1", name).id)
        bench.do("disk.remove", project="p1", disk=name)
        bench.clock.advance(1)
    return found


def rows(bench: Bench) -> list[str]:
    return [one.id for one in bench.view().trashed("p1")][::-1]


def stored(bench: Bench) -> list[str]:
    return [one.id for one in bench.storage.trash()]
