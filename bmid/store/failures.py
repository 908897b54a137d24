"""Failures in a row of a node or an image, as they are counted beside its row. Who is to blame is decided elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, select, update

from bmid.model.aside import Aside, Blamed
from bmid.store import rows, schema
from bmid.store.database import Tx

__all__ = ["Counted", "count", "forget", "set_aside"]


@dataclass(frozen=True)
class Counted:
    """How many there are now, for one problem. `project` None: of a node. `aside`: it is set aside already."""

    id: str
    name: str
    project: str | None
    count: int
    aside: bool


def _place(thing: Blamed) -> tuple[Table, ColumnElement[bool]]:
    if thing.node:
        return schema.node, schema.node.c.name == thing.node
    return schema.image, schema.image.c.id == thing.image


def forget(tx: Tx, thing: Blamed) -> None:
    """It works."""
    table, here = _place(thing)
    tx.execute(update(table).where(here, table.c.failures.is_not(None)).values(failures=None))


def count(tx: Tx, thing: Blamed, problem: str) -> Counted | None:
    """One more, the first one if the last was for another problem; None where there is no such row any more.

    Maps of one image end side by side: the row is locked, but not against those whose rows refer to it.
    """
    table, here = _place(thing)
    row: Any = tx.execute(select(table).where(here).with_for_update(key_share=True)).first()
    if row is None:
        return None
    before = row.failures or {}
    number = before["count"] + 1 if before.get("problem") == problem else 1
    tx.execute(update(table).where(here).values(failures={"problem": problem, "count": number}))
    project = None if thing.node else row.project
    return Counted(row.id, row.name, project, number, row.aside is not None)


def set_aside(tx: Tx, thing: Blamed, counted: Counted, aside: Aside) -> None:
    """Nothing new is put on it."""
    rows.set_aside(tx, _place(thing)[0], counted.id, aside)
