"""Lists in parts: filtered, ordered and cut off by the database, and read without what a list never shows.

A page goes on behind the last row of the one before it (no OFFSET), so that rows that come and go meanwhile neither
repeat others nor hide them. What users wrote reaches the database as bound parameters only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

from sqlalchemy import Select, String, Table, bindparam, case, func, literal, select, text, tuple_

from bmid.model.operation import Operation
from bmid.model.page import Asked, Lineage, ListedDisk, ListedNode, Page
from bmid.store import schema
from bmid.store.database import Tx
from bmid.store.filter import FILTERS
from bmid.store.rows import TABLES, readers

__all__ = ["Pages"]

E = TypeVar("E")
# What no list shows, and what stands for it.
UNREAD: Mapping[type, Mapping[str, Any]] = {Operation: {"command": {}, "plan": None, "marks": {}}}
MOST = 100  # operations ahead of another one that are told
NODE, DISK, IMAGE = schema.node.c, schema.disk.c, schema.image.c
IMAGE_NAME = IMAGE.project + "/" + IMAGE.name
# Rows with what is told beside them, in the order of the fields. Everything in one statement: while others work, each
# costs a wait for the interpreter's lock. Outer joins, so that rows are read in the order of an index.
LISTED: Mapping[type, Select[Any]] = {
    ListedNode: select(
        NODE.id,
        NODE.name,
        NODE.created_at,
        NODE.firmware,
        NODE.boot_mac,
        NODE.macs,
        NODE.labels,
        NODE.power.op("->>", return_type=String())(literal("driver", String())),
        case((DISK.id.is_(None), NODE.address), else_=DISK.address),
        func.coalesce(DISK.state, "free"),
        DISK.project,
        DISK.name,
        DISK.id,
        IMAGE_NAME,
    )
    .outerjoin_from(schema.node, schema.disk, DISK.id == NODE.disk)
    .outerjoin(schema.image, IMAGE.id == DISK.image),
    ListedDisk: select(
        DISK.id,
        DISK.project,
        DISK.name,
        DISK.state,
        IMAGE_NAME,
        DISK.node,
        DISK.address,
        DISK.hostname,
        DISK.head,
        DISK.shard,
        DISK.size,
        DISK.created_at,
    ).outerjoin_from(schema.disk, schema.image, IMAGE.id == DISK.image),
}
OF: Mapping[type, Table] = {**TABLES, ListedNode: schema.node, ListedDisk: schema.disk}  # whose rows they are


@cache
def _light(kind: Any) -> Select[Any]:
    if kind in LISTED:
        return LISTED[kind]
    return select(*(column for column in TABLES[kind].columns if column.name not in UNREAD.get(kind, {})))


@cache
def _makers(kind: Any) -> tuple[tuple[str, int, Any], ...]:
    """Fields, the places of their columns in a light row, and what reads them; worked out once, for speed."""
    names = [column.name for column in _light(kind).selected_columns]
    return tuple((name, names.index(name), reader) for name, reader in readers(kind) if name in names)


def _values(kind: type[E], rows: Iterable[Any]) -> list[E]:
    if kind in LISTED:
        make: Callable[[Any], E] = getattr(kind, "_make")  # noqa: B009 - of named tuples
        return [make(row) for row in rows]
    unread, makers = UNREAD.get(kind, {}), _makers(cast(Any, kind))
    return [
        kind(
            **unread, **{name: read(row[at]) if read and row[at] is not None else row[at] for name, at, read in makers}
        )
        for row in rows
    ]


def _statement(kind: type, asked: Asked, dialect: str) -> Select[Any]:
    table = OF[kind]
    order, tie = table.c[asked.order], table.c["seq" if kind is Operation else "id"]
    clauses = [FILTERS[kind][name](value, dialect) for name, value in asked.where.items()]
    if asked.after is not None:
        place = tuple_(order, tie)
        mark = tuple_(literal(asked.after.value, order.type), literal(asked.after.tie, tie.type))
        clauses.append(place < mark if asked.descending else place > mark)
    ways = (order.desc(), tie.desc()) if asked.descending else (order, tie)
    return _light(kind).where(*clauses).order_by(*ways).limit(asked.limit + 1)


IDS: Any = bindparam("ids", expanding=True)
ABOVE, BELOW = schema.image.alias("above"), schema.image.alias("below")
LINEAGE = (
    select(
        schema.image.c.id,
        ABOVE.c.project,
        ABOVE.c.name,
        select(func.count()).where(BELOW.c.parent == schema.image.c.id).scalar_subquery(),
        select(func.count()).where(schema.disk.c.image == schema.image.c.id).scalar_subquery(),
    )
    .outerjoin_from(schema.image, ABOVE, ABOVE.c.id == schema.image.c.parent)
    .where(schema.image.c.id.in_(IDS))
)
DEFAULTS = (
    select(schema.image_default.c.image, schema.image_default.c.labels)
    .where(schema.image_default.c.image.in_(IDS))
    .order_by(schema.image_default.c.id)
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
        statement = _statement(kind, asked, self._tx.connection.dialect.name)
        rows = self._tx.execute(statement).all()
        return Page(tuple(_values(kind, rows[: asked.limit])), len(rows) > asked.limit)

    def lineage(self, images: Sequence[str]) -> Mapping[str, Lineage]:
        """Of each of these images, where it comes from and what hangs on it."""
        if not images:
            return {}
        defaults: dict[str, list[Mapping[str, str]]] = {}
        for image, labels in self._tx.execute(DEFAULTS, {"ids": images}).all():
            defaults.setdefault(image, []).append(labels)
        return {
            id_: Lineage(f"{project}/{name}" if name else None, children, disks, tuple(defaults.get(id_, ())))
            for id_, project, name, children, disks in self._tx.execute(LINEAGE, {"ids": images}).all()
        }

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
