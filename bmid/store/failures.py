"""Failures in a row of a node or an image, as they are counted beside its row. Who is to blame is decided elsewhere.

Each project has a count of its own: nobody can raise another one's, or begin it anew.
"""

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
    """How many there are now, for one problem. `project` is the image's, None of a node. `aside`: it is set aside
    already."""

    id: str
    name: str
    project: str | None
    count: int
    aside: bool


def _place(thing: Blamed) -> tuple[Table, ColumnElement[bool]]:
    if thing.node:
        return schema.node, schema.node.c.name == thing.node
    return schema.image, schema.image.c.id == thing.image


def forget(tx: Tx, thing: Blamed, project: str) -> None:
    """It works, for this project."""
    row = _locked(tx, thing, counted=True)
    if row is not None and project in row.failures:
        left = {one: count for one, count in row.failures.items() if one != project}
        _keep(tx, thing, left or None)


def count(tx: Tx, thing: Blamed, project: str, problem: str) -> Counted | None:
    """One more of this project's, the first one if the last was for another problem; None where there is no such row
    any more."""
    row = _locked(tx, thing)
    if row is None:
        return None
    counts = dict(row.failures or {})
    before = counts.get(project) or {}
    number = before["count"] + 1 if before.get("problem") == problem else 1
    _keep(tx, thing, counts | {project: {"problem": problem, "count": number}})
    return Counted(row.id, row.name, None if thing.node else row.project, number, row.aside is not None)


def _locked(tx: Tx, thing: Blamed, *, counted: bool = False) -> Any:
    """Maps of one image end side by side: the row is locked, but not against those whose rows refer to it. `counted`:
    only one that has counts, which few have."""
    table, here = _place(thing)
    some = (table.c.failures.is_not(None),) if counted else ()
    return tx.execute(select(table).where(here, *some).with_for_update(key_share=True)).first()


def _keep(tx: Tx, thing: Blamed, counts: dict[str, Any] | None) -> None:
    table, here = _place(thing)
    tx.execute(update(table).where(here).values(failures=counts))


def set_aside(tx: Tx, thing: Blamed, counted: Counted, aside: Aside) -> None:
    """Nothing new is put on it."""
    rows.set_aside(tx, _place(thing)[0], counted.id, aside)
