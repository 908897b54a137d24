"""What lists are filtered by, as clauses. What users wrote gets into them as bound parameters only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, String, Table, and_, literal, literal_column, null, select

from bmid.model.operation import FINAL, Phase
from bmid.model.page import ListedDisk, ListedImage, ListedNode, ListedOperation, ListedProject, ListedTrash
from bmid.store import schema

__all__ = ["FILTERS"]

Clause = ColumnElement[bool]
UNFINISHED = sorted(phase.value for phase in Phase if phase not in FINAL)


def _equal(column: ColumnElement[Any]) -> Callable[[Any, str], Clause]:
    return lambda value, _dialect: column == value


def _like(column: ColumnElement[Any]) -> Callable[[Any, str], Clause]:
    """A pattern with * and ?, in which nothing else has a meaning."""

    def clause(pattern: str, _dialect: str) -> Clause:
        if "*" not in pattern and "?" not in pattern:
            return column == pattern  # which an index finds
        escaped = pattern.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        return column.like(escaped.replace("*", "%").replace("?", "_"), escape="\\")

    return clause


def _labelled(table: Table) -> Callable[[Any, str], Clause]:
    """All of these labels, with these values."""

    def clause(labels: Mapping[str, str], dialect: str) -> Clause:
        # A key may have dots, but no quotes.
        keys = {key: key if dialect == "postgresql" else f'$."{key}"' for key in labels}
        found = table.c.labels.op("->>", return_type=String())
        return and_(*(found(literal(keys[key], String())) == value for key, value in labels.items()))

    return clause


def _image_id(reference: tuple[str, str]) -> Any:
    project, name = reference
    return select(schema.image.c.id).where(schema.image.c.project == project, schema.image.c.name == name)


def _node_state(state: str, _dialect: str) -> Clause:
    return schema.node.c.disk.is_(None) if state == "free" else schema.disk.c.state == state


def _aside(table: Table) -> Callable[[Any, str], Clause]:
    """Set aside by whom; `none`: not at all."""

    def clause(state: str, _dialect: str) -> Clause:
        column = table.c.aside
        found = column.op("->>", return_type=String())(literal("state", String()))
        return column.is_(null()) if state == "none" else found == state

    return clause


def _phase(phase: str, _dialect: str) -> Clause:
    column = schema.operation.c.phase
    return column.in_(UNFINISHED) if phase == "unfinished" else column == phase


# As in the index: a bound key would not be recognised as the same expression.
COMMAND_NODE: ColumnElement[Any] = literal_column(schema.COMMAND_NODE)
FILTERS: Mapping[type, Mapping[str, Callable[[Any, str], Clause]]] = {
    ListedProject: {"name": _like(schema.project.c.name)},
    ListedNode: {
        "name": _like(schema.node.c.name),
        "project": _equal(schema.disk.c.project),
        "state": _node_state,
        "image": lambda value, _dialect: schema.disk.c.image.in_(_image_id(value)),
        "firmware": _equal(schema.node.c.firmware),
        "labels": _labelled(schema.node),
        "aside": _aside(schema.node),
    },
    ListedDisk: {
        "name": _like(schema.disk.c.name),
        "project": _equal(schema.disk.c.project),
        "state": _equal(schema.disk.c.state),
        "image": lambda value, _dialect: schema.disk.c.image.in_(_image_id(value)),
        "node": _equal(schema.disk.c.node),
        "head": _equal(schema.disk.c.head),
    },
    ListedImage: {
        "name": _like(schema.image.c.name),
        "project": _equal(schema.image.c.project),
        "state": lambda value, _dialect: schema.image.c.ready.is_(value == "ready"),
        "labels": _labelled(schema.image),
        "aside": _aside(schema.image),
        "parent": lambda value, _dialect: schema.image.c.parent.in_(_image_id(value)),
    },
    ListedOperation: {
        "project": _equal(schema.operation.c.project),
        "phase": _phase,
        "command": _equal(schema.operation.c.type),
        "node": _equal(COMMAND_NODE),
        "group": _equal(schema.operation.c.parent),
        "since": lambda value, _dialect: schema.operation.c.accepted_at >= value,
    },
    ListedTrash: {
        "name": _like(schema.trash.c.name),
        "project": _equal(schema.trash.c.project),
        "kind": _equal(schema.trash.c.kind),
        "operation": _equal(schema.trash.c.operation),
    },
}
