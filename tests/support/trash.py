"""Emptying a storage's trash, whatever may still be restored."""

from __future__ import annotations

from sqlalchemy import update

from bmid.drivers.base import Storage
from bmid.store import claims, schema
from bmid.store.database import Database

__all__ = ["emptied", "emptied_alone"]

TESTS = "tests"
DAY = 86400.0  # seconds


def emptied(storage: Storage) -> int:
    """All that can go, goes; how much that was. A parent goes after its children."""
    removed = 0
    while gone := sum(storage.purge(entry) for entry in storage.trash()):
        removed += gone
    return removed


def emptied_alone(database: Database, storage: Storage) -> int:
    """The same of a site whose daemons run. From now on none of them empties it: where two processes remove one image
    at the same time, librbd (16.2) aborts one of them, or each finds it open at the other."""
    with database.write() as tx:
        theirs = (schema.claim.c.key == "role:purge") & (schema.claim.c.holder != TESTS)
        tx.execute(update(schema.claim).where(theirs).values(holder=None, epoch=schema.claim.c.epoch + 1))
        assert claims.take_role(tx, "purge", TESTS, DAY)
    return emptied(storage)
