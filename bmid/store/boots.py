"""Boots that are being watched."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from bmid.model.entity import Boot, BootStage, DiskState
from bmid.store.database import Tx
from bmid.store.heads import HOMED, HomedDisk
from bmid.store.rows import entity
from bmid.store.schema import boot, disk

__all__ = ["find", "under_way"]

OPEN = (BootStage.WAITING, BootStage.FIRMWARE, BootStage.INITRAMFS)


def find(tx: Tx, identifier: str) -> Boot | None:
    """The watched boot of a disk."""
    row = tx.execute(select(boot).where(boot.c.disk == identifier)).first()
    return entity(Boot, row) if row else None


def under_way(tx: Tx, head: str) -> Sequence[tuple[Boot, HomedDisk]]:
    """Boots that have not ended, of disks whose home is this head."""
    where = boot.c.stage.in_(OPEN)
    found = {row.disk: entity(Boot, row) for row in tx.execute(select(boot).where(where))}
    if not found:
        return []
    mine = HOMED.where(disk.c.id.in_(found), disk.c.head == head, disk.c.state == DiskState.MAPPED)
    return [(found[row.id], HomedDisk._make(row)) for row in tx.execute(mine)]
