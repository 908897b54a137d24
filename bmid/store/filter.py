"""What lists are filtered by, as clauses. What users wrote gets into them as bound parameters only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, cast, exists, func, literal_column, select
from sqlalchemy.dialects.postgresql import JSONB

from bmid.model.entity import Disk, Image, Node, Project
from bmid.model.operation import FINAL, Operation, Phase
from bmid.store import schema

__all__ = ["FILTERS"]

Clause = ColumnElement[bool]
UNFINISHED = sorted(phase.value for phase in Phase if phase not in FINAL)


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
