"""Watches boots: looks at the sessions of nodes that were mapped, and says when they have booted, or have not."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from bmid.drivers.base import Target
from bmid.engine.acceptance import Acceptance
from bmid.engine.evidence import Watch
from bmid.engine.identity import Identity
from bmid.errors import TransientError
from bmid.handlers.node_booted import NodeBooted, NodeBootFailed
from bmid.handlers.retry_boot import RetryBoot
from bmid.model.change import Put
from bmid.model.entity import Boot, BootStage
from bmid.model.site import Site
from bmid.store import boots, operations, outbox
from bmid.store.database import Database, Tx
from bmid.store.heads import HomedDisk
from bmid.store.outbox import Cause
from bmid.store.rows import apply

__all__ = ["BootWatch"]

log = structlog.get_logger(__name__)
IDLE = timedelta(seconds=3)
TODO = {
    BootStage.WAITING: "It never logged in: look at its power, boot order, cable and DHCP.",
    BootStage.FIRMWARE: "The firmware logged in but no system did: does the image boot in this firmware mode, and does "
    "its initramfs log in over iSCSI?",
    BootStage.INITRAMFS: "The initramfs logged in but the system did not come up: look at the node's console.",
}


class BootWatch:
    """One look at all boots that are under way on this head, for each turn."""

    def __init__(
        self, database: Database, target: Target, acceptance: Acceptance, site: Site, identity: Identity
    ) -> None:
        self._database = database
        self._target = target
        self._acceptance = acceptance
        self._site = site
        self._identity = identity
        self._watches: dict[tuple[str, int, int], Watch] = {}
        self._idle_due: datetime | None = None

    def run_once(self) -> bool:
        """Whether a boot with a deadline is being watched. The others, whose power is not ours, are looked at now and
        then: they may stay off for days."""
        with self._database.read() as tx:
            watched = boots.under_way(tx, self._identity.head)
            now = tx.now
        if self._idle_due is None or now >= self._idle_due or self._idle_due - now > IDLE:
            self._idle_due = now + IDLE
        else:
            watched = [(boot, disk) for boot, disk in watched if boot.deadline or boot.stage is not BootStage.WAITING]
        current = {(boot.disk, boot.attempt, boot.base) for boot, _ in watched}
        self._watches = {key: watch for key, watch in self._watches.items() if key in current}
        for boot, disk in watched:
            try:
                self._look(boot, disk, now)
            except TransientError as error:
                # What it has seen may not be written down: the counters will tell it again.
                self._watches.pop((boot.disk, boot.attempt, boot.base), None)
                log.debug("boot.unseen", node=boot.node, detail=str(error))
        return any(boot.deadline for boot, _ in watched)

    def _look(self, boot: Boot, disk: HomedDisk, now: datetime) -> None:
        key = (boot.disk, boot.attempt, boot.base)
        watch = self._watches.setdefault(key, Watch(boot.base, boot.stage))
        status = self._target.status(disk.shard or "", disk.number)
        sightings = watch.look(status.sessions if status else (), disk.address or "", now.timestamp())
        late = boot.deadline is not None and now >= boot.deadline and watch.stage is not BootStage.BOOTED
        if not sightings and not late:
            return
        evidence = dict(boot.evidence)
        for sighting in sightings:
            evidence.setdefault(sighting.stage.value, f"{now.isoformat()} {sighting.why}")
        evidence["bytes_read"] = str(watch.bytes_read)
        with self._database.write() as tx:
            fresh = boots.find(tx, boot.disk)
            if fresh is None or (fresh.attempt, fresh.stage) != (boot.attempt, boot.stage):
                return
            seen = replace(fresh, stage=watch.stage, evidence=evidence)
            if watch.stage is BootStage.BOOTED:
                self._booted(tx, seen, disk)
            elif late:
                seen = self._late(tx, seen, disk)
            if seen != fresh:  # a late one is looked at again and again while it waits for its retry
                apply(tx, (Put(seen),))

    def _booted(self, tx: Tx, boot: Boot, disk: HomedDisk) -> None:
        seconds = (tx.now - boot.started_at).total_seconds()
        event = NodeBooted(**self._common(boot, disk), seconds=round(seconds, 2))
        outbox.emit(tx, event, self._cause(boot))
        log.info("node.booted", node=boot.node, seconds=round(seconds, 1), attempt=boot.attempt)

    def _late(self, tx: Tx, boot: Boot, disk: HomedDisk) -> Boot:
        """Once more, or the end. A retry that is on its way sets a new deadline by itself."""
        if boot.node in operations.pending(tx, RetryBoot.type, "node"):
            return boot
        if boot.attempt < self._site.boot_attempts:
            self._acceptance.submit(tx, RetryBoot(node=boot.node, disk=boot.disk))
            log.warning("node.boot_late", node=boot.node, stage=boot.stage.value, attempt=boot.attempt)
            return boot
        event = NodeBootFailed(**self._common(boot, disk), stage=boot.stage.value, todo=TODO[boot.stage])
        outbox.emit(tx, event, self._cause(boot))
        log.warning("node.boot_failed", node=boot.node, stage=boot.stage.value, attempt=boot.attempt)
        return replace(boot, stage=BootStage.FAILED, evidence={**boot.evidence, "last": boot.stage.value})

    def _common(self, boot: Boot, disk: HomedDisk) -> dict[str, object]:
        return {
            "operation": boot.operation,
            "project": boot.project,
            "node": boot.node,
            "disk": disk.name,
            "attempt": boot.attempt,
            "started_at": boot.started_at,
            "evidence": boot.evidence,
        }

    def _cause(self, boot: Boot) -> Cause:
        return Cause(self._identity.source, boot.operation, boot.correlation, boot.operation)
