"""Query node.show: one node, its disk, and how far its boot is."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import boot_shape, node_shape, unknown
from bmid.messages.base import Query
from bmid.model.name import NodeName
from bmid.model.page import Asked, ListedNode

__all__ = ["QUERY", "ShowNode"]


class ShowNode(Query):
    """Show one node."""

    type: ClassVar[str] = "bmi.node.show.v1"
    node: NodeName


def answer(query: ShowNode, view: View) -> dict[str, Any]:
    """With the boot that was watched last."""
    found = view.page(ListedNode, Asked("name", where={"name": query.node})).rows
    if not found:
        raise unknown("node", query.node)
    boot = view.boot(found[0].disk_id) if found[0].disk_id else None
    return {"node": node_shape(found[0]) | {"boot": boot_shape(boot) if boot else None}}


QUERY = QueryHandler(ShowNode, answer)
