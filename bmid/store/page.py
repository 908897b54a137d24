"""Lists in parts: filtered, ordered and cut off by the database, and read without what a list never shows.

A page goes on behind the last row of the one before it (no OFFSET), so that rows that come and go meanwhile neither
repeat others nor hide them. What users wrote reaches the database as bound parameters only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    String,
    Table,
    bindparam,
    case,
    func,
    literal,
    select,
    text,
    tuple_,
)

from bmid.model.page import (
    Asked,
    ListedDisk,
    ListedImage,
    ListedNode,
    ListedOperation,
    ListedProject,
    ListedTrash,
    Page,
)
from bmid.store import schema
from bmid.store.database import Tx
from bmid.store.filter import FILTERS
from bmid.store.rows import TABLES

__all__ = ["Pages"]

E = TypeVar("E")
MOST = 100  # operations ahead of another one that are told
NODE, DISK, IMAGE, DEFAULT = schema.node.c, schema.disk.c, schema.image.c, schema.image_default.c
ABOVE, BELOW = schema.image.alias("above"), schema.image.alias("below")
GONE = schema.trash.alias("gone")
OF: Mapping[type, Table] = {
    ListedDisk: schema.disk,
    ListedImage: schema.image,
    ListedNode: schema.node,
    ListedOperation: schema.operation,
    ListedProject: schema.project,
    ListedTrash: schema.trash,
}


def _count(clause: ColumnElement[bool]) -> ColumnElement[int]:
    return select(func.count()).where(clause).scalar_subquery()


# What is told of a row, where it isn't the column of that name.
TOLD: Mapping[type, Mapping[str, ColumnElement[Any]]] = {
    ListedDisk: {"image": IMAGE.project + "/" + IMAGE.name},
    ListedImage: {
        "parent": ABOVE.c.project + "/" + ABOVE.c.name,
        "children": _count(BELOW.c.parent == IMAGE.id),
        "disks": _count(DISK.image == IMAGE.id),
        "defaults": _count(DEFAULT.image == IMAGE.id),
    },
    ListedNode: {
        "power": NODE.power.op("->>", return_type=String())(literal("driver", String())),
        "address": case((DISK.id.is_(None), NODE.address), else_=DISK.address),
        "state": func.coalesce(DISK.state, "free"),
        "project": DISK.project,
        "disk": DISK.name,
        "disk_id": DISK.id,
        "image": IMAGE.project + "/" + IMAGE.name,
    },
    # What it was made from may be in the trash as well.
    ListedTrash: {
        "image": func.coalesce(IMAGE.project + "/" + IMAGE.name, GONE.c.project + "/" + GONE.c.name),
    },
}
# Outer joins, so that rows are read in the order of an index.
ON_IMAGE = (schema.image, IMAGE.id == DISK.image)
BESIDE: Mapping[type, Sequence[tuple[FromClause, ColumnElement[bool]]]] = {
    ListedDisk: [ON_IMAGE],
    ListedImage: [(ABOVE, ABOVE.c.id == IMAGE.parent)],
    ListedNode: [(schema.disk, DISK.id == NODE.disk), ON_IMAGE],
    ListedTrash: [(schema.image, IMAGE.id == schema.trash.c.parent), (GONE, GONE.c.id == schema.trash.c.parent)],
}


@cache
def _rows(kind: Any) -> Select[Any]:
    """All rows of a kind, in the order of its fields: one statement, for while others work each costs a wait for the
    interpreter's lock. What a list never shows is not read."""
    told = TOLD.get(kind, {})
    rows = select(*(told[name] if name in told else OF[kind].c[name] for name in kind._fields)).select_from(OF[kind])
    for table, condition in BESIDE.get(kind, ()):
        rows = rows.outerjoin(table, condition)
    return rows


def _statement(kind: type, asked: Asked, dialect: str) -> Select[Any]:
    table = OF[kind]
    order, tie = table.c[asked.order], table.c["seq" if kind is ListedOperation else "id"]
    clauses = [FILTERS[kind][name](value, dialect) for name, value in asked.where.items()]
    if asked.after is not None:
        place = tuple_(order, tie)
        mark = tuple_(literal(asked.after.value, order.type), literal(asked.after.tie, tie.type))
        clauses.append(place < mark if asked.descending else place > mark)
    ways = (order.desc(), tie.desc()) if asked.descending else (order, tie)
    return _rows(kind).where(*clauses).order_by(*ways).limit(asked.limit + 1)


DEFAULTS = (
    select(DEFAULT.image, DEFAULT.labels)
    .where(DEFAULT.image.in_(bindparam("ids", expanding=True)))
    .order_by(DEFAULT.id)
)
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
        rows = self._tx.execute(_statement(kind, asked, self._tx.connection.dialect.name)).all()
        make: Callable[[Any], E] = getattr(kind, "_make")  # noqa: B009 - of named tuples
        return Page(tuple(make(row) for row in rows[: asked.limit]), len(rows) > asked.limit)

    def default_labels(self, images: Sequence[str]) -> Mapping[str, Sequence[Mapping[str, str]]]:
        """Of those of these images that are a default, for which sets of labels."""
        found: dict[str, list[Mapping[str, str]]] = {}
        for image, labels in self._tx.execute(DEFAULTS, {"ids": images}) if images else ():
            found.setdefault(image, []).append(labels)
        return found

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
