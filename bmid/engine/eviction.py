"""Eviction: what this head still has for disks that are another head's by now goes, at once.

A head that was frozen wakes with targets that were fenced meanwhile; what a fenced one answers to a read may hold
bytes of another. Only what the rows place elsewhere is touched: whatever no row knows is somebody else's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from bmid.drivers.base import ExportStatus
from bmid.engine.identity import Identity, Ports
from bmid.errors import BmiError, TransientError
from bmid.store import heads
from bmid.store.database import Database

__all__ = ["Eviction"]

log = structlog.get_logger(__name__)
EVERY = 30  # turns after which it looks though no disk has left


@dataclass(frozen=True)
class _Stray:
    """Something here that belongs to a disk, and how it is removed."""

    disk: str
    what: str
    remove: Callable[[], None]


class Eviction:
    """Looks when a disk has left, at the start, and now and then."""

    def __init__(self, database: Database, ports: Ports, iqn_prefix: str, identity: Identity) -> None:
        self._database = database
        self._ports = ports
        self._prefix = f"{iqn_prefix}:"
        self._identity = identity
        self._homed: set[str] | None = None
        self._turns = 0
        self._whole = True

    def run_once(self) -> int:
        """How many things were removed."""
        with self._database.read() as tx:
            homed = {disk.id for disk in heads.homed(tx, self._identity.head)}
        # Until all was looked at, it wasn't: whatever ends this turn has the next one look again.
        before, self._homed, self._turns = self._homed, None, self._turns + 1
        removed, self._whole = 0, True
        if before is None or not before <= homed or not self._turns % EVERY:
            removed = sum(self._evicted(stray) for stray in self._strays() if stray.disk not in homed)
        if self._whole:
            self._homed = homed
        if removed:
            log.warning("head.cleared", removed=removed)
        return removed

    def _evicted(self, stray: _Stray) -> bool:
        try:
            return self._evict(stray)
        except BmiError as error:
            self._whole = False
            log.warning("eviction.failed", disk=stray.disk, what=stray.what, detail=str(error))
            return False

    def _strays(self) -> Iterator[_Stray]:
        """Targets first: each failed read of a fenced one is a leak."""
        boot, target, seeds = self._ports.boot, self._ports.target, self._ports.seeds
        for shard in target.shards:
            for export in self._exports(shard):
                disk = export.iqn.removeprefix(self._prefix)
                if disk != export.iqn:
                    yield _Stray(disk, "target", partial(target.remove, shard, export.number, disk))
        for pointer in boot.pointers():
            yield _Stray(pointer.disk, "pointer", partial(boot.clear, pointer.address, pointer.disk))
        for disk in seeds.inventory():
            yield _Stray(disk, "seed", partial(seeds.remove, disk))

    def _exports(self, shard: str) -> Sequence[ExportStatus]:
        """Those of a tgtd that is down are gone with it; of one that is frozen, they are looked at when it answers."""
        try:
            return self._ports.target.exports(shard)
        except TransientError:
            self._whole = False
            return ()

    def _evict(self, stray: _Stray) -> bool:
        """Remove it while its disk's row is held: a disk that comes back to this head comes after that."""
        with self._database.write() as tx:
            if not heads.elsewhere(tx, stray.disk, self._identity.head):
                return False
            stray.remove()
        return True
