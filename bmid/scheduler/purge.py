"""Empties the trash: what has expired, and what our operations have undone or abandoned. What has not expired is never
touched, and neither is what may be another site's, in a pool that several share.

A round a minute removes a few entries, what hangs on others before those, and ends where the storage has become slow:
it is asked for a sign of life before each removal, and what takes many times as long as half of the last ones took is
slow. What lasts becomes the usual. Where the storage is nearly full, what has expired goes without either limit. An
entry that can't be removed holds up no other.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta
from statistics import median

import structlog

from bmid.drivers.base import Storage, TrashEntry
from bmid.errors import BmiError, TransientError
from bmid.store import claims, trash
from bmid.store.database import Database

__all__ = ["Pace", "Purge"]

log = structlog.get_logger(__name__)
AT_ONCE = 20  # entries of a usual round: four times what a site removes that gives 300 nodes back in an hour
URGENT_AT_ONCE = 500
LONGEST = 100.0  # seconds of a round
LEASE = 180.0  # seconds; a round and its pause fit in
GRACE = timedelta(minutes=1)  # whoever restores looks at the expiry first, and writes its row soon
LOOKS = 10  # rounds, of which one looks for what no row explains, at how full the storage is, and tries again
FAILURES = 3  # in a row, after which it is not for the entries that they can't be removed


class Pace:
    """Whether the storage answers as quickly as it mostly does. `timer`: seconds that only rise."""

    LEAST = 0.1  # seconds that are never slow
    MOST = 3.0  # seconds that always are
    TIMES = 5.0  # the usual
    KEPT = 200  # signs of life

    def __init__(self, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._times: deque[float] = deque(maxlen=self.KEPT)

    def calm(self, look: Callable[[], object]) -> bool:
        """Look once; whether that was as quick as usual."""
        began = self._timer()
        look()
        took = self._timer() - began
        usual = median(self._times) if self._times else took
        self._times.append(took)
        return took <= min(max(self.LEAST, self.TIMES * usual), self.MOST)


class Purge:
    """One head does it at a time: librbd (16.2) may abort a process that removes an image which another one removes,
    too. `urgent`: percent of free space below which it is in a hurry."""

    def __init__(
        self,
        database: Database,
        holder: str,
        storage: Storage,
        urgent: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._holder = holder
        self._storage = storage
        self._urgent = urgent
        self._timer = timer
        self._pace = Pace(timer)
        self._round = 0
        self._full = False
        self._bad: set[str] = set()

    def run_once(self) -> int:
        """One round; how many entries were removed."""
        with self._database.write() as tx:
            if not claims.take_role(tx, "purge", self._holder, LEASE):
                return 0
            trash.hush(tx, tx.now - GRACE)
        thorough, self._round = self._round % LOOKS == 0, self._round + 1
        if thorough or self._full:
            self._full = self._is_full()
        if thorough:
            self._bad.clear()
        return _Round(self._database, self._storage, self._timer, self._pace, self._full, self._bad).run(thorough)

    def _is_full(self) -> bool:
        usage = self._storage.usage()
        if usage is None or not usage.total or usage.free * 100 >= usage.total * self._urgent:
            return False
        with self._database.read() as tx:
            count, first = trash.kept(tx)
        log.warning(
            "storage.nearly_full",
            free=usage.free,
            total=usage.total,
            in_trash=count,
            next_expiry=first.isoformat() if first else None,
            todo="Give it more space, or remove what nobody needs; what is in the trash goes when it expires.",
        )
        return True


class _Round:
    """What is removed in one go. `bad` are ids of what can't be: they are noted there, and not tried."""

    def __init__(
        self,
        database: Database,
        storage: Storage,
        timer: Callable[[], float],
        pace: Pace,
        urgent: bool,
        bad: set[str],
    ) -> None:
        self._database = database
        self._storage = storage
        self._timer = timer
        self._pace = pace
        self._urgent = urgent
        self._room = URGENT_AT_ONCE if urgent else AT_ONCE
        self._end = timer() + LONGEST
        self._bad = bad
        self._slow = False
        self._failures = 0
        self.removed = 0

    def run(self, thorough: bool) -> int:
        """What has expired; if it is `thorough`, what no row explains before it."""
        tried: set[str] = set(self._bad)
        due = self._due(tried)
        if not (due or thorough):
            return 0
        entries = self._storage.trash()
        if thorough:
            for entry in self._unexplained(entries):
                if self._goes_on():
                    self._remove(entry)
        by_id = _by_id(entries)
        # When its children are gone, what they were made of is due as well.
        while due and not self._over:
            for identity in due:
                if self._goes_on():
                    tried.add(identity)
                    self._forget(identity, by_id.get(identity, ()))
            due = self._due(tried)
        if self.removed or self._slow:
            log.info("trash.purged", removed=self.removed, urgent=self._urgent, stopped_as_slow=self._slow)
        return self.removed

    def _due(self, tried: Collection[str]) -> Sequence[str]:
        with self._database.read() as tx:
            return trash.due(tx, tx.now - GRACE, self._room, tried)

    def _unexplained(self, entries: Sequence[TrashEntry]) -> Sequence[TrashEntry]:
        """What our operations abandoned or undid; all things are called like those that made them. Listed first and
        held against rows then: what is removed meanwhile has one."""
        with self._database.read() as tx:
            known, ours = trash.explained(tx), trash.begun(tx)
        if not known:
            # A new database beside a storage in use, or a site that has nothing yet: not for us to tell.
            if entries:
                log.warning("trash.unknown", entries=len(entries), todo="Is this the database that belongs to it?")
            return []
        return [entry for entry in entries if (entry.spoiled if entry.id in known else entry.id in ours)]

    @property
    def _over(self) -> bool:
        return self._slow or self._failures >= FAILURES or self.removed >= self._room or self._timer() >= self._end

    def _goes_on(self) -> bool:
        """Whether there is time and room for one more, and the storage is as quick as usual."""
        if self._over:
            return False
        self._slow = not self._urgent and not self._pace.calm(self._storage.check)
        return not self._slow

    def _remove(self, entry: TrashEntry) -> bool:
        try:
            gone = self._storage.purge(entry)
        except BmiError as error:
            self._bad.add(entry.id)
            self._failures += isinstance(error, TransientError)
            log.warning("trash.not_purged", entry=entry.key, kind=entry.kind, id=entry.id, detail=str(error))
            return False
        self._failures = 0
        self.removed += gone
        return gone

    def _forget(self, identity: str, entries: Sequence[TrashEntry]) -> None:
        """The bytes, then the row."""
        left = [entry for entry in entries if not self._remove(entry)]
        if not left:
            with self._database.write() as tx:
                trash.forget(tx, identity)


def _by_id(entries: Sequence[TrashEntry]) -> Mapping[str, Sequence[TrashEntry]]:
    found: dict[str, list[TrashEntry]] = {}
    for entry in entries:
        found.setdefault(entry.id, []).append(entry)
    return found
