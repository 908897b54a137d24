"""What a site has written down, and whether the world agrees: operations, events, rows against twins.

Only looks; nothing here changes a site.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from bmid.drivers.boot.memory import MemoryBoot
from bmid.drivers.imaging.memory import MemoryImaging
from bmid.drivers.seed.memory import MemorySeeds
from bmid.drivers.storage.memory import MemoryStorage
from bmid.drivers.target.memory import MemoryTarget
from bmid.handlers.registry import Registry
from bmid.model.entity import DiskState
from bmid.model.operation import Operation
from bmid.model.site import Site
from bmid.steps.audit import compare
from bmid.steps.sighting import look, look_at_shared
from bmid.store import findings, operations, schema
from bmid.store.database import Database
from bmid.store.view import StoreView

__all__ = ["Record", "Rows"]


class Record:
    """A site to be looked at. Who makes one sets its parts."""

    database: Database
    registry: Registry
    storage: MemoryStorage
    target: MemoryTarget
    boot: MemoryBoot
    imaging: MemoryImaging
    seeds: MemorySeeds
    staging: Path
    exports: Path

    def operation(self, message: str) -> Operation:
        """What a message led to."""
        with self.database.read() as tx:
            found = StoreView(tx, 0).operation_of_message(message, None)
        assert found is not None, self.events()[-1]
        return found

    def find(self, operation: str) -> Operation:
        """The operation as it stands."""
        with self.database.read() as tx:
            found = operations.find(tx, operation)
        assert found is not None
        return found

    def next_due(self) -> datetime | None:
        """When the next operation wants a worker; None if there is nothing to wait for."""
        table = schema.operation
        open_ones = (table.c.ended_at.is_(None), table.c.phase != "stuck")
        query = select(table.c.due_at, table.c.claimed_until).where(*open_ones)
        with self.database.read() as tx:
            rows = list(tx.execute(query))
        later = timedelta(milliseconds=1)
        return min((max(row.due_at, (row.claimed_until or row.due_at) + later) for row in rows), default=None)

    def events(self, operation: str | None = None) -> list[dict[str, Any]]:
        """What is in the outbox, as CloudEvents."""
        table = schema.outbox
        query = select(table.c.envelope).order_by(table.c.id)
        if operation is not None:
            query = query.where(table.c.operation == operation)
        with self.database.read() as tx:
            return [row.envelope for row in tx.execute(query)]

    def types(self, operation: str | None = None) -> list[str]:
        """The types of these events."""
        return [one["type"] for one in self.events(operation)]

    def finals(self, operation: str) -> list[dict[str, Any]]:
        """Events that end an operation."""
        ends = self.registry.ends(self.find(operation).type)
        return [one for one in self.events(operation) if one["type"] in ends]

    def final(self, operation: str) -> dict[str, Any]:
        """The one final event."""
        found = self.finals(operation)
        assert len(found) == 1, found
        return found[0]

    def view(self) -> Rows:
        """Rows of now."""
        return Rows(self.database)

    def unexplained(self) -> list[str]:
        """What is in the world and no row explains, what a row promises and isn't there, and what is wrong among the
        rows; and, since nothing is under way, everything that only what is under way may hold."""
        with self.database.read() as tx:
            ends = {kind: self.registry.ends(kind) for kind in self.registry.commands}
            rows = findings.promises(tx, ends, timedelta(days=14))
            held = [row.key for row in tx.execute(select(schema.claim).where(schema.claim.c.holder.is_not(None)))]
            keys = [row.key for row in tx.execute(select(schema.operation_key))]
        seen = look(self, "h1", Site().iqn_prefix, rows)
        look_at_shared(self.storage, seen)
        assert not seen.silent, seen.silent
        found = [f"{one.kind} {one.what}" for one in compare(rows, seen)]
        found += [f"claim on {key}" for key in held if not key.startswith("role:")] + [f"key {key}" for key in keys]
        found += [f"staging {path.name}" for path in self.staging.iterdir()]
        found += [f"half an export {path.name}" for path in self.exports.glob(".*")]
        found += [f"half an export {name}" for name, mark in self.storage.foreign_names().items() if mark]
        found += [f"job {job}" for job in (*self.imaging._jobs, *self.imaging._work)]
        parked = [one for one in self.view().disks() if one.state is DiskState.PARKED]
        return found + [f"parked disk {one.name} is at {one.node} {one.head}" for one in parked if one.node or one.head]


class Rows:
    """Rows, each read in a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            with self._database.read() as tx:
                return getattr(StoreView(tx, 1e9), name)(*arguments)

        return call
