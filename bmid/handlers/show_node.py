"""Query node.show: one node, its disk, and how far its boot is."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import boot_shape, node_shapes, unknown
from bmid.messages.base import Query
from bmid.model.name import NodeName

__all__ = ["QUERY", "ShowNode"]


class ShowNode(Query):
    """Show one node."""

    type: ClassVar[str] = "bmi.node.show.v1"
    node: NodeName


def answer(query: ShowNode, view: View) -> dict[str, Any]:
    """With the boot that was watched last."""
    node = view.node(query.node)
    if node is None:
        raise unknown("node", query.node)
    boot = view.boot(node.disk) if node.disk else None
    [shape] = node_shapes(view, [node])
    return {"node": shape | {"boot": boot_shape(boot) if boot else None}}


QUERY = QueryHandler(ShowNode, answer)
