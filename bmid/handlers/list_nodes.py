"""Query node.list: all nodes and what they run."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import NodeShapes
from bmid.messages.base import Query

__all__ = ["QUERY", "ListNodes"]


class ListNodes(Query):
    """List all nodes."""

    type: ClassVar[str] = "bmi.node.list.v1"


def answer(query: ListNodes, view: View) -> dict[str, Any]:
    """By name."""
    shapes = NodeShapes(view)
    return {"nodes": [shapes.of(node) for node in view.nodes()]}


QUERY = QueryHandler(ListNodes, answer)
