"""Entities as rows, and rows as entities. Nothing is decided here."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar, cast

from sqlalchemy import Table, delete, insert, update
from sqlalchemy.dialects import postgresql, sqlite

from bmid.model.aside import Aside
from bmid.model.change import Change, Entity, Put, SetAside
from bmid.model.entity import (
    Boot,
    BootStage,
    Disk,
    DiskState,
    Firmware,
    Image,
    ImageDefault,
    Network,
    Node,
    Portal,
    PowerAddress,
    Project,
    Seed,
)
from bmid.model.operation import Operation, Phase
from bmid.model.trash import Trashed
from bmid.store import schema
from bmid.store.database import Tx

__all__ = ["TABLES", "apply", "columns", "entity", "per_dialect", "set_aside", "upsert"]

# Only SetAside and the count of failures write these: they don't wait for who has the row in hand.
APART = frozenset({"aside", "failures"})
E = TypeVar("E")
TABLES: Mapping[type, Table] = {
    Project: schema.project,
    Image: schema.image,
    ImageDefault: schema.image_default,
    Node: schema.node,
    Disk: schema.disk,
    Boot: schema.boot,
    Network: schema.network,
    Trashed: schema.trash,
    Portal: schema.portal,
    Operation: schema.operation,
}
KEYS: Mapping[type, str] = {Boot: "disk", Portal: "portal"}  # of those that have no id
READERS: Mapping[tuple[type, str], Callable[[Any], Any]] = {
    (Image, "firmware"): tuple,
    (Image, "aside"): Aside.read,
    (Node, "aside"): Aside.read,
    (Node, "macs"): tuple,
    (Node, "firmware"): Firmware,
    (Node, "power"): lambda value: PowerAddress(**value),
    (Disk, "state"): DiskState,
    (Disk, "seed"): lambda value: Seed(**{**value, "ssh_keys": tuple(value["ssh_keys"])}),
    (Boot, "stage"): BootStage,
    (Operation, "phase"): Phase,
    (Operation, "clients"): tuple,
}


def entity(kind: type[E], row: Any) -> E:
    """The row as a value of its kind."""
    values = row._mapping
    fields = {}
    for name, reader in _readers(cast(Any, kind)):
        value = values[name]
        fields[name] = reader(value) if reader and value is not None else value
    return kind(**fields)


@cache
def _readers(kind: Any) -> tuple[tuple[str, Callable[[Any], Any] | None], ...]:
    """The fields of a kind, each with what makes its value of the column's, if anything has to."""
    return tuple((field.name, READERS.get((kind, field.name))) for field in dataclasses.fields(kind))


def columns(thing: Any) -> dict[str, Any]:
    """The value as a row."""
    row = {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return list(value) if isinstance(value, tuple) else value


def upsert(tx: Tx, table: Table) -> Any:
    """An INSERT of the dialect in use, which knows ON CONFLICT."""
    return _insert(tx.connection.dialect.name, table)


def _insert(dialect: str, table: Table) -> Any:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def per_dialect(build: Callable[[Callable[[Table], Any]], Any]) -> Callable[[Tx], Any]:
    """A statement that is built once for each dialect: building costs more than running it."""

    @cache
    def built(dialect: str) -> Any:
        return build(lambda table: _insert(dialect, table))

    return lambda tx: built(tx.connection.dialect.name)


def apply(tx: Tx, changes: Iterable[Change]) -> None:
    """Make the changes true."""
    for change in changes:
        if isinstance(change, Put):
            _put(tx, change.entity)
        elif isinstance(change, SetAside):
            set_aside(tx, TABLES[type(change.entity)], change.entity.id, change.aside)
        else:
            _drop(tx, change.entity)


def set_aside(tx: Tx, table: Table, identifier: str, aside: Aside | None) -> None:
    """Set a node or an image aside, or take it back; the count of failures begins anew."""
    values = {"aside": dataclasses.asdict(aside) if aside else None, "failures": None}
    tx.execute(update(table).where(table.c.id == identifier).values(**values))


def _key(thing: Entity) -> str:
    return KEYS.get(type(thing), "id")


def _put(tx: Tx, thing: Entity) -> None:
    tx.execute(_putting(tx.connection.dialect.name, TABLES[type(thing)], _key(thing)), columns(thing))
    if isinstance(thing, Node):
        tx.execute(delete(schema.node_mac).where(schema.node_mac.c.node == thing.id))
        tx.execute(insert(schema.node_mac), [{"mac": mac, "node": thing.id} for mac in thing.macs])


@cache
def _putting(dialect: str, table: Table, key: str) -> Any:
    statement = _insert(dialect, table)
    kept = APART | {key}
    fresh = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in kept}
    return statement.on_conflict_do_update(index_elements=[key], set_=fresh)


def _drop(tx: Tx, thing: Entity) -> None:
    table, key = TABLES[type(thing)], _key(thing)
    tx.execute(delete(table).where(table.c[key] == getattr(thing, key)))
