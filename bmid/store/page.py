"""Lists in parts: filtered, ordered and cut off by the database, and read without what a list never shows.

A page goes on behind the last row of the one before it (no OFFSET), so that rows that come and go meanwhile neither
repeat others nor hide them. What users wrote reaches the database as bound parameters only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar
from typing import cast as typed

from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal,
    literal_column,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects.postgresql import JSONB

from bmid.model.entity import Disk, Image, Node, Project
from bmid.model.operation import FINAL, Operation, Phase
from bmid.model.page import Asked, Lineage, Page
from bmid.store import schema
from bmid.store.database import Tx
from bmid.store.rows import TABLES, readers

__all__ = ["Pages"]

E = TypeVar("E")
Clause = ColumnElement[bool]
# What no list shows, and what stands for it: a seed may be as long as a book, and is secret.
UNREAD: Mapping[type, Mapping[str, Any]] = {
    Disk: {"seed": None},
    Operation: {"command": {}, "plan": None, "marks": {}},
}
UNFINISHED = sorted(phase.value for phase in Phase if phase not in FINAL)
MOST = 100  # operations ahead of another one that are told


@cache
def _light(kind: Any) -> Select[Any]:
    return select(*(column for column in TABLES[kind].columns if column.name not in UNREAD.get(kind, {})))


@cache
def _makers(kind: Any) -> tuple[tuple[str, int, Any], ...]:
    """Fields, the places of their columns in a light row, and what reads them; worked out once, for speed."""
    names = [column.name for column in _light(kind).selected_columns]
    return tuple((name, names.index(name), reader) for name, reader in readers(kind) if name in names)


def _values(kind: type[E], rows: Iterable[Any]) -> list[E]:
    unread, makers = UNREAD.get(kind, {}), _makers(typed(Any, kind))
    return [
        kind(
            **unread, **{name: read(row[at]) if read and row[at] is not None else row[at] for name, at, read in makers}
        )
        for row in rows
    ]


def _equal(column: ColumnElement[Any]) -> Callable[[Any, str], Clause]:
    return lambda value, _dialect: column == value


def _like(column: ColumnElement[Any]) -> Callable[[Any, str], Clause]:
    """A pattern with * and ?, in which nothing else has a meaning."""

    def clause(pattern: str, _dialect: str) -> Clause:
        escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return column.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")

    return clause


def _labelled(table: Table) -> Callable[[Any, str], Clause]:
    """All of these labels, with these values."""

    def clause(labels: Mapping[str, str], dialect: str) -> Clause:
        if dialect == "postgresql":
            return cast(table.c.labels, JSONB).contains(dict(labels))
        each = func.json_each(table.c.labels).table_valued("key", "value")
        having = [
            exists(select(1).select_from(one).where(one.c.key == key, one.c.value == value))
            for number, (key, value) in enumerate(labels.items())
            for one in (each.alias(f"label{number}"),)
        ]
        return and_(*having)

    return clause


def _image_id(reference: tuple[str, str]) -> Any:
    project, name = reference
    return select(schema.image.c.id).where(schema.image.c.project == project, schema.image.c.name == name)


def _on_disk(clause: Callable[[Any], Clause]) -> Callable[[Any, str], Clause]:
    """Nodes that have such a disk."""
    return lambda value, _dialect: schema.node.c.disk.in_(select(schema.disk.c.id).where(clause(value)))


def _node_state(state: str, dialect: str) -> Clause:
    if state == "free":
        return schema.node.c.disk.is_(None)
    return _on_disk(lambda value: schema.disk.c.state == value)(state, dialect)


def _phase(phase: str, _dialect: str) -> Clause:
    column = schema.operation.c.phase
    return column.in_(UNFINISHED) if phase == "unfinished" else column == phase


# As in the index: a bound key would not be recognised as the same expression.
COMMAND_NODE: ColumnElement[Any] = literal_column(schema.COMMAND_NODE)
FILTERS: Mapping[type, Mapping[str, Callable[[Any, str], Clause]]] = {
    Project: {"name": _like(schema.project.c.name)},
    Node: {
        "name": _like(schema.node.c.name),
        "project": _on_disk(lambda value: schema.disk.c.project == value),
        "state": _node_state,
        "image": _on_disk(lambda value: schema.disk.c.image.in_(_image_id(value))),
        "firmware": _equal(schema.node.c.firmware),
        "labels": _labelled(schema.node),
    },
    Disk: {
        "name": _like(schema.disk.c.name),
        "project": _equal(schema.disk.c.project),
        "state": _equal(schema.disk.c.state),
        "image": lambda value, _dialect: schema.disk.c.image.in_(_image_id(value)),
        "node": _equal(schema.disk.c.node),
        "head": _equal(schema.disk.c.head),
    },
    Image: {
        "name": _like(schema.image.c.name),
        "project": _equal(schema.image.c.project),
        "state": lambda value, _dialect: schema.image.c.ready.is_(value == "ready"),
        "labels": _labelled(schema.image),
        "parent": lambda value, _dialect: schema.image.c.parent.in_(_image_id(value)),
    },
    Operation: {
        "project": _equal(schema.operation.c.project),
        "phase": _phase,
        "command": _equal(schema.operation.c.type),
        "node": _equal(COMMAND_NODE),
        "group": _equal(schema.operation.c.parent),
        "since": lambda value, _dialect: schema.operation.c.accepted_at >= value,
    },
}


def _statement(kind: type, asked: Asked, dialect: str) -> Select[Any]:
    table = TABLES[kind]
    order, tie = table.c[asked.order], table.c["seq" if kind is Operation else "id"]
    clauses = [FILTERS[kind][name](value, dialect) for name, value in asked.where.items()]
    if asked.after is not None:
        place = tuple_(order, tie)
        mark = tuple_(literal(asked.after.value, order.type), literal(asked.after.tie, tie.type))
        clauses.append(place < mark if asked.descending else place > mark)
    ways = (order.desc(), tie.desc()) if asked.descending else (order, tie)
    return _light(kind).where(*clauses).order_by(*ways).limit(asked.limit + 1)


IDS: Any = bindparam("ids", expanding=True)
DISKS = _light(Disk).where(schema.disk.c.id.in_(IDS))
IMAGES = select(schema.image.c.id, schema.image.c.project, schema.image.c.name).where(schema.image.c.id.in_(IDS))
AHEAD = text(
    "SELECT other.key, other.operation FROM operation_key AS mine"
    " JOIN operation_key AS other ON other.key = mine.key AND other.operation <> mine.operation"
    " JOIN operation AS one ON one.id = mine.operation AND one.ended_at IS NULL"
    " WHERE mine.operation = :operation AND NOT mine.started AND (mine.exclusive OR other.exclusive)"
    " AND (other.seq < mine.seq OR other.started) ORDER BY other.seq, other.key LIMIT :most"
)


class Pages:
    """Reads of many rows, in one transaction."""

    _tx: Tx

    def page(self, kind: type[E], asked: Asked) -> Page[E]:
        """Rows of a kind, filtered and in order."""
        statement = _statement(kind, asked, self._tx.connection.dialect.name)
        rows = self._tx.execute(statement).all()
        return Page(tuple(_values(kind, rows[: asked.limit])), len(rows) > asked.limit)

    def disks_by_id(self, ids: Iterable[str | None]) -> Mapping[str, Disk]:
        """Disks by their ids."""
        wanted = {one for one in ids if one is not None}
        rows = self._tx.execute(DISKS, {"ids": sorted(wanted)}).all() if wanted else ()
        return {disk.id: disk for disk in _values(Disk, rows)}

    def image_names(self, ids: Iterable[str]) -> Mapping[str, str]:
        """`project/name` of images by their ids."""
        wanted = set(ids)
        rows = self._tx.execute(IMAGES, {"ids": sorted(wanted)}).all() if wanted else ()
        return {id_: f"{project}/{name}" for id_, project, name in rows}

    def lineage(self, images: Sequence[str]) -> Mapping[str, Lineage]:
        """Of each of these images, where it comes from and what hangs on it."""
        if not images:
            return {}
        image, disk, default = schema.image, schema.disk, schema.image_default
        above = image.alias("above")
        named = select(image.c.id, above.c.project, above.c.name).join(above, above.c.id == image.c.parent)
        parents = {row.id: f"{row.project}/{row.name}" for row in self._tx.execute(named.where(image.c.id.in_(images)))}
        children = self._counted(image.c.parent, images)
        disks = self._counted(disk.c.image, images)
        defaults: dict[str, list[Mapping[str, str]]] = {}
        labelled = select(default.c.image, default.c.labels).where(default.c.image.in_(images)).order_by(default.c.id)
        for row in self._tx.execute(labelled):
            defaults.setdefault(row.image, []).append(row.labels)
        return {
            one: Lineage(parents.get(one), children.get(one, 0), disks.get(one, 0), tuple(defaults.get(one, ())))
            for one in images
        }

    def _counted(self, column: ColumnElement[Any], values: Sequence[str]) -> dict[str, int]:
        rows = self._tx.execute(select(column, func.count()).where(column.in_(values)).group_by(column))
        return {row[0]: row[1] for row in rows}

    def names(self, kind: type, project: str) -> Sequence[str]:
        """The names of a project's rows of a kind."""
        columns = TABLES[kind].c
        rows = self._tx.execute(select(columns.name).where(columns.project == project).order_by(columns.name))
        return list(rows.scalars())

    def phases(self, group: str) -> Mapping[str, int]:
        """How many operations of a group are in each phase."""
        columns = schema.operation.c
        query = select(columns.phase, func.count()).where(columns.parent == group).group_by(columns.phase)
        return {row.phase: row[1] for row in self._tx.execute(query.order_by(columns.phase))}

    def ahead(self, operation: str) -> Sequence[tuple[str, str]]:
        """What stands before an operation."""
        rows = self._tx.execute(AHEAD, {"operation": operation, "most": MOST})
        return [(row.key, row.operation) for row in rows]
