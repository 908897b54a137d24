"""Query disk.list: the disks of a project, or all."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.page import ListQuery, NamedOrder, Pattern
from bmid.handlers.shape import disk_shape
from bmid.model.name import ImageRef, Label, NodeName, ProjectName
from bmid.model.page import ListedDisk

__all__ = ["QUERY", "ListDisks"]


class ListDisks(ListQuery):
    """List disks."""

    type: ClassVar[str] = "bmi.disk.list.v1"
    project: ProjectName | None = Field(None, description="only disks of this project")
    state: Literal["making", "mapped", "parked", "removing"] | None = Field(
        None, description="only disks in this state"
    )
    image: ImageRef | None = Field(None, description="only disks of this image: project/image, or image of `project`")
    node: NodeName | None = Field(None, description="only the disk of this node")
    head: Label | None = Field(None, description="only disks that this head exports")
    name: Pattern | None = Field(None, description="only names like this; * stands for anything, ? for a character")
    order: NamedOrder = Field("name", description="what they are ordered by; with -: the last one first")


def answer(query: ListDisks, view: View) -> dict[str, Any]:
    """One page."""
    return query.answered(view, ListedDisk, "disks", lambda rows: [disk_shape(one) for one in rows])


QUERY = QueryHandler(ListDisks, answer)
