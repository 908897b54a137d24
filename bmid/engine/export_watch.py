"""Watches the targets of this head: what a restarted tgtd has forgotten is put back."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from bmid.drivers.base import Target
from bmid.engine.acceptance import Acceptance
from bmid.engine.identity import Identity
from bmid.errors import TransientError
from bmid.handlers.restore_export import RestoreExport
from bmid.store import heads, operations
from bmid.store.database import Database
from bmid.store.heads import HomedDisk

__all__ = ["ExportWatch"]

log = structlog.get_logger(__name__)
FIRST_PAUSE = timedelta(seconds=5)
LAST_PAUSE = timedelta(minutes=10)


class ExportWatch:
    """Compares targets with rows, shard by shard. A shard that doesn't answer is looked at again next time."""

    def __init__(self, database: Database, target: Target, acceptance: Acceptance, identity: Identity) -> None:
        self._database = database
        self._target = target
        self._acceptance = acceptance
        self._identity = identity
        self._down: set[str] = set()
        self._tried: dict[str, tuple[int, datetime]] = {}

    def run_once(self) -> int:
        """How many targets are to be put back."""
        with self._database.read() as tx:
            disks = heads.homed(tx, self._identity.head, mapped=True)
        missing: list[HomedDisk] = []
        self._tried = {disk.id: self._tried[disk.id] for disk in disks if disk.id in self._tried}
        for shard in self._target.shards:
            wanted = [disk for disk in disks if disk.shard == shard]
            if wanted:
                missing += self._missing(shard, wanted)
        if missing:
            self._submit(missing)
        return len(missing)

    def _missing(self, shard: str, wanted: list[HomedDisk]) -> list[HomedDisk]:
        try:
            there = {export.number for export in self._target.exports(shard) if export.open}
        except TransientError as error:
            if shard not in self._down:
                log.warning("shard.down", shard=shard, detail=str(error), disks=len(wanted))
            self._down.add(shard)
            return []
        self._down.discard(shard)
        for disk in wanted:
            if disk.number in there:
                self._tried.pop(disk.id, None)
        return [disk for disk in wanted if disk.number not in there]

    def _submit(self, missing: list[HomedDisk]) -> None:
        with self._database.write() as tx:
            busy = operations.begun(tx, [f"node:{disk.node}" for disk in missing])
            asked = operations.pending(tx, RestoreExport.type, "disk")
            homed = {disk.id for disk in heads.homed(tx, self._identity.head, mapped=True)} - asked
            lost = [disk for disk in missing if disk.id in homed and f"node:{disk.node}" not in busy]
            lost = [disk for disk in lost if self._due(disk.id, tx.now)]
            for disk in lost:
                self._acceptance.submit(tx, RestoreExport(node=disk.node or "", disk=disk.id))
        if lost:
            log.warning("exports.lost", disks=len(lost))

    def _due(self, disk: str, now: datetime) -> bool:
        """Whether to try it now: a disk that can't be exported again is tried ever more rarely."""
        tries, due = self._tried.get(disk, (0, now))
        if now < due <= now + LAST_PAUSE:  # beyond that lies only what a clock that went back has left behind
            return False
        self._tried[disk] = (tries + 1, now + min(FIRST_PAUSE * 2**tries, LAST_PAUSE))
        return True
