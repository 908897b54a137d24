"""All rows of all tables as plain values, read as of one moment, and put back into either database.

Where they lie meanwhile, and whether they are whole, is the caller's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from pydantic_core import from_json
from sqlalchemy import JSON, Column, Table, Text, bindparam, cast, delete, func, insert, select, text, update

from bmid.store import heads, site
from bmid.store.column import Instant
from bmid.store.database import Tx
from bmid.store.rows import upsert
from bmid.store.schema import METADATA, claim, head, operation
from bmid.store.schema import counter as counters

__all__ = ["LEAP", "clear", "columns", "counts", "fill", "occupied", "raise_number", "rows", "settle", "tables"]

BATCH = 500
LEAP = 1000  # numbers of targets that may have been given since, and that nobody remembers
# What heads write of themselves and of what they see, on a database that holds nothing yet.
PASSING = ("head", "portal", "network", "claim", "counter", "finding", "look", "identity")


def tables() -> Sequence[str]:
    """The names of all tables, each after those that its rows refer to."""
    return [table.name for table in METADATA.sorted_tables]


def columns(name: str) -> Sequence[str]:
    """The names of a table's columns, in the order of `rows`."""
    return [column.name for column in _table(name).columns]


def counts(tx: Tx) -> Mapping[str, int]:
    """How many rows each table has."""
    return {name: int(tx.execute(select(func.count()).select_from(_table(name))).scalar_one()) for name in tables()}


def occupied(tx: Tx) -> Mapping[str, int]:
    """The tables that hold something of the site, with the number of their rows; none in a database that is new."""
    return {name: count for name, count in counts(tx).items() if count and name not in PASSING}


def rows(tx: Tx, name: str) -> Iterator[list[Any]]:
    """The rows of a table by their key, each a list of values that JSON knows; a column of JSON is its text."""
    table = _table(name)
    chosen = [cast(column, Text) if isinstance(column.type, JSON) else column for column in table.columns]
    query = select(*chosen).order_by(*table.primary_key.columns).execution_options(yield_per=BATCH)
    for row in tx.execute(query):
        yield [value.isoformat() if isinstance(value, datetime) else value for value in row]


def clear(tx: Tx) -> None:
    """No table has any row."""
    for table in reversed(METADATA.sorted_tables):
        tx.execute(delete(table))


def fill(tx: Tx, name: str, given: Sequence[str], values: Iterable[Sequence[Any]]) -> int:
    """Insert rows, whose values belong to the `given` columns, as `rows` gives them; what is not given has its default.
    Returns how many. KeyError where a column, or the table, is unknown."""
    table = _table(name)
    chosen = [table.columns[column] for column in given]
    # A JSON null and no value at all are told apart by queries.
    binds = [bindparam(one.name, type_=JSON(none_as_null=True) if _json(one) else one.type) for one in chosen]
    statement = insert(table).values(dict(zip(given, binds, strict=True)))
    count, left = 0, iter(values)
    while batch := [_row(chosen, one) for one in islice(left, BATCH)]:
        tx.execute(statement, batch)
        count += len(batch)
    own = table.autoincrement_column
    if own is not None and tx.connection.dialect.name == "postgresql":
        last = select(func.coalesce(func.max(own), 0) + 1).select_from(table).scalar_subquery()
        tx.execute(select(func.setval(text(f"pg_get_serial_sequence('{name}', '{own.name}')"), last, False)))
    return count


def _row(chosen: Sequence[Column[Any]], values: Sequence[Any]) -> dict[str, Any]:
    return {column.name: _value(column, value) for column, value in zip(chosen, values, strict=True)}


def _value(column: Column[Any], value: Any) -> Any:
    if value is None:
        return None
    if _json(column):
        found = from_json(value)
        return JSON.NULL if found is None else found
    return datetime.fromisoformat(value) if isinstance(column.type, Instant) else value


def _json(column: Column[Any]) -> bool:
    return isinstance(column.type, JSON)


def _table(name: str) -> Table:
    return METADATA.tables[name]


def settle(tx: Tx, fresh: str) -> None:
    """After rows of an earlier moment were put back: no head is at work and none counts as dead, nobody has a claim,
    and neither target nor event gets a number that a later one may have had."""
    tx.execute(update(head).values(instance=heads.GONE, seen_at=tx.now))
    tx.execute(update(claim).values(holder=None, operation=None, expires_at=None))
    tx.execute(update(operation).where(operation.c.ended_at.is_(None)).values(claimed_until=None))
    highest = tx.execute(select(counters.c.value).where(counters.c.name == "target")).scalar()
    raise_number(tx, (highest or 0) + LEAP)
    site.begin_anew(tx, site.keep(tx, fresh))


def raise_number(tx: Tx, to: int) -> None:
    """Numbers of targets go on behind this one."""
    statement = upsert(tx, counters).values(name="target", value=to)
    tx.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"value": to}))
