"""Query node.list: nodes and what they run."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.page import AsideFilter, ListQuery, NamedOrder, Pattern
from bmid.handlers.shape import node_shape
from bmid.model.name import ImageRef, Labels, ProjectName
from bmid.model.page import ListedNode

__all__ = ["QUERY", "ListNodes"]


class ListNodes(ListQuery):
    """List nodes."""

    type: ClassVar[str] = "bmi.node.list.v1"
    project: ProjectName | None = Field(None, description="only nodes that this project has mapped")
    state: Literal["free", "making", "mapped", "removing"] | None = Field(
        None, description="only nodes in this state: of their disk, or free"
    )
    image: ImageRef | None = Field(
        None, description="only nodes with a disk of this image: project/image, or image of `project`"
    )
    firmware: Literal["bios", "uefi", "any"] | None = Field(None, description="only nodes that start with this")
    labels: Labels = Field(default_factory=dict, description="only nodes with all of these labels")
    aside: AsideFilter = None
    name: Pattern | None = Field(None, description="only names like this; * stands for anything, ? for a character")
    order: NamedOrder = Field("name", description="what they are ordered by; with -: the last one first")


def answer(query: ListNodes, view: View) -> dict[str, Any]:
    """One page."""
    return query.answered(view, ListedNode, "nodes", lambda rows: [node_shape(one) for one in rows])


QUERY = QueryHandler(ListNodes, answer)
