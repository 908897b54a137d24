"""Rows to be listed: a site without machines. What a list must say of them is the tests' business."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete

from bmid.handlers.page import ListQuery
from bmid.handlers.registry import discover
from bmid.model.change import Drop, Entity, Put
from bmid.model.claim import Key
from bmid.model.entity import Disk, DiskState, Firmware, Image, Node, Seed
from bmid.model.operation import Operation, Phase
from bmid.store import operations, schema
from bmid.store.database import Database
from bmid.store.rows import apply
from bmid.store.view import StoreView

__all__ = ["DAY", "ListSite", "disk", "image", "node"]

DAY = datetime(2026, 11, 21, tzinfo=UTC)
TABLES = ("boot", "disk", "node_mac", "node", "image_default", "image", "operation_key", "operation", "project")


class ListSite:
    """Writes rows, and asks for lists as the daemon does."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._queries = discover().queries
        self._number = 0

    def clear(self) -> None:
        """No rows any more."""
        with self.database.write() as tx:
            for name in TABLES:
                tx.execute(delete(schema.METADATA.tables[name]))

    def put(self, *things: Entity) -> None:
        """Rows as they are said."""
        with self.database.write() as tx:
            apply(tx, [Put(thing) for thing in things])

    def drop(self, *things: Entity) -> None:
        """Rows gone."""
        with self.database.write() as tx:
            apply(tx, [Drop(thing) for thing in things])

    def accept(self, second: int = 0, keys: Sequence[Key] = (), **values: Any) -> Operation:
        """An operation, accepted at this second of the day."""
        self._number += 1
        fields = {
            "type": "bmi.node.map.v1", "command": {}, "user": "u", "source": "s", "message": "m", "correlation": "c",
            "phase": Phase.PENDING, "accepted_at": DAY + timedelta(seconds=second), "due_at": DAY,
        }  # fmt: skip
        with self.database.write() as tx:
            one = Operation(id=f"o{self._number}", seq=0, **{**fields, **values})
            return operations.accept(tx, one, keys)

    @contextmanager
    def view(self) -> Iterator[StoreView]:
        """The database as handlers see it."""
        with self.database.read() as tx:
            yield StoreView(tx, 60)

    def ask(self, query: ListQuery) -> dict[str, Any]:
        """One page."""
        with self.view() as view:
            return self._queries[query.type].answer(query, view)

    def names(self, query: ListQuery) -> list[str]:
        """The names in all pages, in order."""
        found: list[str] = []
        while True:
            answer = self.ask(query)
            member = next(iter(answer))
            found += [row[member.removesuffix("s")] for row in answer[member]]
            if answer["next"] is None:
                return found
            query = query.model_copy(update={"after": answer["next"]})


def image(name: str, project: str = "p1", second: int = 0, **values: Any) -> Image:
    """An image; its id says nothing of its name."""
    fields = {"size": 1, "format": "raw", "sha256": "0" * 64, "firmware": ("bios",), "ready": True}
    created = DAY + timedelta(seconds=second)
    return Image(id=_id("i", project, name), project=project, name=name, created_at=created, **{**fields, **values})


def node(name: str, second: int = 0, **values: Any) -> Node:
    """A node; its id says nothing of its name."""
    mac = f"52:54:00:{':'.join(_id('m', name)[at : at + 2] for at in (0, 2, 4))}"
    fields = {"macs": (mac,), "boot_mac": mac, "firmware": Firmware.ANY}
    return Node(id=_id("n", name), name=name, created_at=DAY + timedelta(seconds=second), **{**fields, **values})


def disk(name: str, of: Image, number: int, **values: Any) -> Disk:
    """A mapped disk with a seed, which no list may show."""
    fields = {"project": of.project, "state": DiskState.MAPPED, "seed": Seed(("key",), "secret")}
    made = {"image": of.id, "size": 1, "number": number, "created_at": DAY, **fields, **values}
    return Disk(id=_id("d", made["project"], name), name=name, **made)


def _id(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]
