"""Query disk.list: the disks of a project, or all."""

from __future__ import annotations

from typing import Any, ClassVar

from bmid.handlers.base import QueryHandler, View
from bmid.handlers.shape import disk_shape
from bmid.messages.base import Query
from bmid.model.name import ProjectName

__all__ = ["QUERY", "ListDisks"]


class ListDisks(Query):
    """List disks."""

    type: ClassVar[str] = "bmi.disk.list.v1"
    project: ProjectName | None = None


def answer(query: ListDisks, view: View) -> dict[str, Any]:
    """By name."""
    images = {image.id: image for image in view.images()}
    return {"disks": [disk_shape(one, images.get(one.image)) for one in view.disks(query.project)]}


QUERY = QueryHandler(ListDisks, answer)
